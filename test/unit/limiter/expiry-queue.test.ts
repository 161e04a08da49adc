import { expect, test } from 'vitest';
import { ExpiryQueue } from '../../../src/stores/expiry-queue.ts';
import type { Kept } from '../../../src/stores/expiry-queue.ts';
import { check } from '../../kit/random.mjs';

const stateOf = (key: string, expiresAt: number): Kept => ({
  key,
  value: 0,
  expiresAt,
  gone: false,
  queuedFor: expiresAt,
});

test('the expiry queue returns exactly what has expired, whatever was extended or removed before', async () => {
  await check(100, (random) => {
    const queue = new ExpiryQueue();
    const live = new Map<string, Kept>();
    let now = 0;
    for (const _ of random.steps(0, 600)) {
      const verb = random.pick(['add', 'extend', 'remove', 'pass']);
      const which = random.int(0, 200);
      const ms = random.int(0, 100);
      const known = live.get(String(which));
      if (verb === 'pass') {
        now += ms;
        const expected = [...live.values()].filter(({ expiresAt }) => expiresAt <= now);
        const taken: Kept[] = [];
        for (let next = queue.takeEnded(now); next !== undefined; next = queue.takeEnded(now)) {
          taken.push(next);
          live.delete(next.key);
        }
        expect(new Set(taken)).toEqual(new Set(expected));
      } else if (verb === 'remove') {
        if (known !== undefined) queue.remove(known);
        live.delete(String(which));
      } else if (known !== undefined) {
        known.expiresAt += ms;
      } else {
        const state = stateOf(String(which), now + ms + 1);
        live.set(state.key, state);
        queue.add(state);
      }
    }
  });
});
