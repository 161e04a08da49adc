import { describe, expect, test } from 'vitest';
import { loadHomesEngine } from '../../kit/homes/engine.ts';
import type { HomesEngine } from '../../kit/homes/engine.ts';
import { MUTANTS } from '../../kit/homes/mutants.ts';
import { copyOf } from '../../kit/mutants.ts';
import type { Mutant } from '../../kit/homes/mutants.ts';
import { noSeen, ReservationsTrace } from '../../kit/homes/reservations.ts';
import { HomesTrace, noCounts } from '../../kit/homes/trace.ts';
import { casesOf, Random } from '../../kit/random.mjs';

/** Courses in which a mistake must be noticed. */
const MOST = 300;

/** One course of calls; rejects at the first difference from the model. */
async function run(engine: HomesEngine, shownBy: Mutant['shownBy'], number: number): Promise<void> {
  const random = new Random(number);
  if (shownBy === 'calls') {
    const trace = new HomesTrace(engine, random, 'mutant', noCounts());
    for (let turn = 0; turn < 40; turn++) trace.turn();
    trace.finish();
  } else {
    const trace = new ReservationsTrace(engine, random, 'mutant', noSeen());
    for (let step = 0; step < 60; step++) await trace.step();
  }
}

const all = Object.entries(MUTANTS);
/** In `npm run test:unit` a part of them: each takes about a second. */
const mutants = all.slice(0, casesOf(all.length));

describe('the models of homes and units differ from a library that', () => {
  test.each(mutants)('%s', { timeout: 120_000 }, async (_, mutant) => {
    const copy = copyOf(mutant);
    try {
      const engine = await loadHomesEngine(copy.folder);
      let noticed: unknown;
      for (let number = 0; number < MOST && noticed === undefined; number++) {
        noticed = await run(engine, mutant.shownBy, number).then(
          () => undefined,
          (error: unknown) => error,
        );
      }
      // A difference, not an accident of the mutant.
      const what = Object.keys((noticed as { actual?: object } | undefined)?.actual ?? {});
      expect(what).toHaveLength(1);
    } finally {
      copy.remove();
    }
  });
});
