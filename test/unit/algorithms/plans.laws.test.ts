import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { casesOf, Random, seed } from '../../kit/random.mjs';
import { loadEngine } from '../../kit/plans/engine.ts';
import { History } from '../../kit/plans/history.ts';
import { KINDS } from '../../kit/plans/kinds.ts';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(100_000));

describe(`laws of plans (DRL_SEED=${seed} repeats this run)`, async () => {
  const engine = await loadEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
  const kinds = Object.entries(KINDS);
  const steps = Math.ceil(STEPS / kinds.length);

  test.each(kinds)('hold for %s', { timeout: 60_000 + STEPS }, (_, kind) => {
    let done = 0;
    for (let number = 0; done < steps; number++) {
      const history = new History(engine, new Random(seed + number), kind);
      history.run();
      done += history.steps;
      expect({ history: seed + number, broken: Object.fromEntries(history.broken) }).toEqual({
        history: seed + number,
        broken: {},
      });
    }
  });
});
