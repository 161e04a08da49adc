/**
 * The HTTP API on plain node:http. The library's adapter guards limited routes and writes their header fields and
 * refusals. Every other body is one line of JSON.
 */
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimiterError } from 'distributed-rate-limiter';
import { decisionOf, rateLimit } from 'distributed-rate-limiter/node-http';
import { onlyLooking } from './asked.mjs';
import { DEEDS } from './controls.mjs';
import { expositionOf } from './figures.mjs';
import { RULE_NAMES } from './limits.mjs';
import { liveOf } from './live.mjs';
import { isAskedHere, isFromOwnPage } from './same-origin.mjs';

/**
 * @typedef {import('distributed-rate-limiter').Decision} Decision
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 * @typedef {(request: Request, response: Response) => unknown} Route
 */

/** How long a report takes. A caller that asks for more reports at a time finds no place free. */
const REPORT_MS = 500;

/**
 * @param {object} parts
 * @param {() => import('./limits.mjs').Limiters} parts.limiters those of now
 * @param {ReturnType<typeof import('./tally.mjs').openTally>} parts.tally
 * @param {number} parts.worker which process answers, from 1
 * @param {boolean} parts.alone whether no other does
 * @param {import('./live.mjs').Hub} parts.hub
 * @param {import('./page.mjs').Page} parts.page
 * @returns {import('node:http').Server} not listening yet
 */
export function createApi({ limiters, tally, worker, alone, hub, page }) {
  /** @param {Response} response @param {number} status @param {object} body */
  const send = (response, status, body) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(`${JSON.stringify({ ...body, worker })}\n`);
  };

  /** @type {(name: import('./limits.mjs').RuleName, request: Request) => void} */
  const count = (name, request) => {
    const decision = decisionOf(request);
    if (decision !== undefined) tally.note(name, nameOf(callerOf(request)), decision);
  };

  /** @param {import('./limits.mjs').RuleName} name @param {number} [workMs] @returns {Route} */
  const limited = (name, workMs = 0) => {
    /** By limiter, since a switch replaces it. @type {WeakMap<object, Route>} */
    const guarded = new WeakMap();
    return async (request, response) => {
      // A browser keeps to few connections, each of which leads to one process. So each request gets its own.
      if (!alone && request.headers['sec-fetch-mode'] !== undefined) {
        response.setHeader('Connection', 'close');
      }
      const limiter = limiters()[name];
      let route = guarded.get(limiter);
      if (route === undefined) {
        route = rateLimit(limiter, { identify: callerOf })(async (passed, answer) => {
          count(name, passed);
          if (workMs > 0) await sleep(workMs, undefined, { ref: false });
          const decision = decisionOf(passed);
          send(answer, 200, decision === undefined ? {} : factsOf(decision));
        });
        guarded.set(limiter, route);
      }
      await route(request, response);
      if (decisionOf(request)?.allowed === false) count(name, request);
    };
  };

  /** @type {(request: Request, response: Response, deed: string) => Promise<void>} */
  const press = async (request, response, deed) => {
    if (request.method !== 'POST') {
      response.setHeader('Allow', 'POST');
      send(response, 405, { error: 'Use POST, from the live page.' });
    } else if (isFromOwnPage(request)) {
      const outcome = await hub.act(deed);
      if (outcome.done) send(response, 200, {});
      else send(response, outcome.status, { error: outcome.error });
    } else {
      send(response, 403, { error: 'Only the live page of this demo may do that.' });
    }
  };

  /** @type {Readonly<Record<string, Route>>} */
  const routes = {
    '/': (request, response) => {
      response.setHeader('Vary', 'Accept');
      if (request.headers.accept?.includes('text/html')) page.send(response);
      else send(response, 200, { limited: RULE_NAMES.map((name) => `/${name}`), free });
    },
    '/search': limited('search'),
    '/hello': limited('hello'),
    '/export': limited('export'),
    '/report': limited('report', REPORT_MS),
    '/peek': async (request, response) => {
      const caller = callerOf(request);
      const peek = async (/** @type {import('./limits.mjs').RuleName} */ name) => [
        name,
        stateOf(await limiters()[name].peek(caller)),
      ];
      const states = await onlyLooking(() => Promise.all(RULE_NAMES.map(peek)));
      send(response, 200, Object.fromEntries(states));
    },
    '/live': async (request, response) => {
      // It names callers.
      if (isAskedHere(request)) send(response, 200, liveOf(await hub.look()));
      else send(response, 403, { error: 'Ask for localhost or 127.0.0.1.' });
    },
    '/metrics': async (_request, response) => {
      const { type, text } = await expositionOf((await hub.look()).reports);
      response.writeHead(200, { 'Content-Type': type }).end(text);
    },
  };
  const free = Object.keys(routes).filter(
    (path) => !RULE_NAMES.some((name) => path === `/${name}`),
  );

  /** @type {(request: Request, response: Response) => Promise<void>} */
  async function respond(request, response) {
    response.setHeader('X-Worker', worker);
    const [path = '/'] = (request.url ?? '/').split('?', 1);
    const route = page.parts[path] ?? (Object.hasOwn(routes, path) ? routes[path] : undefined);
    if (DEEDS.has(path.slice(1))) {
      await press(request, response, path.slice(1));
    } else if (route === undefined) {
      send(response, 404, { error: `There are ${Object.keys(routes).join(', ')}.` });
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      send(response, 405, { error: 'Use GET.' });
    } else {
      await route(request, response);
    }
  }

  return createServer((request, response) => {
    respond(request, response).catch((/** @type {unknown} */ error) => {
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
 * Names the caller to limit, with a prefix, so that no API key equals another caller's address. A text, since units can
 * be paid for beforehand only for an identity of one part. The limiter refuses an empty one.
 *
 * @param {Request} request
 */
function callerOf(request) {
  const key = request.headers['x-api-key'];
  if (key === undefined) return `address:${request.socket.remoteAddress ?? ''}`;
  return key === '' ? '' : `key:${String(key)}`;
}

/** The name of a caller for the live page. @param {string} caller */
function nameOf(caller) {
  return caller.replace(/^key:/, '');
}

/**
 * The decision's numbers, as a reader wants them ordered. JSON leaves out undefined values.
 *
 * @param {Decision} decision
 */
function factsOf(decision) {
  const { allowed, reason, source, remaining, retryAfterMs, resetAfterMs, degraded } = decision;
  const error = decision.degraded ? decision.error.message : undefined;
  return { allowed, reason, source, remaining, retryAfterMs, resetAfterMs, degraded, error };
}

/**
 * The decision's numbers, and those of each limit.
 *
 * @param {Decision} decision
 */
function stateOf(decision) {
  const limits = decision.limits.map(({ name, limit, remaining, resetAfterMs, shadow }) => ({
    name,
    limit,
    remaining,
    resetAfterMs,
    shadow: shadow || undefined,
  }));
  return { ...factsOf(decision), limits };
}
