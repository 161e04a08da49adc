import { describe, expect, test } from 'vitest';
import { loadBansEngine } from '../../kit/bans/engine.ts';
import { MUTANTS } from '../../kit/bans/mutants.ts';
import { BansTrace, noBansSeen } from '../../kit/bans/trace.ts';
import { copyOf } from '../../kit/mutants.ts';
import { casesOf, Random } from '../../kit/random.mjs';

/** Courses in which a mistake must be noticed. */
const MOST = 500;

const all = Object.entries(MUTANTS);
/** In `npm run test:unit` a part of them: each takes about a second. */
const mutants = all.slice(0, casesOf(all.length));

describe('the model of bans differs from a library that', () => {
  test.each(mutants)('%s', { timeout: 120_000 }, async (_, mutant) => {
    const copy = copyOf(mutant);
    try {
      const engine = await loadBansEngine(copy.folder);
      let noticed: unknown;
      for (let number = 0; number < MOST && noticed === undefined; number++) {
        const trace = new BansTrace(engine, new Random(number), 'mutant', noBansSeen());
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
