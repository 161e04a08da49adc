/** What the demo limits, and by how much. */
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';

/**
 * Each caller has these limits of its own. The two show both answers to a lost store: let pass, or refuse.
 * @satisfies {Readonly<Record<string, import('distributed-rate-limiter').TokenBucketOptions & { failStrategy: 'open' | 'closed' }>>}
 */
export const RULES = /** @type {const} */ ({
  hello: { rate: 5, period: '10s', failStrategy: 'open' },
  // One unit in 14 minutes: none comes back while a burst of requests lasts, so its sum is exact.
  export: { rate: 100, period: '1d', failStrategy: 'closed' },
});

/** @typedef {keyof typeof RULES} RuleName */
/** @typedef {Readonly<Record<RuleName, RateLimiter>>} Limiters */

/**
 * @param {string | undefined} redisUrl undefined: in this process's memory
 * @returns {Limiters}
 */
export function openLimiters(redisUrl) {
  // All processes of the demo, Redis included, crowd one machine: more than the default 250 ms.
  const place =
    redisUrl === undefined ? { store: new MemoryStore() } : { redis: redisUrl, timeoutMs: 1_000 };
  return {
    hello: new RateLimiter({ ...place, namespace: 'demo/hello', ...RULES.hello }),
    export: new RateLimiter({ ...place, namespace: 'demo/export', ...RULES.export }),
  };
}

/**
 * Resolves when decisions can be made; rejects with what is in the way.
 * @param {Limiters} limiters
 */
export async function readyLimiters(limiters) {
  await Promise.all(Object.values(limiters).map((limiter) => limiter.ready()));
}

/** @param {Limiters} limiters */
export async function closeLimiters(limiters) {
  await Promise.all(Object.values(limiters).map((limiter) => limiter.close()));
}
