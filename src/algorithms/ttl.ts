/**
 * The TTL, in milliseconds, of a state that no longer counts in `left` microseconds: rounded up, and 1 ms more for
 * servers that expire a key at its very instant.
 */
export function ttlOf(left: number): number {
  return Math.floor((left + 1_999) / 1_000);
}
