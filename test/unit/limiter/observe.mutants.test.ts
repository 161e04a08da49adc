import { describe, expect, test } from 'vitest';
import { copyOf } from '../../kit/mutants.ts';
import { MUTANTS } from '../../kit/observe/mutants.ts';
import { loadObserveEngine, noObserveSeen, ObserveTrace } from '../../kit/observe/trace.ts';
import { casesOf, Random } from '../../kit/random.mjs';

/** Courses in which a mistake must be noticed. */
const MOST = 400;

const all = Object.entries(MUTANTS);
/** In `npm run test:unit` a part of them: each takes about a second. */
const mutants = all.slice(0, casesOf(all.length));

describe('the list of what a provider said differs from a library that', () => {
  test.each(mutants)('%s', { timeout: 120_000 }, async (_, mutant) => {
    const copy = copyOf(mutant);
    try {
      const engine = await loadObserveEngine(copy.folder);
      let noticed: unknown;
      for (let number = 0; number < MOST && noticed === undefined; number++) {
        const trace = new ObserveTrace(engine, new Random(number), noObserveSeen());
        try {
          for (let turn = 0; turn < 40; turn++) await trace.turn();
        } catch (error) {
          noticed = error;
        }
      }
      // A difference, not an accident of the mutant.
      const what = Object.keys((noticed as { actual?: object } | undefined)?.actual ?? {});
      expect(what.length).toBeGreaterThan(0);
    } finally {
      copy.remove();
    }
  });
});
