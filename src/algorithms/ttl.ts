/**
 * For how many milliseconds a state is kept that is as good as none in `left` microseconds: up to the next whole one,
 * and one more for servers that expire a key at its instant.
 */
export function ttlOf(left: number): number {
  return Math.floor((left + 1_999) / 1_000);
}
