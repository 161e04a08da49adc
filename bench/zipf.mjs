// @ts-check

/** Draws that are made beforehand; a load repeats them. */
const DRAWS = 1 << 20;

/**
 * Returns the share of the most frequent of so many identities whose frequencies are as 1, 1/2, 1/3, and so on.
 *
 * @param {number} count
 */
export function shareOfFirst(count) {
  let total = 0;
  for (let rank = 1; rank <= count; rank++) total += 1 / rank;
  return 1 / total;
}

/**
 * Draws identities whose frequencies are as 1, 1/2, 1/3, and so on (Zipf's law, s = 1). The draws are random and the same
 * in every run.
 *
 * @param {readonly string[]} identities
 * @returns {() => string}
 */
export function zipf(identities) {
  const first = shareOfFirst(identities.length);
  const upTo = new Float64Array(identities.length);
  let total = 0;
  for (let rank = 1; rank <= identities.length; rank++) {
    total += first / rank;
    upTo[rank - 1] = total;
  }
  let seed = 1;
  const draws = Uint32Array.from({ length: DRAWS }, () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const drawn = seed / 2 ** 32;
    let [low, high] = [0, identities.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Number(upTo[middle]) > drawn) high = middle;
      else low = middle + 1;
    }
    return low;
  });
  let at = 0;
  return () => {
    at = (at + 1) % DRAWS;
    return identities[Number(draws[at])] ?? '';
  };
}
