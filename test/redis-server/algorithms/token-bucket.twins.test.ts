import { describe, expect, test } from 'vitest';
import type { Entry } from '../../../src/script/call-shape.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { CallBuilder } from '../../kit/twins/asks.ts';
import { Lockstep, noCounts } from '../../kit/twins/lockstep.ts';
import type { Counts } from '../../kit/twins/lockstep.ts';
import {
  grouped,
  groupedApart,
  groupedByProduction,
  groupedOneByOne,
} from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import type { Grouping } from '../../kit/twins/grouping.ts';
import { Trace } from '../../kit/twins/traces.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(100_000));
const TURNS_PER_TRACE = 12;
const TRACES_PER_ROUND = 8;

/** Equal entries in a row share a run, or not, as it falls. */
function inRandomRuns(entries: readonly Entry[], random: Random): Grouping[] {
  const pairs: { entry: Entry; times: number }[] = [];
  for (const entry of entries) {
    const last = pairs.at(-1);
    const same = last?.entry.key === entry.key && last.entry.shape === entry.shape;
    if (last !== undefined && same && random.chance(60)) {
      last.times += 1;
    } else {
      pairs.push({ entry, times: 1 });
    }
  }
  return [grouped(pairs)];
}

/** Where the integers of a reply end. */
function endOf({ entries }: Grouping): number {
  return entries.reduce((end, { shape }) => end + shape.width, 1);
}

const GROUPINGS: readonly ((entries: readonly Entry[], random: Random) => Grouping[])[] = [
  groupedByProduction,
  (entries) => [groupedOneByOne(entries)],
  groupedApart,
  inRandomRuns,
];

async function follow(lua: LuaTwin, random: Random, at: number, counts: Counts): Promise<void> {
  const lockstep = new Lockstep(lua, random, `seed${at}`, counts);
  for (const _ of random.steps(TURNS_PER_TRACE)) {
    lockstep.turn();
  }
  await lockstep.finish();
}

describe(`TypeScript, Lua and the oracle (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);

  test(
    `TypeScript, Lua and the oracle agree on ${STEPS} random steps`,
    { timeout: 60_000 + STEPS },
    async () => {
      const counts = noCounts();
      // The server decides the first traces of a round while the last are made.
      await check(
        {
          until: () => counts.steps >= STEPS,
          atOnce: TRACES_PER_ROUND,
          before: () => twin.lua.forget(),
        },
        (random, at) => follow(twin.lua, random, at, counts),
      );
      console.log(`DRL_SEED=${seed}`, counts, `fast writes: ${twin.lua.fastWrites}`);
      expect(counts.retries).toBe(counts.refused);
      // A trace that no longer reaches one of these would prove nothing about it.
      const seen = Object.entries({ ...counts, fastWrites: twin.lua.fastWrites });
      // A step in 25 or so is a script call, and what is said of these is rarer by as much.
      const least = (name: string): number =>
        /^(lone|home)/.test(name) ? STEPS / 4_000 : STEPS / 500;
      expect(seen.filter(([name, count]) => count < least(name))).toStrictEqual([]);
    },
  );

  test('TypeScript, Lua and the oracle answer alike however calls are grouped into runs and script calls', async () => {
    const builder = new CallBuilder();
    let steps = 0;
    const run = { until: () => steps >= 4_000, before: () => twin.lua.forget() };
    await check(run, async (random, at) => {
      const trace = new Trace(random, `g${at}`, true);
      for (const _ of random.steps(4)) {
        const { now, asks } = trace.next({ stored: new Map(), refused: undefined });
        const few = asks.slice(0, 40);
        random.note('asks', { now, few });
        steps += few.length;
        const answers = await Promise.all(
          GROUPINGS.map(async (group, g) => {
            const entries = few.map(
              (ask) => builder.build({ ...ask, key: `${g}:${ask.key}` }).entry,
            );
            const groupings = group(entries, random);
            const replies = await Promise.all(
              groupings.map((grouping) => twin.lua.decide(grouping, now)),
            );
            // Without the marks that follow the integers, each by the index of its limit.
            return replies.flatMap(({ reply }, r) => reply.slice(1, endOf(groupings[r]!)));
          }),
        );
        expect(answers).toStrictEqual(answers.map(() => answers[0]));
      }
    });
    expect(steps).toBeGreaterThanOrEqual(4_000);
  });
});
