import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadHomesEngine } from '../../kit/homes/engine.ts';
import { noSeen, ReservationsTrace } from '../../kit/homes/reservations.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(10_000));

describe(`reservations over homes and units (DRL_SEED=${seed} repeats this run)`, async () => {
  const engine = await loadHomesEngine(fileURLToPath(new URL('../../../src', import.meta.url)));

  test(
    `hold what the model says over ${STEPS} steps with lost answers, resends, deaths and expiry`,
    { timeout: 60_000 + 2 * STEPS },
    async () => {
      const seen = noSeen();
      await check({ until: () => seen.steps >= STEPS }, async (random, at) => {
        const trace = new ReservationsTrace(engine, random, `seed${at}`, seen);
        for (const _ of random.steps(1, 60)) {
          await trace.step();
        }
      });
      console.log(seen);
      expect(Object.entries(seen).filter(([, times]) => times < STEPS / 1_000)).toEqual([]);
    },
  );
});
