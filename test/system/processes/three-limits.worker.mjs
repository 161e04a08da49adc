// @ts-check
import { runAsWorker } from '../../kit/servers/index.mjs';
import {
  RateLimiter,
  concurrency,
  connectionOfClient,
  decideBatch,
  fixedWindow,
  slidingWindowLog,
  tokenBucket,
} from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';
import { keepInFlight, openBarrier } from './demand.mjs';

/**
 * @typedef {object} Numbers three limits of different algorithms: the first two, and one of the others
 * @property {import('../../../src/index.ts').TokenBucketOptions} bucket
 * @property {import('../../../src/index.ts').SlidingWindowLogOptions} log
 * @property {import('../../../src/index.ts').FixedWindowOptions} [window]
 * @property {import('../../../src/index.ts').ConcurrencyOptions} [places]
 *
 * @typedef {object} Task
 * @property {number} port
 * @property {import('../../../src/redis/connection/script.ts').ScriptSource} source the production script, which also writes down
 *   what it decided
 * @property {number} inFlight
 * @property {number} lastsMs
 * @property {Numbers[]} sets one after another
 *
 * @typedef {{ passed: number, refusedBy: Record<string, number> }} Seen what one process was told under one set
 */

await runAsWorker(
  /** @param {{ index: number, count: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, count, data, ready }) => {
    const { client, end } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    connectionOfClient(client, { ...decideBatch, source: data.source });
    const meet = await openBarrier(data.port, count);
    await ready();

    /** @param {Numbers} set @param {number} number @returns {Promise<Seen>} */
    const run = async ({ bucket, log, window, places }, number) => {
      const limiter = new RateLimiter({
        redis: client,
        namespace: `three/${number}`,
        limits: [
          tokenBucket({ ...bucket, name: 'bucket' }),
          slidingWindowLog({ ...log, name: 'log' }),
          ...(window === undefined ? [] : [fixedWindow({ ...window, name: 'window' })]),
          ...(places === undefined ? [] : [concurrency({ ...places, name: 'places' })]),
        ],
        // A degraded decision would prove nothing: it fails the test.
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
      /** @type {Seen} */
      const seen = { passed: 0, refusedBy: {} };
      const until = performance.now() + data.lastsMs;
      await keepInFlight(data.inFlight, async () => {
        if (performance.now() >= until) return false;
        const lease = places === undefined ? undefined : await limiter.acquire('everybody');
        const decision = lease ?? (await limiter.allow('everybody'));
        if (decision.allowed) seen.passed += 1;
        for (const name of decision.reason === 'limited' ? decision.limitedBy : []) {
          seen.refusedBy[name] = (seen.refusedBy[name] ?? 0) + 1;
        }
        if (lease?.allowed === true && !(await lease.release())) throw new Error('it was lost');
        return true;
      });
      return seen;
    };
    /** @type {Seen[]} */
    const seen = [];
    for (const [number, set] of data.sets.entries()) {
      await meet();
      seen.push(await run(set, number));
    }
    await meet();
    end();
    return seen;
  },
);
