import { describe, expect, test } from 'vitest';
import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { block } from '../../../src/algorithms/block.ts';
import { decide } from '../../../src/script/decide.ts';
import { grantDetails, makeShape, SLICES } from '../../../src/script/call-shape.ts';
import type { Entry, Rule, Verb } from '../../../src/script/call-shape.ts';
import { readMarks } from '../../../src/script/read-answer.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { MapTable } from '../../kit/twins/map-table.ts';
import { groupedByProduction, groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const CASES = Number(process.env['DRL_STEPS'] ?? casesOf(60_000)) / 200;
const SECOND = 1_000_000;
const START = Date.UTC(2026, 0, 31, 23, 58) * 1_000;

const FORMS: readonly (readonly Limit[])[] = [
  [
    tokenBucket({ rate: 100, period: 1, burst: 60 }),
    tokenBucket({ rate: 100, period: 1, burst: 30 }),
    tokenBucket({ rate: 70_000, period: 1, burst: 9_000, maxDebt: 50 }),
  ],
  [tokenBucket({ name: 'named', rate: 700, period: 1, burst: 333 })],
  [tokenBucket({ name: 'short', rate: 80, period: 1, burst: 40 })],
  [
    slidingWindow({ name: 'w', rate: 900, period: 2 }),
    slidingWindow({ name: 'w', rate: 900, period: 4 }),
  ],
  [
    fixedWindow({ name: 'f', rate: 400, period: 1 }),
    fixedWindow({ name: 'f', rate: 400, period: 3 }),
  ],
  [fixedWindow({ name: 'm', rate: 90_000, period: 'minute', timeZone: 'Europe/Berlin' })],
];

interface Mix {
  readonly limits: readonly Limit[];
  readonly blocks: boolean;
  /** Whether a call asks each limit for another number of units. */
  readonly differ: boolean;
}

function anyMix(random: Random): Mix {
  const forms = random.pick([
    [FORMS[0]!],
    [FORMS[0]!, FORMS[2]!],
    random.shuffle(FORMS).slice(0, random.int(1, 3)),
  ]);
  return {
    limits: forms.map((form) => random.pick(form)),
    blocks: random.chance(15),
    differ: forms.length > 1 && random.chance(40),
  };
}

const shapes = new Map<string, Entry['shape']>();

function shapeOf(mix: Mix, verb: Verb, units: number, now: number): Entry['shape'] {
  const { limits, blocks } = mix;
  const differ = mix.differ && verb !== 'up_to'; // which grants units of one kind
  const decides = verb === 'allow' || verb === 'peek' || verb === 'grant';
  const minute = Math.floor(now / 60 / SECOND);
  const name = [
    verb,
    units,
    blocks,
    differ,
    minute,
    ...limits.map(({ spelling }) => spelling),
  ].join();
  let shape = shapes.get(name);
  if (shape === undefined) {
    const rules: Rule[] = limits.map((limit, i) => {
      const asked = differ ? units * (2 * i + 1) : units;
      return {
        limit,
        plan: limit.plan(decides ? asked : 1, now / 1_000),
        ...stateKeyOf(limit),
        ...(differ ? { units: asked } : {}),
      };
    });
    const block0 = { limit: block, plan: block.plan(0, 0), suffix: '#block', id: '-' };
    shape = makeShape(verb, differ ? 0 : units, [...rules, ...(blocks && decides ? [block0] : [])]);
    shapes.set(name, shape);
  }
  return shape;
}

/** The key of a copy that the driver alone decides. */
function besides(key: string): string {
  return `aside:${key}`;
}

describe(`slices in TypeScript and Lua (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);

  test(
    'the fast paths, the driver in Lua and the driver in TypeScript answer and write the same',
    { timeout: 60_000 + 400 * CASES },
    async () => {
      const seen = {
        steps: 0,
        slices: 0,
        turns: 0,
        turnsOfSeveral: 0,
        none: 0,
        several: 0,
        uneven: 0,
        refunds: 0,
        sliced: 0,
        failed: 0,
      };
      await check({ cases: CASES, before: () => twin.lua.forget() }, async (random) => {
        const table = new MapTable();
        const mixes = random.list(1, 2, () => anyMix(random));
        const passed: { readonly entry: Entry; readonly marks: readonly string[] }[] = [];
        let now = START + random.int(0, SECOND);
        for (const _ of random.steps(4, 30)) {
          now += random.pick([
            0,
            1,
            900,
            7_000,
            50_000,
            300_000,
            600_000,
            2 * SECOND,
            61 * SECOND,
            -400_000,
            -4 * SECOND,
          ]);
          const entries = random.list(1, 5, () => {
            const mix = random.pick(mixes);
            const key = random.pick(['a', 'a', 'b']);
            const units = random.pick([1, 1, 2, 5, 25]);
            if (passed.length > 0 && random.chance(20)) {
              const { entry, marks } = random.pick(passed);
              seen.refunds += 1;
              const rules = entry.shape.rules
                .filter(({ limit }) => limit.algorithm !== 'block')
                .map((rule) => ({ ...rule, plan: rule.limit.twin.price(rule.plan, 1) }));
              const shape = makeShape('refund', entry.shape.units, rules);
              return { key: entry.key, shape, details: marks.slice(0, rules.length) };
            }
            if (random.chance(50)) {
              const hold = random.pick([2_000, 40_000, 100_000, 500_000]);
              const details = grantDetails(
                random.pick(['p1', 'p2', `p${random.int(1, 90)}`]),
                random.pick([units, 5, 20, 400, 5_000]),
                hold,
                random.pick([0, 0, 50_000, 300_000]),
              );
              return { key, shape: shapeOf(mix, 'grant', units, now), record: SLICES, details };
            }
            const verb = random.pick<Verb>([
              'allow',
              'allow',
              'peek',
              'up_to',
              'penalize',
              'credit',
              'reset',
            ]);
            return { key, shape: shapeOf(mix, verb, units, now) };
          });
          random.note('step', {
            now,
            stored: Object.fromEntries(table.stored),
            entries: entries.map(said),
          });
          for (const { keys, args, entries: taken } of groupedByProduction(entries)) {
            const reply = decide(taken, now, table);
            const writes = table.takeWrites();
            const theirs = await twin.lua.decide({ keys, args, entries: taken }, now);
            expect({ ...theirs, writes: theirs.writes.toSorted() }).toEqual({ reply, writes });
            const aside = taken.map((entry) => ({ ...entry, key: besides(entry.key) }));
            const driver = await twin.lua.decide(groupedOneByOne(aside), now);
            const named = driver.writes.map((write) => write.replace('aside:', '')).sort();
            expect({ reply: driver.reply, writes: named }).toEqual({ reply, writes });

            let at = 1;
            for (const entry of taken) {
              const { shape } = entry;
              if (typeof reply[at] !== 'number') {
                seen.failed += 1;
              } else if (shape.verb === 'grant') {
                const units = reply[at] as number;
                const isRefused = (reply[at + shape.head] as number) < 0;
                seen.none += units === 0 ? 1 : 0;
                seen.slices += units > 0 ? 1 : 0;
                seen.turns += units > 0 && isRefused ? 1 : 0;
                seen.turnsOfSeveral += units > 0 && isRefused && shape.rules.length > 1 ? 1 : 0;
                seen.several += units > 0 && shape.rules.length > 1 ? 1 : 0;
                seen.uneven += units > 0 && shape.units === 0 ? 1 : 0;
              }
              if (shape.verb === 'allow' && typeof reply[at] === 'number') {
                passed.push({ entry, marks: readMarks(shape, reply as number[], at) });
              }
              at += shape.width;
            }
            seen.steps += taken.length;
            seen.sliced += writes.filter((write) => /:\d{16}:\d{16}( |;)/.test(write)).length;
          }
        }
      });
      console.log(seen);
      // Refunds of a calendar window that is over.
      expect(seen.failed).toBeLessThan(seen.steps / 50);
      const { failed: _failed, ...often } = seen;
      for (const count of Object.values(often)) {
        expect(count).toBeGreaterThan(CASES / 20);
      }
    },
  );
});

function said({ key, shape: { verb, units, rules }, details }: Entry): string {
  const limits = rules.map(({ limit, id }) => `${id} ${limit.algorithm} ${limit.capacity}`);
  return `${verb} ${units} of ${key} under ${limits.join(', ')} ${details?.join() ?? ''}`;
}
