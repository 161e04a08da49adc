import { expect, test } from 'vitest';
import { LIMIT, move } from './moving.mjs';

test.each([
  ['no tags', '16', undefined, 16],
  ['16 tags', '64', 16, 64],
  ['64 tags', 'none', 64, undefined],
] as const)(
  'a rollout from %s to %s lets pass one more burst, one more rate for as long as it takes, and no more',
  async (old, fresh, from, to) => {
    const { twice, most, before, after, rolloutMs, keys, goneMs, degraded } = await move(from, to);
    console.log(
      `from ${old} to ${fresh}, ${LIMIT.rate} a second, a burst of ${LIMIT.burst}: ${twice.toFixed(0)} units passed ` +
        `twice, of at most ${most.toFixed(0)} in a rollout of ${(rolloutMs / 1e3).toFixed(1)} s; ` +
        `the old key was gone ${(goneMs / 1e3).toFixed(1)} s after the last old call`,
    );
    expect(degraded, 'Redis made each decision').toBe(0);
    expect(keys, 'the identity has one key in the old processes and one in the new ones').toBe(2);
    expect(before, 'the old processes keep the limit among themselves').toBeLessThanOrEqual(0);
    expect(after, 'the new processes keep the limit among themselves').toBeLessThanOrEqual(0);
    expect(twice).toBeLessThanOrEqual(most);
    expect(twice, 'the burst passes twice').toBeGreaterThan(0.5 * LIMIT.burst);
  },
  120_000,
);
