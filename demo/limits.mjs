/** The demo's limits. */
import { concurrency, MemoryStore, RateLimiter, slidingWindow } from 'distributed-rate-limiter';

/** Each caller has these limits of its own. The first two show both answers to a lost store: pass or refuse. */
export const RULES = /** @type {const} */ ({
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

/** @type {readonly RuleName[]} */
export const RULE_NAMES = ['hello', 'export', 'report'];

/**
 * @param {string | undefined} redisUrl undefined: in this process's memory
 * @returns {Limiters}
 */
export function openLimiters(redisUrl) {
  // All processes of the demo share one machine with Redis and may need more than the default 250 ms.
  const place =
    redisUrl === undefined ? { store: new MemoryStore() } : { redis: redisUrl, timeoutMs: 1_000 };
  const { places, trial, failStrategy } = RULES.report;
  return {
    hello: new RateLimiter({ ...place, namespace: 'demo/hello', ...RULES.hello }),
    export: new RateLimiter({ ...place, namespace: 'demo/export', ...RULES.export }),
    report: new RateLimiter({
      ...place,
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
 * Resolves when decisions can be made; rejects with the obstacle.
 *
 * @param {Limiters} limiters
 */
export async function readyLimiters(limiters) {
  await Promise.all(Object.values(limiters).map((limiter) => limiter.ready()));
}

/** @param {Limiters} limiters */
export async function closeLimiters(limiters) {
  await Promise.all(Object.values(limiters).map((limiter) => limiter.close()));
}
