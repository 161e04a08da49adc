import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadBansEngine } from '../../kit/bans/engine.ts';
import type { BansEngine } from '../../kit/bans/engine.ts';
import { LUA_MUTANTS } from '../../kit/bans/mutants.ts';
import { BansTrace, noBansSeen } from '../../kit/bans/trace.ts';
import { virtualScriptWith } from '../../kit/fakes/virtual-script.ts';
import { mutated } from '../../kit/mutants.ts';
import { casesOf, check, Random, seed } from '../../kit/random.mjs';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const CALLS = Number(process.env['DRL_STEPS'] ?? casesOf(20_000));
/** Courses in which a mistake must be noticed. */
const MOST = 200;

describe(`bans in TypeScript and Lua (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);
  let engine: BansEngine;

  beforeAll(async () => {
    engine = await loadBansEngine(fileURLToPath(new URL('../../../src', import.meta.url)));
  });

  test(
    `reply and store the same over ${CALLS} random calls`,
    { timeout: 60_000 + 3 * CALLS },
    async () => {
      const seen = noBansSeen();
      const run = { until: () => seen.calls >= CALLS, before: () => twin.lua.forget() };
      await check(run, async (random, at) => {
        const trace = new BansTrace(engine, random, `seed${at}`, seen, twin.lua);
        for (const _ of random.steps(1, 60)) await trace.turn();
      });
      console.log(seen);
      expect(Object.entries(seen).filter(([, times]) => times < CALLS / 1_000)).toEqual([]);
    },
  );

  test.each(Object.entries(LUA_MUTANTS))('differ where Lua %s', async (_, mutant) => {
    const include = mutant.file.replace('.lua', '');
    const { text } = virtualScriptWith({ [include]: mutated(mutant) });
    const lua = await LuaTwin.open(twin.redis, text);
    let noticed: unknown;
    for (let number = 0; number < MOST && noticed === undefined; number++) {
      await lua.forget();
      const trace = new BansTrace(engine, new Random(number), 'mutant', noBansSeen(), lua);
      try {
        for (let turn = 0; turn < 40; turn++) await trace.turn();
      } catch (error) {
        noticed = error;
      }
    }
    await lua.close();
    expect(Object.keys((noticed as { actual?: object } | undefined)?.actual ?? {})).toContain(
      'lua',
    );
  });
});
