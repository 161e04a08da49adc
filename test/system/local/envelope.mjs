// @ts-check

/**
 * A call that passed, as its process saw it: decided at an unknown instant from `before` to `after`. Microseconds of the
 * machine's monotonic clock, which all processes of one machine share.
 *
 * @typedef {{ before: number, after: number }} Admission
 */

/**
 * Returns the most by which calls of cost 1 exceed `burst + rate · Δ` in any interval, whenever each was decided; below 0
 * if the limit holds.
 *
 * An interval contains a call for certain if it contains all of [before, after]. It suffices to try intervals that begin
 * with the `before` of one call and end with the `after` of another: a longer one allows more and contains no more.
 *
 * @param {readonly Admission[]} admissions
 * @param {{ rate: number, burst: number }} limit `rate` units per second
 */
export function excess(admissions, { rate, burst }) {
  const perMicro = rate / 1e6;
  const begins = admissions.toSorted((a, b) => a.before - b.before);
  const places = new Map(begins.map((admission, place) => [admission, place]));
  const origin = begins[0]?.before ?? 0;

  // A tree over the calls by `before`. A node knows how many of its calls have ended, and the most, over its calls that
  // have, of `calls from there on + rate · before`.
  let leaves = 1;
  while (leaves < begins.length) leaves *= 2;
  const ended = new Float64Array(2 * leaves);
  const most = new Float64Array(2 * leaves).fill(-Infinity);
  /** @param {Admission} admission */
  const end = (admission) => {
    let node = leaves + /** @type {number} */ (places.get(admission));
    ended[node] = 1;
    most[node] = 1 + perMicro * (admission.before - origin);
    for (node >>= 1; node > 0; node >>= 1) {
      const [left, right] = [2 * node, 2 * node + 1];
      ended[node] = Number(ended[left]) + Number(ended[right]);
      most[node] = Math.max(Number(most[right]), Number(most[left]) + Number(ended[right]));
    }
  };

  let worst = -burst;
  for (const admission of admissions.toSorted((a, b) => a.after - b.after)) {
    end(admission);
    worst = Math.max(worst, Number(most[1]) - burst - perMicro * (admission.after - origin));
  }
  return worst;
}

/**
 * Returns the share of `rate · Δ` that passed for certain in an interval.
 *
 * @param {readonly Admission[]} admissions
 * @param {number} rate units per second
 * @param {readonly [number, number]} interval in microseconds
 */
export function shareUsed(admissions, rate, [from, to]) {
  const within = admissions.filter(({ before, after }) => before >= from && after <= to);
  return within.length / ((rate * (to - from)) / 1e6);
}

/** Reads the machine's monotonic clock, in microseconds. */
export function micros() {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1e6 + nanos / 1e3;
}
