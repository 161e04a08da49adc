/** The API in this process: the whole of it, or one worker of several. */
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import process from 'node:process';
import { RateLimiterError } from 'distributed-rate-limiter';
import { createApi } from './api.mjs';
import { openFigures } from './figures.mjs';
import { closeLimiters, openLimiters, readyLimiters } from './limits.mjs';
import { readPage } from './page.mjs';
import { HOST } from './port.mjs';
import { Problem } from './problem.mjs';
import { redisUnusable } from './text.mjs';

/**
 * @typedef {import('distributed-rate-limiter').StoreStateMessage} StoreStateMessage
 * @typedef {StoreStateMessage['state']} StoreState
 * @typedef {object} Serving
 * @property {number} port
 * @property {string | undefined} redisUrl undefined: limits live in this process's memory
 * @property {(worker: number, state: StoreState) => void} onStoreState each change of what a process knows of Redis
 *
 * @typedef {object} Served
 * @property {() => readonly number[]} pids of the processes that answer, in the order of their numbers
 * @property {() => Promise<void>} close resolves when the port is free and all of them have let go of Redis
 *
 * @typedef {object} OneOfSeveral
 * @property {number} worker its number, from 1
 * @property {(report: () => Promise<import('./figures.mjs').Report>) => import('./figures.mjs').Gather} join makes its
 *   own report known to the others; returns how to ask them all for theirs
 */

/** @type {OneOfSeveral} */
const ALONE = { worker: 1, join: (report) => async () => [await report()] };

/**
 * @param {Serving} serving
 * @param {OneOfSeveral} [place]
 * @returns {Promise<Served>}
 * @throws {Problem} when no decision can be made
 */
export async function serveHere({ port, redisUrl, onStoreState }, { worker, join } = ALONE) {
  /** @type {'memory' | StoreState} */
  let store = redisUrl === undefined ? 'memory' : 'ready';
  subscribe('distributed-rate-limiter:store', (message) => {
    store = /** @type {StoreStateMessage} */ (message).state;
    onStoreState(worker, store);
  });
  const limiters = open(redisUrl);
  try {
    await readyLimiters(limiters);
    const figures = openFigures(limiters, worker, () => store);
    const gather = join(figures.report);
    const api = createApi({ limiters, worker, gather, page: readPage() });
    const server = api.listen(port, HOST);
    await once(server, 'listening');
    return {
      pids: () => [process.pid],
      close: async () => {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        await closed;
        figures.close();
        await closeLimiters(limiters);
      },
    };
  } catch (error) {
    await closeLimiters(limiters);
    throw explained(error, redisUrl);
  }
}

/** @param {string | undefined} redisUrl */
function open(redisUrl) {
  try {
    return openLimiters(redisUrl);
  } catch (error) {
    throw explained(error, redisUrl);
  }
}

/**
 * Explains an error about Redis, with a cure.
 *
 * @param {unknown} error
 * @param {string | undefined} redisUrl
 */
export function explained(error, redisUrl) {
  if (redisUrl === undefined || !(error instanceof RateLimiterError)) return error;
  const { message, cause } = error;
  if (!(cause instanceof Error)) return new Problem(redisUnusable(redisUrl, message));
  // If a name has several addresses, Node's error has no message, only a code.
  const why = cause.message || /** @type {NodeJS.ErrnoException} */ (cause).code;
  return new Problem(redisUnusable(redisUrl, `${message} (${why}).`));
}
