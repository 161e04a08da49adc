import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadHomesEngine } from '../../kit/homes/engine.ts';
import type { HomesEngine } from '../../kit/homes/engine.ts';
import { followCalls, followReservations } from '../../kit/homes/follow.ts';
import { LUA_MUTANTS } from '../../kit/homes/mutants.ts';
import { mutated } from '../../kit/mutants.ts';
import { noSeen } from '../../kit/homes/reservations.ts';
import { noCounts } from '../../kit/homes/trace.ts';
import { virtualScriptWith } from '../../kit/fakes/virtual-script.ts';
import { casesOf, check, Random, seed } from '../../kit/random.mjs';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(20_000));
/** Courses in which a mistake must be noticed. */
const MOST = 200;

describe(`homes and units in TypeScript and Lua (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);
  let engine: HomesEngine;

  beforeAll(async () => {
    engine = await loadHomesEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
  });

  test(
    `reply and store what the oracle says over ${STEPS} random steps`,
    { timeout: 60_000 + 3 * STEPS },
    async () => {
      const counts = noCounts();
      const run = { until: () => counts.steps >= STEPS, before: () => twin.lua.forget() };
      await check(run, (random, at) => followCalls(engine, twin.lua, random, `seed${at}`, counts));
      console.log(counts);
      // A trace that no longer reaches one of these would prove nothing about it.
      expect(Object.entries(counts).filter(([, seen]) => seen < STEPS / 500)).toEqual([]);
    },
  );

  test(
    `reply and store the same over ${STEPS / 4} steps of reservations`,
    { timeout: 60_000 + 3 * STEPS },
    async () => {
      const seen = noSeen();
      const run = { until: () => seen.steps >= STEPS / 4, before: () => twin.lua.forget() };
      await check(run, (random, at) =>
        followReservations(engine, twin.lua, random, `seed${at}`, seen),
      );
      console.log(seen);
      expect(Object.entries(seen).filter(([, times]) => times < STEPS / 2_000)).toEqual([]);
    },
  );

  test.each(Object.entries(LUA_MUTANTS))('differ where Lua %s', async (_, mutant) => {
    const include = mutant.file.replace('.lua', '');
    const { text } = virtualScriptWith({ [include]: mutated(mutant) });
    const lua = await LuaTwin.open(twin.redis, text);
    const follow = (number: number): Promise<void> =>
      mutant.shownBy === 'calls'
        ? followCalls(engine, lua, new Random(number), 'mutant', noCounts())
        : followReservations(engine, lua, new Random(number), 'mutant', noSeen());
    let noticed: unknown;
    for (let number = 0; number < MOST && noticed === undefined; number++) {
      await lua.forget();
      noticed = await follow(number).then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    await lua.close();
    const what = Object.keys((noticed as { actual?: object } | undefined)?.actual ?? {});
    expect(what.join()).toMatch(/Lua/);
  });
});
