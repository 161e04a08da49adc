import type { RateLimiter } from 'distributed-rate-limiter';

/** Whose keys are on both of two servers. */
export const identities: readonly string[] = Array.from({ length: 40 }, (_, i) => `user:${i}`);
/** How many calls pass for each identity, where as many do for all. */
export function exactly(units: number): number[] {
  return identities.map(() => units);
}

/** Makes 20 calls for each identity, in turns in which all identities call, in varying order. Returns how many pass. */
export async function passed(limiter: RateLimiter): Promise<readonly number[]> {
  const counts = exactly(0);
  for (let turn = 0; turn < 20; turn++) {
    await Promise.all(
      identities.map(async (_, i) => {
        const who = (i + turn) % identities.length;
        const { allowed } = await limiter.allow(identities[who]!);
        counts[who]! += allowed ? 1 : 0;
      }),
    );
  }
  return counts;
}
