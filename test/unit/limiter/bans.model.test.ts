import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadBansEngine } from '../../kit/bans/engine.ts';
import { BansTrace, noBansSeen } from '../../kit/bans/trace.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';

const CALLS = Number(process.env['DRL_STEPS'] ?? casesOf(100_000));

test(
  `bans agree with a model over ${CALLS} random calls (DRL_SEED=${seed} repeats this run)`,
  { timeout: 60_000 + CALLS },
  async () => {
    const engine = await loadBansEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
    const seen = noBansSeen();
    await check({ until: () => seen.calls >= CALLS }, async (random) => {
      const trace = new BansTrace(engine, random, 'model', seen);
      for (const _ of random.steps(1, 60)) await trace.turn();
    });
    console.log(seen);
    // A trace that no longer reaches one of these would prove nothing about it.
    expect(Object.entries(seen).filter(([, times]) => times < CALLS / 1_000)).toEqual([]);
  },
);
