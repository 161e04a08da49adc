/** How the outcomes of requests are counted, by the processes and by the page. */

/**
 * What became of a request. `Here`: decided in the process without asking Redis, by a slice or a remembered refusal.
 * `Degraded`: decided without knowing anything, by the failure strategy.
 *
 * @typedef {'passed' | 'passedHere' | 'refused' | 'refusedHere' | 'passedDegraded' | 'refusedDegraded'} Outcome
 * @typedef {Record<Outcome, number>} Counts
 */

/** @returns {Counts} */
export function noCounts() {
  return {
    passed: 0,
    passedHere: 0,
    refused: 0,
    refusedHere: 0,
    passedDegraded: 0,
    refusedDegraded: 0,
  };
}
