import type { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { whenClosed as whenStreamClosed } from './gone-streams.ts';

/**
 * How a request ended: the status of its complete response, or `'aborted'` if the client went away or the response
 * broke off first.
 */
export type RequestEnd = number | 'aborted';

/** A complete response, for `count`. */
export interface EndedResponse {
  readonly status: number;
  /**
   * The response itself: Node's own under Express, Fastify, Koa, Nest, `node:http` and Hono on Node; a web `Response`
   * in web-standard handlers and in Hono elsewhere, whose body has been read. Undefined if the handler threw, and no
   * response was seen.
   */
  readonly response: NodeResponse | Response | undefined;
}

/** Called with how a request ended, and with its response if it is complete and known. */
export type Finish = (end: RequestEnd, response?: NodeResponse | Response) => void;

/** A response of `node:http`, or of `node:http2`'s compatible interface. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** One entry per response, so that any number of limiters costs it one listener per event. */
const watched = new WeakMap<NodeResponse, Finish[]>();

/** Calls `finish` once, when the response ends, or at once if it has already ended. */
export function whenEnded(response: NodeResponse, finish: Finish): void {
  const waiting = watched.get(response);
  if (waiting !== undefined) {
    waiting.push(finish);
    return;
  }
  const end = endOf(response);
  if (end !== undefined) {
    finish(end, response);
    return;
  }
  const told = [finish];
  watched.set(response, told);
  listen(response, (how) => {
    if (watched.delete(response)) {
      for (const tell of told) {
        tell(how, response);
      }
    }
  });
}

/** Whether it is too late to answer: the response was sent, or the client has gone. */
export function isOver(response: NodeResponse): boolean {
  const stream = streamOf(response);
  return (
    response.writableEnded ||
    (stream === undefined ? isCutOff(response) : stream.closed || stream.writableEnded)
  );
}

/** Whether the guard's own answer can still be sent. */
export function isUnanswered(response: NodeResponse): boolean {
  return !response.headersSent && !isOver(response);
}

function listen(response: NodeResponse, settle: Finish): void {
  const stream = streamOf(response);
  if (stream !== undefined) {
    whenStreamClosed(stream, () => settle(endOfStream(stream, response)));
    return;
  }
  const socket = socketOf(response);
  const aborted = (): void => settle('aborted');
  const stopListening = socket === undefined ? undefined : whenSocketClosed(socket, aborted);
  response.once('finish', () => {
    stopListening?.();
    // Node also emits `finish` for a body that was cut off while it waited for a slow client.
    settle(socket?.destroyed === true ? 'aborted' : response.statusCode);
  });
  response.once('close', () => {
    stopListening?.();
    aborted();
  });
}

/** Undefined while the response goes on. */
function endOf(response: NodeResponse): RequestEnd | undefined {
  const stream = streamOf(response);
  if (stream !== undefined) {
    return stream.destroyed ? endOfStream(stream, response) : undefined;
  }
  // A response that is ended after its socket has died counts as written, and keeps that socket.
  const { writableFinished, socket, statusCode } = response as ServerResponse;
  if (writableFinished && socket?.destroyed !== true) {
    return statusCode;
  }
  return isCutOff(response) ? 'aborted' : undefined;
}

/**
 * How an HTTP/2 stream ended. The response's `finish` does not tell: Node emits it for each stream that closes, and
 * ends the writable side of a stream that the client has reset.
 */
function endOfStream(stream: ServerHttp2Stream, response: NodeResponse): RequestEnd {
  const { headersSent, aborted, writableFinished, rstCode, sentHeaders } = stream;
  const written = headersSent && !aborted && writableFinished;
  // A file counts as written before it is sent. A client may also reset a stream after it has the whole response, to
  // end its own upload. That is known only if the response was ended with `end()`.
  return written && (rstCode === 0 || response.writableEnded)
    ? Number(sentHeaders[':status'])
    : 'aborted';
}

function isCutOff(response: NodeResponse): boolean {
  return response.destroyed || response.closed || socketOf(response)?.destroyed === true;
}

function streamOf(response: NodeResponse): ServerHttp2Stream | undefined {
  const { stream } = response as { stream?: ServerHttp2Stream };
  return typeof stream?.rstCode === 'number' ? stream : undefined;
}

interface SocketLike extends EventEmitter {
  readonly destroyed: boolean;
}

/**
 * The request's socket. A response has no socket of its own while it waits behind another one on its connection, or
 * if the request asks for an upgrade. It then gets no event when the client has gone.
 */
function socketOf({ req }: NodeResponse): SocketLike | undefined {
  const { socket } = (req ?? {}) as { socket?: SocketLike | null };
  return typeof socket?.once === 'function' ? socket : undefined;
}

/** One listener per socket, however many requests are pending on it. */
const sockets = new WeakMap<SocketLike, Set<() => void>>();

/** Returns a function that stops listening. */
function whenSocketClosed(socket: SocketLike, call: () => void): () => void {
  let calls = sockets.get(socket);
  if (calls === undefined) {
    const all = new Set<() => void>();
    calls = all;
    sockets.set(socket, all);
    socket.once('close', () => {
      for (const each of all) {
        each();
      }
    });
  }
  const waiting = calls;
  waiting.add(call);
  return () => void waiting.delete(call);
}
