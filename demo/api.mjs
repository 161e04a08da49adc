/** The HTTP API: plain node:http, one limiter per limited route. Every body is one line of JSON. */
import { createServer } from 'node:http';
import { RateLimiterError } from 'distributed-rate-limiter';

/**
 * @typedef {import('distributed-rate-limiter').Decision} Decision
 * @typedef {import('distributed-rate-limiter').Identity} Identity
 * @typedef {{ status: number, body: object, headers?: Readonly<Record<string, string>> }} Answer
 */

/**
 * @param {import('./limits.mjs').Limiters} limiters
 * @param {number} worker which process answers, from 1
 * @returns {import('node:http').Server} not listening yet
 */
export function createApi(limiters, worker) {
  /** @type {Readonly<Record<string, (caller: Identity) => Answer | Promise<Answer>>>} */
  const routes = {
    '/': () => ({ status: 200, body: { limited: ['/hello', '/export'], free: ['/', '/peek'] } }),
    '/hello': async (caller) => answerOf(await limiters.hello.allow(caller)),
    '/export': async (caller) => answerOf(await limiters.export.allow(caller)),
    '/peek': async (caller) => {
      const [hello, exported] = await Promise.all([
        limiters.hello.peek(caller),
        limiters.export.peek(caller),
      ]);
      return { status: 200, body: { hello: factsOf(hello), export: factsOf(exported) } };
    },
  };

  /**
   * @param {import('node:http').IncomingMessage} request
   * @returns {Promise<Answer>}
   */
  async function answer(request) {
    const [path = '/'] = (request.url ?? '/').split('?', 1);
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) {
      return { status: 404, body: { error: `There are ${Object.keys(routes).join(', ')}.` } };
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, body: { error: 'Use GET.' }, headers: { allow: 'GET, HEAD' } };
    }
    try {
      return await route(callerOf(request));
    } catch (error) {
      if (error instanceof RateLimiterError && error.code === 'ERR_INVALID_IDENTITY') {
        return { status: 400, body: { error: `X-API-Key: ${error.message}` } };
      }
      console.error(error);
      return { status: 500, body: { error: 'Something is wrong with the demo itself.' } };
    }
  }

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async function respond(request, response) {
    const { status, body, headers = {} } = await answer(request);
    response.statusCode = status;
    response.setHeaders(new Map(Object.entries(headers)));
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ ...body, worker })}\n`);
  }

  return createServer((request, response) => void respond(request, response));
}

/**
 * Who is limited. Two parts, so that no API key can pass for somebody's address.
 * @param {import('node:http').IncomingMessage} request
 * @returns {Identity}
 */
function callerOf(request) {
  const key = request.headers['x-api-key'];
  return key === undefined ? ['address', request.socket.remoteAddress ?? ''] : ['key', String(key)];
}

/**
 * @param {Decision} decision
 * @returns {Answer}
 */
function answerOf(decision) {
  const body = factsOf(decision);
  if (decision.allowed) return { status: 200, body };
  // A store that is away is the server's trouble: the caller did nothing too often.
  if (decision.degraded) return { status: 503, body };
  if (decision.retryAfterMs === undefined) return { status: 429, body };
  const seconds = Math.ceil(decision.retryAfterMs / 1_000);
  return { status: 429, body, headers: { 'retry-after': String(seconds) } };
}

/**
 * What the library says, in the order in which one reads it. What is undefined does not show in JSON.
 * @param {Decision} decision
 */
function factsOf(decision) {
  const { allowed, reason, remaining, retryAfterMs, resetAfterMs, degraded } = decision;
  const error = decision.degraded ? decision.error.message : undefined;
  return { allowed, reason, remaining, retryAfterMs, resetAfterMs, degraded, error };
}
