import { describe, expect, test } from 'vitest';
import { loadEngine } from '../../kit/deny-cache/engine.ts';
import { compareWorlds, inheritCount } from '../../kit/deny-cache/histories.ts';
import { MUTANTS } from '../../kit/deny-cache/mutants.ts';
import { copyOf } from '../../kit/mutants.ts';
import { askBeside, giveBackElsewhere } from '../../kit/deny-cache/remote.ts';
import { casesOf, Random } from '../../kit/random.mjs';

/** Histories in which a mutant must be seen. */
const MOST = 1_500;
const HISTORIES = {
  'two worlds': compareWorlds,
  'a server beside': askBeside,
  'another process': giveBackElsewhere,
  'windows of several lengths': inheritCount,
};

const all = Object.entries(MUTANTS);
/** In `npm run test:unit` a part of them: each takes about a second. */
const mutants = all.slice(0, casesOf(all.length));

test('the histories hold for the deny cache itself', { timeout: 300_000 }, async () => {
  const engine = await loadEngine();
  for (const run of Object.values(HISTORIES)) {
    for (let number = 0; number < 100; number++) {
      const sources = { store: 0, deny_cache: 0, none: 0 };
      await expect(run(engine, new Random(number), sources)).resolves.not.toThrow();
    }
  }
});

describe('the histories fail for a deny cache that', () => {
  test.each(mutants)('%s', { timeout: 300_000 }, async (_, mutant) => {
    const copy = copyOf(mutant);
    try {
      const engine = await loadEngine(copy.folder);
      const run = HISTORIES[mutant.shownBy];
      let failed = false;
      for (let number = 0; number < MOST && !failed; number++) {
        const sources = { store: 0, deny_cache: 0, none: 0 };
        failed = await run(engine, new Random(number), sources).then(
          () => false,
          () => true,
        );
      }
      expect(failed).toBe(true);
    } finally {
      copy.remove();
    }
  });
});
