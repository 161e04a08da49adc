import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { LateAnswers } from '../../kit/fakes/agreement.ts';
import { loadHomesEngine } from '../../kit/homes/engine.ts';
import type { HomesEngine } from '../../kit/homes/engine.ts';
import { HomesTrace, noCounts } from '../../kit/homes/trace.ts';
import { check, seed } from '../../kit/random.mjs';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const STEPS = Number(process.env['DRL_STEPS'] ?? 20_000);

describe(`homes and units in TypeScript, Lua and the oracle (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);
  let engine: HomesEngine;

  beforeAll(async () => {
    engine = await loadHomesEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
  });

  test(
    `reply and store the same over ${STEPS} random steps`,
    { timeout: 60_000 + 3 * STEPS },
    async () => {
      const counts = noCounts();
      const run = { until: () => counts.steps >= STEPS, before: () => twin.lua.forget() };
      await check(run, async (random, at) => {
        const answers = new LateAnswers();
        const server = { lua: twin.lua, answers };
        const trace = new HomesTrace(engine, random, `seed${at}`, counts, server);
        try {
          for (const _ of random.steps(1, 60)) {
            trace.turn();
          }
          trace.finish();
        } finally {
          await answers.all();
        }
      });
      console.log(counts);
      expect(Object.entries(counts).filter(([, seen]) => seen < STEPS / 500)).toEqual([]);
    },
  );
});
