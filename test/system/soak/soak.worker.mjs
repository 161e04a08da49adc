// @ts-check
/** The soaked process: a steady load on one limiter by URL. Reports memory and resources when the parent asks. */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { concurrency, RateLimiter, tokenBucket } from 'distributed-rate-limiter';

/** @type {{ url: string, perSecond: number }} */
const { url, perSecond } = JSON.parse(process.argv[2] ?? '');
const TICK_MS = 10;
const IDENTITIES = 2_000;

/** @typedef {{ heap: number, resources: Record<string, number>, listeners: number, inFlight: number }} Sample */
/** @typedef {{ issued: number, real: number, degraded: number, slowestMs: number }} Tally */

const rates = new RateLimiter({
  redis: url,
  namespace: 'soak',
  limits: [
    tokenBucket({ name: 'burst', rate: 50, period: '1s' }),
    tokenBucket({ name: 'steady', rate: 1_000, period: '1m' }),
  ],
});
const places = new RateLimiter({
  redis: url,
  namespace: 'soak-places',
  limits: [concurrency({ max: 3, ttl: '5s' })],
});
await Promise.all([rates.ready(), places.ready()]);

/** @type {Tally} */
const tally = { issued: 0, real: 0, degraded: 0, slowestMs: 0 };
/** @type {Set<Promise<void>>} */
const pending = new Set();
let loading = true;
const ending = new AbortController();

/** @param {number} number */
async function call(number) {
  const identity = `user:${number % IDENTITIES}`;
  const since = performance.now();
  tally.issued += 1;
  const lease = number % 20 === 0 ? await places.acquire(identity) : undefined;
  const decision = lease ?? (await rates.allow(identity));
  tally.slowestMs = Math.max(tally.slowestMs, performance.now() - since);
  tally[decision.degraded ? 'degraded' : 'real'] += 1;
  // A lease whose release does not reach the store expires.
  await lease?.release().catch(() => false);
}

async function load() {
  let number = 0;
  let owed = 0;
  let last = performance.now();
  while (!ending.signal.aborted) {
    await sleep(TICK_MS);
    const now = performance.now();
    // Calls missed on a busy machine are not made up all at once later.
    owed += (Math.min(now - last, 5 * TICK_MS) * perSecond) / 1_000;
    last = now;
    for (; owed >= 1; owed--) {
      if (!loading) continue;
      const called = call(number++).finally(() => pending.delete(called));
      pending.add(called);
    }
  }
}
const loaded = load();

/** Samples between calls, after garbage collection. @returns {Promise<Sample>} */
async function sample() {
  loading = false;
  await Promise.all(pending);
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await sleep(20);
  }
  /** @type {Record<string, number>} */
  const resources = {};
  for (const kind of process.getActiveResourcesInfo()) {
    resources[kind] = (resources[kind] ?? 0) + 1;
  }
  const listeners = process
    .eventNames()
    .reduce((sum, name) => sum + process.listenerCount(/** @type {'exit'} */ (name)), 0);
  const heap = process.memoryUsage().heapUsed;
  loading = true;
  return { heap, resources, listeners, inFlight: pending.size };
}

process.on('message', (/** @type {'sample' | 'end'} */ word) => {
  void (word === 'sample' ? sample().then((held) => process.send?.(held)) : end());
});
process.send?.('loading');

async function end() {
  ending.abort();
  await loaded;
  await Promise.all(pending);
  await Promise.all([rates.close(), places.close()]);
  // The parent checks whether the process then ends by itself.
  process.send?.(tally, () => process.disconnect());
}
