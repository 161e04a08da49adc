/** Counts what became of each caller's requests in this process, for the live page. */
import { noCounts } from './page/counts.js';

/**
 * @typedef {import('./page/counts.js').Outcome} Outcome
 * @typedef {import('./limits.mjs').RuleName} RuleName
 * @typedef {{ route: RuleName, caller: string, counts: import('./page/counts.js').Counts }} Tallied
 */

/** Callers beyond these push out the one that has been quiet for longest. */
const MOST_CALLERS = 200;
/** An API key may be longer; the page shows its beginning. */
const LONGEST_NAME = 64;

export function openTally() {
  /** By route and caller, the latest last. @type {Map<string, Tallied>} */
  const tallied = new Map();
  return {
    /** @type {(route: RuleName, caller: string, decision: import('distributed-rate-limiter').Decision) => void} */
    note: (route, caller, decision) => {
      const name = caller.slice(0, LONGEST_NAME);
      const key = `${route} ${name}`;
      const one = tallied.get(key) ?? { route, caller: name, counts: noCounts() };
      one.counts[outcomeOf(decision)] += 1;
      tallied.delete(key);
      tallied.set(key, one);
      if (tallied.size > MOST_CALLERS) tallied.delete(tallied.keys().next().value ?? key);
    },
    /** @returns {readonly Tallied[]} */
    all: () => [...tallied.values()],
  };
}

/** @param {import('distributed-rate-limiter').Decision} decision @returns {Outcome} */
function outcomeOf({ allowed, degraded, source }) {
  if (degraded) return allowed ? 'passedDegraded' : 'refusedDegraded';
  if (source === 'slice' || source === 'deny_cache') return allowed ? 'passedHere' : 'refusedHere';
  return allowed ? 'passed' : 'refused';
}
