import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { checkCredits, loadCreditEngine, noCreditSeen } from '../../kit/credit/laws.ts';
import { MUTANTS } from '../../kit/credit/mutants.ts';
import { copyOf } from '../../kit/mutants.ts';
import { casesOf, check, Random, seed } from '../../kit/random.mjs';

const CASES = casesOf(1_000);
/** Courses in which a mistake must be noticed. */
const MOST = 500;

describe(`gifts over time (DRL_SEED=${seed} repeats this run)`, () => {
  test('never leave more than full, and never let more pass than the limit and the gifts', async () => {
    const engine = await loadCreditEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
    const seen = noCreditSeen();
    await check(CASES, (random) => checkCredits(engine, random, seen));
    console.log(seen);
    expect(Object.entries(seen).filter(([, times]) => times < CASES / 10)).toEqual([]);
  });

  const all = Object.entries(MUTANTS);
  test.each(all.slice(0, casesOf(all.length)))('show a library that %s', async (_, mutant) => {
    const copy = copyOf(mutant);
    try {
      const engine = await loadCreditEngine(copy.folder);
      let noticed: unknown;
      for (let number = 0; number < MOST && noticed === undefined; number++) {
        try {
          await checkCredits(engine, new Random(number), noCreditSeen());
        } catch (error) {
          noticed = error;
        }
      }
      // A broken law, not an accident of the mutant.
      const what = Object.keys((noticed as { actual?: object } | undefined)?.actual ?? {});
      expect(what.length).toBeGreaterThan(0);
    } finally {
      copy.remove();
    }
  });
});
