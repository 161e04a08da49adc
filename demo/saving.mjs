/** The limiters of one process, while what saves calls to Redis is switched on and off. */
import { closeLimiters, NOT_SAVING, openLimiters, openSavers } from './limits.mjs';

/**
 * @typedef {import('./limits.mjs').Limiters} Limiters
 * @typedef {import('./limits.mjs').Saving} Saving
 * @typedef {{ store: number, slice: number, deny_cache: number, none: number }} Sources
 * @typedef {{ sources: Sources, prepaid: { charged: number, spent: number } }} Counted
 * @typedef {Limiters[keyof Limiters]} Limiter
 * @typedef {ReturnType<typeof openSaving>} SwitchedLimiters
 */

/**
 * A limiter takes its options once, so a switch opens new limiters on the same connection and closes the old ones. Their
 * limits live in Redis and go on. Units that the old ones held expire unspent.
 *
 * @param {string | undefined} redisUrl
 */
export function openSaving(redisUrl) {
  let limiters = openLimiters(redisUrl);
  let saving = NOT_SAVING;
  /** Replaced ones, until their pending calls are answered. @type {Set<Limiter>} */
  const closing = new Set();
  /** What closed ones counted. */
  const ended = { sources: noSources(), prepaid: { charged: 0, spent: 0 } };

  /** @param {Limiter} limiter */
  async function end(limiter) {
    closing.add(limiter);
    await limiter.close();
    closing.delete(limiter);
    addStats(ended, limiter);
  }

  return {
    limiters: () => limiters,
    saving: () => saving,
    /** Counts of all limiters since the process began. @returns {Counted} */
    counts: () => {
      const counts = { sources: { ...ended.sources }, prepaid: { ...ended.prepaid } };
      for (const limiter of [...Object.values(limiters), ...closing]) addStats(counts, limiter);
      return counts;
    },
    /** @param {Saving} wanted */
    use: async (wanted) => {
      if (wanted.prepay === saving.prepay && wanted.denyCache === saving.denyCache) return;
      saving = wanted;
      const { report, ...replaced } = limiters;
      limiters = { ...openSavers(redisUrl, wanted), report };
      await Promise.all(Object.values(replaced).map(end));
    },
    close: () => closeLimiters(limiters),
  };
}

/** @returns {Sources} */
function noSources() {
  return { store: 0, slice: 0, deny_cache: 0, none: 0 };
}

/** @param {Counted} sum @param {Limiter} limiter */
function addStats({ sources, prepaid }, limiter) {
  const stats = limiter.stats();
  for (const source of /** @type {const} */ (['store', 'slice', 'deny_cache', 'none'])) {
    sources[source] += stats.sources[source];
  }
  prepaid.charged += stats.prepaid?.charged ?? 0;
  prepaid.spent += stats.prepaid?.spent ?? 0;
}
