// @ts-check

/**
 * Distinct identities of one length. Their order is random and the same in every run.
 *
 * @param {number} count
 * @returns {string[]}
 */
export function makeIdentities(count) {
  const identities = Array.from({ length: count }, (_, i) => `user:${1_000_000 + i}`);
  let seed = 1;
  for (let i = count - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const j = seed % (i + 1);
    const swapped = identities[i] ?? '';
    identities[i] = identities[j] ?? '';
    identities[j] = swapped;
  }
  return identities;
}

/**
 * Returns the identities one after another, and starts over after the last.
 *
 * @param {readonly string[]} identities
 * @returns {() => string}
 */
export function inTurn(identities) {
  let at = 0;
  return () => {
    at = at + 1 < identities.length ? at + 1 : 0;
    return identities[at] ?? '';
  };
}
