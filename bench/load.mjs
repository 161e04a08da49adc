// @ts-check

/**
 * Times each call if one call is in flight, else one call in this many. It is a prime, so that timed calls fall on
 * every index of a batch.
 */
const SAMPLE_ONE_OF = 17;

/**
 * @typedef {object} Load
 * @property {number} inFlight calls that are always outstanding
 * @property {number} ms how long new calls are made
 *
 * @typedef {object} LoadResult
 * @property {number} decisions
 * @property {number} refused
 * @property {number} perSecond
 * @property {number} p50Us of a call, in microseconds
 * @property {number} p99Us
 * @property {number} nodeUs processor time of this process, user and system, per decision
 */

/**
 * A closed loop: as soon as a call is answered, the next one is made. The loop's own cost is in the result, and is the
 * same for every subject.
 *
 * @param {(identity: string) => Promise<boolean>} decide
 * @param {() => string} nextIdentity
 * @param {Load} load
 * @returns {Promise<LoadResult>}
 */
export async function runLoad(decide, nextIdentity, { inFlight, ms }) {
  const sampleOneOf = inFlight === 1 ? 1 : SAMPLE_ONE_OF;
  /** @type {number[]} */
  const sampled = [];
  const until = { reached: false };
  let begun = 0;
  let refused = 0;
  const lane = async () => {
    while (!until.reached) {
      begun += 1;
      if (begun % sampleOneOf === 0) {
        const from = performance.now();
        if (!(await decide(nextIdentity()))) refused += 1;
        sampled.push(performance.now() - from);
      } else if (!(await decide(nextIdentity()))) {
        refused += 1;
      }
    }
  };

  setTimeout(() => (until.reached = true), ms);
  const cpuBefore = process.cpuUsage();
  const from = performance.now();
  await Promise.all(Array.from({ length: inFlight }, lane));
  const elapsedMs = performance.now() - from;
  const cpu = process.cpuUsage(cpuBefore);

  sampled.sort((a, b) => a - b);
  const quantileUs = (/** @type {number} */ q) =>
    1_000 * (sampled[Math.min(sampled.length - 1, Math.floor(q * sampled.length))] ?? Number.NaN);
  return {
    decisions: begun,
    refused,
    perSecond: (1_000 * begun) / elapsedMs,
    p50Us: quantileUs(0.5),
    p99Us: quantileUs(0.99),
    nodeUs: (cpu.user + cpu.system) / begun,
  };
}
