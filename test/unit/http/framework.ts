import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RateLimiter } from 'distributed-rate-limiter';
import type { GuardOptions } from 'distributed-rate-limiter/http';

/** The handler's response after its guards have let a request pass. */
export type Handler<Request> = (request: Request) => Promise<Answer>;

/** A body in pieces is written as they come; if it throws, the response breaks off. */
export interface Answer {
  readonly status: number;
  readonly body: string | AsyncIterable<string>;
}

export interface Route<Request> {
  readonly path: string;
  /** Guards run one after another, the first one outermost. */
  readonly guards: readonly (readonly [limiter: RateLimiter, options?: GuardOptions<Request>])[];
  readonly handler: Handler<Request>;
}

/** How errors are answered: always 500, or with the error's `status`, by the framework or by the application. */
export type ErrorHandling = '500' | 'as the error says';

export interface Served {
  /** `http://127.0.0.1:` and the port. */
  readonly origin: string;
  close(): Promise<void>;
}

/** A framework as the contract uses it: real ones behind real sockets. */
export interface Framework<Request = unknown> {
  readonly name: string;
  /** A header field of a request, as the framework returns it. */
  header(request: Request, name: string): string | undefined;
  method(request: Request): string;
  /** Node's response to a request, if the framework's request leads to it. */
  readonly responseOf?: (request: Request) => ServerResponse;
  /** False: the server answers errors of the handler, out of the adapter's reach. */
  readonly answersErrors?: false;
  /** Serves the routes, for every method, on a free port of loopback. A handler that throws is answered with 500. */
  serve(routes: readonly Route<Request>[], errors?: ErrorHandling): Promise<Served>;
}

/** The response in progress on a request's connection. */
export function responseOn({ socket }: Pick<IncomingMessage, 'socket'>): ServerResponse {
  // oxlint-disable-next-line no-underscore-dangle -- Node's own name for it
  return (socket as unknown as { _httpMessage: ServerResponse })._httpMessage;
}
