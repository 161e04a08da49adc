import { describe, expect, test } from 'vitest';
import { casesOf, Random } from '../../kit/random.mjs';
import { loadEngine } from '../../kit/plans/engine.ts';
import { History } from '../../kit/plans/history.ts';
import { KINDS } from '../../kit/plans/kinds.ts';
import { copyOf, MUTANTS } from '../../kit/plans/mutants.ts';

/** Histories in which a mutant must be seen. */
const MOST = 1_500;

const all = Object.entries(MUTANTS);
/** In `npm run test:unit` a part of them: each takes about half a second. */
const mutants = all.slice(0, casesOf(all.length));

describe('the laws of plans fail for a bucket that', () => {
  test.each(mutants)('%s', { timeout: 120_000 }, async (_, mutant) => {
    const copy = copyOf(mutant);
    try {
      const engine = await loadEngine(copy.folder);
      const kind = KINDS[mutant.shownBy];
      const seen = new Set<string>();
      for (let number = 0; number < MOST && !mutant.breaks.some((law) => seen.has(law)); number++) {
        const history = new History(engine, new Random(number), kind);
        history.run();
        for (const law of history.broken.keys()) seen.add(law);
      }
      expect(
        mutant.breaks.filter((law) => seen.has(law)),
        [...seen].join('; '),
      ).not.toEqual([]);
    } finally {
      copy.remove();
    }
  });
});
