/** The demo's limits. */
import { concurrency, MemoryStore, RateLimiter, slidingWindow } from 'distributed-rate-limiter';

/** Each caller has these limits of its own. They show both answers to a lost store: pass or refuse. */
export const RULES = /** @type {const} */ ({
  // Fast enough that one sees it refill: an empty one is full in 4 s.
  search: { rate: 10, period: '1s', burst: 40, failStrategy: 'open' },
  hello: { rate: 5, period: '10s', failStrategy: 'open' },
  // One unit recovers in 14 minutes. None recovers during a burst of requests, so the burst's sum is exact.
  export: { rate: 100, period: '1d', failStrategy: 'closed' },
  // A report holds a place until it is answered. The other limit is a shadow, to show which callers it would refuse.
  report: {
    places: { max: 3, ttl: '30s' },
    trial: { rate: 10, period: '1m', shadow: true },
    failStrategy: 'open',
  },
});

/** @typedef {keyof typeof RULES} RuleName */
/** @typedef {Readonly<Record<RuleName, RateLimiter>>} Limiters */

/**
 * What saves calls to Redis, switched on and off while the demo runs.
 *
 * @typedef {{ prepay: boolean, denyCache: boolean }} Saving
 */

/** @type {readonly RuleName[]} */
export const RULE_NAMES = ['search', 'hello', 'export', 'report'];

/** Without a Redis there are no calls to save. @type {Saving} */
export const NOT_SAVING = { prepay: false, denyCache: false };

/**
 * @param {string | undefined} redisUrl undefined: in this process's memory
 * @returns {Limiters}
 */
export function openLimiters(redisUrl) {
  const place = placeOf(redisUrl);
  const { places, trial, failStrategy } = RULES.report;
  return {
    ...openSavers(redisUrl, NOT_SAVING),
    report: new RateLimiter({
      ...place(),
      namespace: 'demo/report',
      failStrategy,
      limits: [
        concurrency({ name: 'places', ...places }),
        slidingWindow({ name: 'trial', ...trial }),
      ],
    }),
  };
}

/**
 * The limiters that can save calls. Only `/search` prepays: the others have few units, or wait long for new ones, so
 * units that expire unspent would be missed.
 *
 * @param {string | undefined} redisUrl
 * @param {Saving} saving
 * @returns {Omit<Limiters, 'report'>}
 */
export function openSavers(redisUrl, { prepay, denyCache }) {
  const place = placeOf(redisUrl);
  return {
    search: new RateLimiter({
      ...place(),
      namespace: 'demo/search',
      ...RULES.search,
      denyCache,
      // As long as can be, since several processes share the traffic of one browser.
      prepay: prepay ? { holdMs: 500 } : false,
    }),
    hello: new RateLimiter({ ...place(), namespace: 'demo/hello', ...RULES.hello, denyCache }),
    export: new RateLimiter({ ...place(), namespace: 'demo/export', ...RULES.export, denyCache }),
  };
}

/** @param {string | undefined} redisUrl */
function placeOf(redisUrl) {
  // All processes of the demo share one machine with Redis and may need more than the default 250 ms.
  return () =>
    redisUrl === undefined ? { store: new MemoryStore() } : { redis: redisUrl, timeoutMs: 1_000 };
}

/**
 * Resolves when decisions can be made; rejects with the obstacle.
 *
 * @param {Limiters} limiters
 */
export async function readyLimiters(limiters) {
  await Promise.all(Object.values(limiters).map((limiter) => limiter.ready()));
}

/** @param {Partial<Limiters>} limiters */
export async function closeLimiters(limiters) {
  await Promise.all(Object.values(limiters).map((limiter) => limiter.close()));
}
