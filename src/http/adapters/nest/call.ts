import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { ExecutionContext } from '@nestjs/common';
import type { AddressSource } from '../../address/client-address.ts';

/** What the requests of Express and Fastify have in common. Name the framework's own type for the rest. */
export interface NestRequest {
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  readonly url: string;
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

/** A handler's call, as far as it matters here. */
export interface Call {
  readonly kind: string;
  /** What is handed to `identify`, `cost`, `skip` and the others. */
  readonly request: unknown;
  /** Node's own. Undefined where the answer is no HTTP response, or out of reach. */
  readonly response: ServerResponse | undefined;
}

/**
 * What a call is about: in HTTP, the request of Express or Fastify; in GraphQL, the `req` of its context, or else the
 * context itself; at a WebSocket gateway, the client; in a microservice, `{ data, context }`; elsewhere, the first
 * argument of the handler.
 */
export function readCall(context: ExecutionContext): Call {
  const kind = context.getType<string>();
  switch (kind) {
    case 'graphql': {
      const shared = (context.getArgByIndex<unknown>(2) ?? {}) as { req?: unknown; res?: unknown };
      const request = shared.req ?? shared;
      const { res } = request as { res?: unknown };
      return { kind, request, response: responseOf(shared.res ?? res) };
    }
    case 'ws':
      return { kind, request: context.switchToWs().getClient<unknown>(), response: undefined };
    case 'rpc': {
      const call = context.switchToRpc();
      const request = { data: call.getData<unknown>(), context: call.getContext<unknown>() };
      return { kind, request, response: undefined };
    }
    default: {
      const [request, response] = context.getArgs<unknown[]>();
      return { kind, request, response: responseOf(response) };
    }
  }
}

/** Express hands out Node's response, Fastify a reply over it; what other libraries call `http` may have none. */
function responseOf(given: unknown): ServerResponse | undefined {
  const { raw } = (given ?? {}) as { raw?: unknown };
  const response = (raw ?? given ?? {}) as Partial<ServerResponse>;
  return typeof response.setHeader === 'function' && typeof response.once === 'function'
    ? (response as ServerResponse)
    : undefined;
}

/** Node's own request, which Fastify's stands before. */
export function requestOf(request: unknown): unknown {
  const { raw } = (request ?? {}) as { raw?: unknown };
  return raw ?? request;
}

interface Connected {
  readonly headers?: unknown;
  readonly socket?: unknown;
  /** socket.io: the request that became the connection. */
  readonly request?: Connected;
  /** ws. */
  readonly _socket?: unknown;
}

/** Where the default `identify` looks: a request, or what is known of a WebSocket client's. */
export function addressesOf(request: unknown): AddressSource {
  const { headers, socket, request: handshake, _socket } = (request ?? {}) as Connected;
  const source: unknown =
    headers === undefined && handshake?.headers !== undefined
      ? { headers: handshake.headers, socket: handshake.socket }
      : { headers: headers ?? {}, socket: socket ?? _socket };
  return source as AddressSource;
}
