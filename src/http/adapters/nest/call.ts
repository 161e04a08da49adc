import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { ExecutionContext } from '@nestjs/common';
import type { AddressSource } from '../../address/client-address.ts';
import type { ReplyLike } from '../fastify-reply.ts';

/** The common part of Express's and Fastify's requests. For the rest, name the framework's own type. */
export interface NestRequest {
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  readonly url: string;
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

/** The used part of a handler's call. */
export interface HandlerCall {
  readonly kind: string;
  /** The argument of `identify`, `cost`, `skip` and the other functions. */
  readonly request: unknown;
  /** Node's own response. Undefined if the answer is no HTTP response, or is not accessible. */
  readonly response: ServerResponse | undefined;
  /** Fastify's reply to an HTTP request. */
  readonly reply?: ReplyLike | undefined;
}

/**
 * Reads the object that a call is about:
 *
 * - in HTTP the request of Express or Fastify
 * - in GraphQL the `req` of its context, or else the context itself
 * - at a WebSocket gateway the client
 * - in a microservice `{ data, context }`
 * - otherwise the first argument of the handler
 */
export function readCall(context: ExecutionContext): HandlerCall {
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
      return { kind, request, response: responseOf(response), reply: replyOf(response) };
    }
  }
}

/** The platform's own reply, if it is Fastify's. */
function replyOf(response: unknown): ReplyLike | undefined {
  const { raw, serializer } = (response ?? {}) as Partial<ReplyLike>;
  return raw !== undefined && typeof serializer === 'function'
    ? (response as ReplyLike)
    : undefined;
}

/** Express passes Node's response, Fastify a reply that wraps it; other `http` contexts may have none. */
function responseOf(given: unknown): ServerResponse | undefined {
  const { raw } = (given ?? {}) as { raw?: unknown };
  const response = (raw ?? given ?? {}) as Partial<ServerResponse>;
  return typeof response.setHeader === 'function' && typeof response.once === 'function'
    ? (response as ServerResponse)
    : undefined;
}

/** Node's own request, which Fastify's request wraps. */
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

/** The address source for the default `identify`: a request, or the known facts of a WebSocket client. */
export function addressesOf(request: unknown): AddressSource {
  const { headers, socket, request: handshake, _socket } = (request ?? {}) as Connected;
  const source: unknown =
    headers === undefined && handshake?.headers !== undefined
      ? { headers: handshake.headers, socket: handshake.socket }
      : { headers: headers ?? {}, socket: socket ?? _socket };
  return source as AddressSource;
}
