import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadObserveEngine, noObserveSeen, ObserveTrace } from '../../kit/observe/trace.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';

const CALLS = Number(process.env['DRL_STEPS'] ?? casesOf(20_000));

test(
  `limits that observe a provider agree with a list of what it said and what passed since, over ${CALLS} random calls (DRL_SEED=${seed} repeats this run)`,
  { timeout: 60_000 + 3 * CALLS },
  async () => {
    const engine = await loadObserveEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
    const seen = noObserveSeen();
    await check({ until: () => seen.calls >= CALLS }, async (random) => {
      const trace = new ObserveTrace(engine, random, seen);
      for (const _ of random.steps(1, 60)) await trace.turn();
    });
    console.log(seen);
    // A trace that no longer reaches one of these would prove nothing about it.
    expect(Object.entries(seen).filter(([, times]) => times < CALLS / 1_000)).toEqual([]);
  },
);
