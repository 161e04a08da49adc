import { sharedByCopies } from './copies.ts';
import { betweenRequests } from './errors.ts';

/** One end of a WebSocket that is never opened: workerd lets only the request that made it read its state. */
interface Mark {
  readonly readyState: number;
}

const { navigator, WebSocketPair } = globalThis as {
  navigator?: { readonly userAgent?: unknown };
  WebSocketPair?: new () => Readonly<Record<0, Mark>>;
};

/**
 * Whether this runtime is workerd, of Cloudflare Workers. Both signs are checked, because tests on Node stub one of
 * them.
 */
export const onWorkerd: boolean =
  navigator?.userAgent === 'Cloudflare-Workers' && WebSocketPair !== undefined;

/** For each client, a mark of the request in which a limiter was first given it. */
const marks = sharedByCopies('requests of clients', () => new WeakMap<object, Mark>());

/**
 * On workerd, refuses a URL, because limiters of all requests would share its connection, and refuses a client that
 * another request uses. A Durable Object counts as one request.
 *
 * @throws {RateLimiterError} `ERR_RUNTIME_UNSUPPORTED`
 */
export function checkRequest(redis: string | object): void {
  if (!onWorkerd) {
    return;
  }
  if (typeof redis === 'string') {
    throw betweenRequests();
  }
  try {
    const mark = marks.get(redis) ?? new WebSocketPair!()[0]; // throws outside of requests
    void mark.readyState; // throws in another request
    marks.set(redis, mark);
  } catch (cause) {
    throw betweenRequests(cause);
  }
}
