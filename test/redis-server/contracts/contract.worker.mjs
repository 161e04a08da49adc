// @ts-check
/**
 * Runs the store's contract in a process of its own, on the installed package. Needed for settings of a whole process,
 * such as other installed libraries or trusted authorities. Prints `[{ name, error }]` as JSON.
 *
 * @typedef {{ url: string, cluster?: boolean }} Task the last argument, as JSON
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimiter } from 'distributed-rate-limiter';
import { storeContract } from 'distributed-rate-limiter/testing';

/** @type {Task} */
const { url, cluster = false } = JSON.parse(process.argv.at(-1) ?? '');
/** @type {{ name: string, error?: string }[]} */
const outcomes = [];
// Opens the connection once; this limiter keeps it open.
const holder = new RateLimiter({ redis: url, cluster, timeoutMs: 10_000, rate: 1, period: '1h' });
await holder.ready();
for (const { name, run } of storeContract({
  makeLimiter: (options) => new RateLimiter({ ...options, redis: url, cluster, timeoutMs: 10_000 }),
  advance: (ms) => sleep(ms + 1),
})) {
  try {
    await run();
    outcomes.push({ name });
  } catch (error) {
    outcomes.push({ name, error: error instanceof Error ? String(error.stack) : String(error) });
  }
}
await holder.close();
process.stdout.write(JSON.stringify(outcomes));
