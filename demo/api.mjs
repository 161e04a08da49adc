/**
 * The HTTP API on plain node:http. The library's adapter guards limited routes and writes their header fields and
 * refusals. Every other body is one line of JSON.
 */
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimiterError } from 'distributed-rate-limiter';
import { decisionOf, rateLimit } from 'distributed-rate-limiter/node-http';
import { expositionOf } from './figures.mjs';
import { RULE_NAMES } from './limits.mjs';

/**
 * @typedef {import('distributed-rate-limiter').Decision} Decision
 * @typedef {import('distributed-rate-limiter').Identity} Identity
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 * @typedef {(request: Request, response: Response) => unknown} Route
 */

/** How long a report takes. A caller that asks for more reports at a time finds no place free. */
const REPORT_MS = 500;

/**
 * @param {object} parts
 * @param {import('./limits.mjs').Limiters} parts.limiters
 * @param {number} parts.worker which process answers, from 1
 * @param {import('./figures.mjs').Gather} parts.gather
 * @param {import('./page.mjs').Page} parts.page
 * @returns {import('node:http').Server} not listening yet
 */
export function createApi({ limiters, worker, gather, page }) {
  /** @param {Response} response @param {number} status @param {object} body */
  const send = (response, status, body) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(`${JSON.stringify({ ...body, worker })}\n`);
  };

  /** @param {import('./limits.mjs').RuleName} name @param {number} [workMs] @returns {Route} */
  const limited = (name, workMs = 0) =>
    rateLimit(limiters[name], { identify: callerOf })(async (request, response) => {
      if (workMs > 0) await sleep(workMs, undefined, { ref: false });
      const decision = decisionOf(request);
      send(response, 200, decision === undefined ? {} : factsOf(decision));
    });

  /** @type {Readonly<Record<string, Route>>} */
  const routes = {
    '/': (request, response) => {
      response.setHeader('Vary', 'Accept');
      if (request.headers.accept?.includes('text/html')) page.send(response);
      else send(response, 200, { limited: RULE_NAMES.map((name) => `/${name}`), free });
    },
    '/hello': limited('hello'),
    '/export': limited('export'),
    '/report': limited('report', REPORT_MS),
    '/peek': async (request, response) => {
      const caller = callerOf(request);
      const states = await Promise.all(
        RULE_NAMES.map(async (name) => [name, stateOf(await limiters[name].peek(caller))]),
      );
      send(response, 200, Object.fromEntries(states));
    },
    '/live': async (_request, response) => {
      const reports = await gather();
      send(response, 200, { processes: reports.map(({ figures }) => figures) });
    },
    '/metrics': async (_request, response) => {
      const { type, text } = await expositionOf(await gather());
      response.writeHead(200, { 'Content-Type': type }).end(text);
    },
  };
  const free = Object.keys(routes).filter(
    (path) => !RULE_NAMES.some((name) => path === `/${name}`),
  );

  /** @type {(request: Request, response: Response) => Promise<void>} */
  async function answer(request, response) {
    response.setHeader('X-Worker', worker);
    const [path = '/'] = (request.url ?? '/').split('?', 1);
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) {
      send(response, 404, { error: `There are ${Object.keys(routes).join(', ')}.` });
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      send(response, 405, { error: 'Use GET.' });
    } else {
      await route(request, response);
    }
  }

  return createServer((request, response) => {
    answer(request, response).catch((/** @type {unknown} */ error) => {
      if (error instanceof RateLimiterError && error.code === 'ERR_INVALID_IDENTITY') {
        send(response, 400, { error: `X-API-Key: ${error.message}` });
        return;
      }
      console.error(error);
      if (response.headersSent) response.destroy();
      else send(response, 500, { error: 'Something is wrong with the demo itself.' });
    });
  });
}

/**
 * Names the caller to limit, in two parts, so that no API key equals another caller's address.
 *
 * @param {Request} request
 * @returns {Identity}
 */
function callerOf(request) {
  const key = request.headers['x-api-key'];
  return key === undefined ? ['address', request.socket.remoteAddress ?? ''] : ['key', String(key)];
}

/**
 * The decision's numbers, as a reader wants them ordered. JSON leaves out undefined values.
 *
 * @param {Decision} decision
 */
function factsOf(decision) {
  const { allowed, reason, remaining, retryAfterMs, resetAfterMs, degraded } = decision;
  const error = decision.degraded ? decision.error.message : undefined;
  return { allowed, reason, remaining, retryAfterMs, resetAfterMs, degraded, error };
}

/**
 * The decision's numbers, and those of each limit.
 *
 * @param {Decision} decision
 */
function stateOf(decision) {
  const limits = decision.limits.map(({ name, limit, remaining, shadow }) => ({
    name,
    limit,
    remaining,
    shadow: shadow || undefined,
  }));
  return { ...factsOf(decision), limits };
}
