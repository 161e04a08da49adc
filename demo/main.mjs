/** Runs the demo: serves, proves, waits, cleans up. */
import process from 'node:process';
import { openControls } from './controls.mjs';
import { RULES } from './limits.mjs';
import { freePortFrom, HOST } from './port.mjs';
import { prove } from './proof.mjs';
import { serveHere } from './serve.mjs';
import {
  introduction,
  linesToTry,
  proofFailed,
  proofTable,
  storeNote,
  workerNote,
} from './text.mjs';
import { showTogether } from './together.mjs';

const BURST = { limit: RULES.export.rate, requests: 400 };
/** Enough connections that every worker gets some, even if one accepts faster than the others. */
const CONNECTIONS_PER_WORKER = 8;
const FEWEST_CONNECTIONS = 32;

/**
 * @param {import('./options.mjs').DemoOptions} options
 * @returns {Promise<0 | 1>} the exit code: 1 when the sum of the proof is not the limit
 * @throws {import('./problem.mjs').Problem}
 */
export async function run(options) {
  const ended = endOfRun();
  /** In the order in which they were opened; closed in reverse. @type {(() => Promise<void>)[]} */
  const closings = [];
  try {
    const { place, redis } = await openPlace(options, closings);
    if (options.limits) {
      await showTogether(place, options.once ? undefined : ended);
      return 0;
    }
    const { origin, pids } = await serve(options, place, redis, closings);
    console.log(introduction(origin, options.workers, place));

    const connections = Math.max(FEWEST_CONNECTIONS, CONNECTIONS_PER_WORKER * options.workers);
    const burst = { ...BURST, connections };
    const outcome = await prove({ ...burst, url: `${origin}/export`, workers: options.workers });
    console.log(proofTable(outcome, burst, pids()));
    if (outcome.failure !== undefined) {
      console.error(proofFailed(outcome.failure));
      return 1;
    }
    if (!options.once) {
      const worker = options.workers > 1 ? pids()[0] : undefined;
      console.log(linesToTry(origin, place, outcome.caller, worker));
      await ended;
    }
    return 0;
  } finally {
    for (const close of closings.toReversed()) await close();
  }
}

/**
 * @param {import('./options.mjs').DemoOptions} options
 * @param {(() => Promise<void>)[]} closings
 * @returns {Promise<{ place: import('./text.mjs').Place, redis?: import('./private-redis.mjs').PrivateRedis }>}
 */
async function openPlace({ privateRedis, redisUrl }, closings) {
  if (!privateRedis) {
    /** @type {import('./text.mjs').Place} */
    const place = redisUrl === undefined ? { kind: 'memory' } : { kind: 'yours', url: redisUrl };
    return { place };
  }
  const { startPrivateRedis } = await import('./private-redis.mjs');
  const redis = await startPrivateRedis();
  closings.push(redis.close);
  return { place: { kind: 'private', url: redis.url, pid: redis.pid() }, redis };
}

/**
 * @param {import('./options.mjs').DemoOptions} options
 * @param {import('./text.mjs').Place} place
 * @param {import('./private-redis.mjs').PrivateRedis | undefined} redis
 * @param {(() => Promise<void>)[]} closings
 * @returns {Promise<{ origin: string, pids: () => readonly number[] }>}
 */
async function serve({ port: wanted, workers }, { kind, url: redisUrl }, redis, closings) {
  const port = await freePortFrom(wanted);
  if (port !== wanted && wanted !== 0) console.log(`Port ${wanted} is taken; this is ${port}.`);
  const origin = `http://${HOST}:${port}`;
  const watch = watchStore();
  const serving = { port, redisUrl, onStoreState: watch.note };
  const serves =
    workers === 1
      ? await serveHere(serving, alone(kind, redis))
      : await (
          await import('./workers.mjs')
        ).serveFromWorkers(serving, workers, (tell) => openControls(kind, redis, tell), noteLoss);
  closings.push(() => {
    watch.end();
    return serves.close();
  });
  watch.begin();
  return { origin, pids: serves.pids };
}

/**
 * The place of the only process.
 *
 * @param {import('./text.mjs').Place['kind']} kind
 * @param {import('./private-redis.mjs').PrivateRedis | undefined} redis
 * @returns {import('./serve.mjs').OneOfSeveral}
 */
function alone(kind, redis) {
  return {
    worker: 1,
    alone: true,
    join: ({ report, use }) => {
      const { setting, act } = openControls(kind, redis, (saving) => void use(saving));
      return { look: async () => ({ ...setting(), reports: [await report()] }), act };
    },
  };
}

/** @type {(worker: number, replaced: boolean) => void} */
function noteLoss(worker, replaced) {
  console.log(workerNote(worker, replaced));
}

/**
 * Announces each change of Redis's state once for all processes, and a return when all of them have Redis back. Silent
 * before `begin` and after `end`, while processes start or close.
 */
function watchStore() {
  /** @type {Map<number, import('./serve.mjs').StoreState>} */
  const troubles = new Map();
  /** @type {import('./serve.mjs').StoreState} */
  let said = 'ready';
  let quiet = true;
  const say = () => {
    const states = [...troubles.values()];
    const now = states.includes('away') ? 'away' : (states[0] ?? 'ready');
    if (quiet || now === said) return;
    said = now;
    console.log(storeNote(now));
  };
  return {
    /** @type {import('./serve.mjs').Serving['onStoreState']} */
    note: (worker, state) => {
      if (state === 'ready') troubles.delete(worker);
      else troubles.set(worker, state);
      say();
    },
    begin: () => {
      quiet = false;
      say();
    },
    end: () => {
      quiet = true;
    },
  };
}

/** The first Ctrl-C ends the demo gracefully; a second one ends it at once. */
function endOfRun() {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(1));
        resolve(undefined);
      });
    }
  });
}
