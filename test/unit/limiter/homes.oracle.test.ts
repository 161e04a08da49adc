import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadHomesEngine } from '../../kit/homes/engine.ts';
import { HomesTrace, noCounts } from '../../kit/homes/trace.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(15_000));

describe(`homes and units (DRL_SEED=${seed} repeats this run)`, async () => {
  const engine = await loadHomesEngine(fileURLToPath(new URL('../../../src', import.meta.url)));

  test(
    `TypeScript and the oracle agree on ${STEPS} random steps`,
    { timeout: 60_000 + 2 * STEPS },
    async () => {
      const counts = noCounts();
      await check({ until: () => counts.steps >= STEPS }, (random, at) => {
        const trace = new HomesTrace(engine, random, `seed${at}`, counts);
        for (const _ of random.steps(1, 60)) {
          trace.turn();
        }
        trace.finish();
      });
      console.log(counts);
      // A trace that no longer reaches one of these would prove nothing about it.
      expect(Object.entries(counts).filter(([, seen]) => seen < STEPS / 500)).toEqual([]);
    },
  );
});
