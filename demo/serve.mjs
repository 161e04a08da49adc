/** The API in this process: the whole of it, or one worker of several. */
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import process from 'node:process';
import { RateLimiterError } from 'distributed-rate-limiter';
import { createApi } from './api.mjs';
import { openFigures } from './figures.mjs';
import { readyLimiters } from './limits.mjs';
import { readPage } from './page.mjs';
import { HOST } from './port.mjs';
import { Problem } from './problem.mjs';
import { openSaving } from './saving.mjs';
import { openTally } from './tally.mjs';
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
 * @typedef {object} Joining what a process adds to all, and what others do to it
 * @property {() => Promise<import('./figures.mjs').Report>} report
 * @property {(saving: import('./limits.mjs').Saving) => Promise<void>} use
 *
 * @typedef {object} OneOfSeveral
 * @property {number} worker its number, from 1
 * @property {boolean} alone whether there is no other
 * @property {(own: Joining) => import('./live.mjs').Hub} join
 */

/**
 * @param {Serving} serving
 * @param {OneOfSeveral} place
 * @returns {Promise<Served>}
 * @throws {Problem} when no decision can be made
 */
export async function serveHere({ port, redisUrl, onStoreState }, { worker, alone, join }) {
  /** @type {'memory' | StoreState} */
  let store = redisUrl === undefined ? 'memory' : 'ready';
  subscribe('distributed-rate-limiter:store', (message) => {
    store = /** @type {StoreStateMessage} */ (message).state;
    onStoreState(worker, store);
  });
  const limiters = open(redisUrl);
  try {
    await readyLimiters(limiters.limiters());
    const tally = openTally();
    const figures = openFigures({ limiters, tally, worker, store: () => store });
    const hub = join({ report: figures.report, use: limiters.use });
    const page = readPage();
    const api = createApi({ limiters: limiters.limiters, tally, worker, alone, hub, page });
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
        await limiters.close();
      },
    };
  } catch (error) {
    await limiters.close();
    throw explained(error, redisUrl);
  }
}

/** @param {string | undefined} redisUrl */
function open(redisUrl) {
  try {
    return openSaving(redisUrl);
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
