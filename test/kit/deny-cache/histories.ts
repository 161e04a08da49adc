import { expect } from 'vitest';
import type { Random } from '../random.mjs';
import type { Engine } from './engine.ts';
import { isSame, outcomeOf, settingOf, stepOf, World } from './worlds.ts';

const HELD = { holdMs: 500, maxIdentities: 100 };

/** Decisions by where they were made. */
export type Sources = Record<'store' | 'deny_cache' | 'none', number>;

/**
 * Makes the same calls at the same instants in two worlds, of which one has the cache, and compares each outcome. Returns
 * the number of calls.
 */
export async function compareWorlds(
  engine: Engine,
  random: Random,
  sources: Sources,
): Promise<number> {
  const setting = settingOf(engine, random);
  const plain = new World(engine, setting, []);
  const cached = new World(engine, setting, [HELD, HELD]);
  let steps = 0;
  for (const _ of random.steps(20, 120)) {
    const turn = Array.from({ length: random.int(1, 2) }, () => stepOf(random, setting)).flatMap(
      (step) => Array<typeof step>(random.int(1, 4)).fill(step),
    );
    const expected = turn.map((step) => outcomeOf(step, plain));
    const got = turn.map((step) => outcomeOf(step, cached));
    for (const [i, each] of expected.entries()) {
      const [without, having] = [await each, await got[i]!];
      const source = having['source'] as keyof Sources;
      sources[source] = (sources[source] ?? 0) + 1;
      if (!isSame(without, having, setting.precision)) {
        expect({ ...having, source: undefined }).toEqual({ ...without, source: undefined });
        expect(having).toEqual(without);
      }
    }
    steps += turn.length;
  }
  const [counted, countedToo] = [plain, cached].map(({ limiters }) =>
    limiters.map((limiter) => limiter.stats().decisions),
  );
  if (setting.precision === 'all') {
    expect(countedToo).toEqual(counted);
  }
  // answers beyond the first thousand of a turn come in the next one
  await new Promise((resolve) => setImmediate(resolve));
  return steps;
}

/** A plan's window without a count of its own inherits that of a shorter window, which ends first. */
export async function inheritCount(engine: Engine): Promise<void> {
  const clock = new engine.ManualClock();
  clock.set(Date.UTC(2026, 0, 1));
  const limiter = new engine.RateLimiter({
    store: new engine.MemoryStore({ clock }),
    limits: [engine.fixedWindow({ rate: 2, period: '1s' })],
    denyCache: { holdMs: 500 },
  });
  const limits = [engine.fixedWindow({ rate: 2, period: '1m' })];
  await limiter.allow('user', { cost: 2 });
  clock.advance('900ms');
  expect(await limiter.allow('user', { limits })).toMatchObject({ allowed: false });
  clock.advance('110ms');
  expect(await limiter.allow('user', { limits })).toMatchObject({ allowed: true });
}
