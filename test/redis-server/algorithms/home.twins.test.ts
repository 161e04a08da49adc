import { describe, expect, test } from 'vitest';
import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { block } from '../../../src/algorithms/block.ts';
import { ProviderQuota, quotaPlan } from '../../../src/algorithms/provider-quota.ts';
import { decide } from '../../../src/script/decide.ts';
import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Rule, Shape, Verb } from '../../../src/script/call-shape.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { MapTable } from '../../kit/twins/map-table.ts';
import { groupedByProduction, groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const CASES = Number(process.env['DRL_STEPS'] ?? casesOf(100_000)) / 250;
const SECOND = 1_000_000;
const START = Date.UTC(2026, 0, 31, 23, 58) * 1_000;

/** By name; the forms of one name share a state, as while new numbers are rolled out. */
const FORMS: readonly (readonly Limit[])[] = [
  [
    tokenBucket({ rate: 6, period: 60, burst: 4 }),
    tokenBucket({ rate: 7, period: 60 }),
    tokenBucket({ rate: 2, period: 60, shadow: true }),
    slidingWindow({ rate: 5, period: 60 }),
  ],
  [
    tokenBucket({ name: 't.1-a_', rate: 700_000, period: 1, burst: 3 }),
    tokenBucket({ name: 't.1-a_', rate: 9, period: 60, maxDebt: 4 }),
  ],
  [
    slidingWindow({ name: 'w', rate: 5, period: 60, maxDebt: 3 }),
    slidingWindow({ name: 'w', rate: 9, period: 7, shadow: true }),
    slidingWindow({ name: 'w', rate: 1_000_000_000, period: 60 }),
  ],
  [slidingWindow({ name: 'w2', rate: 8, period: 60 })],
  [
    fixedWindow({ name: 'f', rate: 6, period: 60 }),
    fixedWindow({ name: 'f', rate: 7, period: 'minute', timeZone: 'Europe/Berlin' }),
    fixedWindow({ name: 'f', rate: 3, period: 7, shadow: true }),
  ],
  [
    fixedWindow({ name: 'g', rate: 9, period: 60 }),
    fixedWindow({ name: 'g', rate: 20, period: 'month', anchor: '2026-01-31' }),
  ],
];

/** What a provider says is left, beside the unnamed limit and a named one. */
const QUOTAS: readonly Limit[] = FORMS.slice(0, 2).map(([limit]) => new ProviderQuota(limit!));

interface Mix {
  readonly limits: readonly Limit[];
  /** Which home of a call each limit's state is in; all zeros where identities have one. */
  readonly homes: readonly number[];
  readonly blocks: boolean;
}

/** Calls of one mix, verb and units share a shape, as in production. */
class Shapes {
  readonly #known = new Map<string, Shape>();

  of(mix: Mix, number: number, verb: Verb, units: number, now: number): Shape {
    const name = [number, verb, units, now].join();
    let shape = this.#known.get(name);
    if (shape === undefined) {
      const decides = verb === 'allow' || verb === 'peek';
      const rules: Rule[] = mix.limits.map((limit, i) => ({
        limit,
        home: mix.homes[i]!,
        plan: limit.plan(decides ? units : 1, now / 1_000),
        ...stateKeyOf(limit),
      }));
      const heeds = mix.blocks && (decides || verb === 'up_to');
      const blocks = heeds ? [...new Set(mix.homes)].map((home) => blockRule(0, home)) : [];
      shape = makeShape(verb, units, [...rules, ...blocks]);
      this.#known.set(name, shape);
    }
    return shape;
  }
}

function blockRule(durationUs: number, home = 0): Rule {
  return { limit: block, plan: block.plan(durationUs, 0), suffix: '#block', id: '-', home };
}

function observedRule(random: Random): Rule {
  const limit = random.pick(QUOTAS);
  const lasts = random.pick([1, SECOND, 60 * SECOND]);
  const window = random.pick([0, lasts, 9 * SECOND]);
  const quota = { left: random.int(0, 6), lasts, quota: window > 0 ? random.int(1, 9) : 0, window };
  return { limit, plan: quotaPlan(1, quota), ...stateKeyOf(limit) };
}

function anyMix(random: Random): Mix {
  const forms = random.shuffle(FORMS).slice(0, random.int(1, 4));
  const isParted = random.chance(40);
  const quotas = random.chance(25) ? QUOTAS.slice(0, random.int(1, 2)) : [];
  return {
    limits: [...forms.map((form) => random.pick(form)), ...quotas],
    homes: [...forms, ...quotas].map(() => (isParted ? random.int(0, 2) : 0)),
    blocks: random.chance(30),
  };
}

/** The value as another version, a fault or a person may have left it. */
function damaged(random: Random, value: string): string {
  const parts = value.split(/(?=;)/);
  const at = random.int(0, parts.length - 1);
  const part = parts[at]!;
  const digits = /\d{3,}/g;
  const spoil = random.pick<() => string>([
    () => part.replace(/(?<=[=a-z])\d+/, String(START + random.int(-99, 99) * SECOND)),
    () => `${part}:`,
    () => `${part},${part.replace(/^.*=./, '')}`,
    () => `${part}${part}`,
    () => `${part};`,
    () => '',
    () => part.replace(/=[a-z]/, random.pick(['=t', '=s', '=f', '=q', '=', '=T'])),
    () => part.replace(/^;[^=]*/, random.pick([';', ';w', ';other', '; ', ';a=b'])),
    () => part.replace(digits, (number) => `0${number}`),
    () => part.replace(digits, (number) => (random.chance(50) ? '9007199254740992' : number)),
    () => part.replace(digits, (number) => String(Number(number) + random.int(-2, 2))),
    () => part.replace(/:\d+$/, ''),
    () => part.replace(/\d+$/, (number) => String(Number(number) + random.int(1, 9) * 1_000)),
    () => `x${part}`,
    () => `${part.startsWith(';') ? part : `;=t${part}`};other=q${START + 90 * SECOND}:x`,
    () => `${part.startsWith(';') ? part : `;=t${part}`};other=q${START + 90 * SECOND}:x`,
  ]);
  return parts.with(at, spoil()).join('');
}

describe('the states of an identity under several sets of limits', () => {
  const twin = withLuaTwin(LuaTwin);

  test(
    'home-path.lua, the driver in Lua and the driver in TypeScript answer and write the same',
    { timeout: 60_000 + 400 * CASES },
    async () => {
      const seen = {
        steps: 0,
        home: 0,
        again: 0,
        several: 0,
        homes: 0,
        blocks: 0,
        quotas: 0,
        times: 0,
        damaged: 0,
        failed: 0,
      };
      const wrote = { plain: 0, foreign: 0, several: 0 };
      await check({ cases: CASES, before: () => twin.lua.forget() }, async (random) => {
        const shapes = new Shapes();
        const table = new MapTable();
        const mixes = random.list(1, 4, () => anyMix(random));
        let now = START;
        for (const _ of random.steps(1, 25)) {
          now += random.pick([0, 1, SECOND, 7 * SECOND, 30 * SECOND, -SECOND, 61 * SECOND]);
          const stored = [...table.stored].filter(([key]) => !key.includes('#'));
          if (stored.length > 0 && random.chance(20)) {
            const [key, value] = random.pick(stored);
            const spoilt = damaged(random, value);
            seen.damaged += 1;
            const put = new Map([[key, spoilt]]);
            table.stored[spoilt === '' ? 'delete' : 'set'](key, spoilt);
            await twin.lua.put(
              new Map([...put, ...[...put].map(([k, v]) => [besides(k), v] as const)]),
            );
          }
          const entries = anyEntries(random, mixes, shapes, now);
          random.note('step', {
            now,
            stored: Object.fromEntries(table.stored),
            entries: entries.map(said),
          });
          for (const { keys, args, entries: taken } of groupedByProduction(entries)) {
            const reply = decide(taken, now, table);
            const writes = table.takeWrites();
            const theirs = await twin.lua.decide({ keys, args, entries: taken }, now);
            expect({ ...theirs, writes: lastOfEachKey(theirs.writes) }).toEqual({ reply, writes });
            const aside = taken.map((entry) => ({
              ...entry,
              key: besides(entry.key),
              homes: entry.homes?.map(besides),
            }));
            const driver = await twin.lua.decide(groupedOneByOne(aside), now);
            const named = driver.writes.map((write) => write.replace('aside:', '')).sort();
            expect({ reply: driver.reply, writes: named }).toEqual({ reply, writes });

            seen.steps += taken.length;
            if (args[0]!.startsWith('home')) {
              seen.again += args[0] === 'homes' ? 1 : 0;
              seen.home += 1;
              seen.several += args[6] === '1' ? 0 : 1;
              seen.blocks += args[5] === '1' ? 0 : 1;
              seen.times += args[1] === '1' ? 0 : 1;
            }
            seen.homes += taken.filter(({ shape }) =>
              shape.keys.some((each) => each.home > 0),
            ).length;
            seen.quotas += reply.filter((_one, i) => refusedByQuota(taken, reply, i)).length;
            seen.failed += reply.filter((answer) => typeof answer === 'string').length;
            wrote.plain += writes.filter((write) => /^\S+ \d+(:\S+)? for/.test(write)).length;
            wrote.foreign += writes.filter((write) => write.includes('=q')).length;
            wrote.several += writes.filter((write) => write.split(';').length > 4).length;
          }
        }
      });
      console.log(seen, wrote);
      for (const count of [...Object.values(seen), ...Object.values(wrote)]) {
        expect(count).toBeGreaterThan(CASES / 20);
      }
    },
  );
});

/** Whether this integer of a reply is the refusal of a provider's quota. */
function refusedByQuota(
  entries: readonly Entry[],
  reply: readonly unknown[],
  index: number,
): boolean {
  let at = 1;
  for (const { shape } of entries) {
    let limitAt = at + shape.head;
    for (const { limit, plan } of shape.verb === 'reset' ? [] : shape.rules) {
      if (limitAt === index && limit instanceof ProviderQuota) {
        return Number(reply[index]) < 0;
      }
      limitAt += plan.width;
    }
    at += shape.width;
  }
  return false;
}

function anyEntries(
  random: Random,
  mixes: readonly Mix[],
  shapes: Shapes,
  now: number,
): readonly Entry[] {
  const number = random.int(0, mixes.length - 1);
  const units = random.pick([1, 1, 2, 3]);
  if (random.chance(60)) {
    // A batch that home-path.lua takes.
    const shape = shapes.of(mixes[number]!, number, 'allow', units, now);
    const times = random.pick([1, 1, 2, 5]);
    const keys = random.list(1, times === 1 ? 4 : 1, () => random.pick(['a', '{t}:b', 'c']));
    return keys.flatMap((key) => {
      const homes = homesFrom(key);
      return Array.from({ length: times }, () => ({ key, homes, shape }));
    });
  }
  return random.list(1, 6, () => {
    const key = random.pick(['a', '{t}:b', 'c']);
    if (random.chance(5)) {
      const lasting = random.pick([SECOND, 60 * SECOND]);
      return { key, shape: makeShape('penalize', 1, [blockRule(lasting)]) };
    }
    if (random.chance(10)) {
      return { key, shape: makeShape('penalize', 1, [observedRule(random)]) };
    }
    const which = random.int(0, mixes.length - 1);
    const verb = random.pick<Verb>([
      'allow',
      'allow',
      'allow',
      'peek',
      'up_to',
      'penalize',
      'credit',
      'reset',
    ]);
    return { key, homes: homesFrom(key), shape: shapes.of(mixes[which]!, which, verb, units, now) };
  });
}

/**
 * home-path.lua may leave an entry to the driver after it has written one of its homes: here, not in production, a key is
 * the first home of one entry and the second of another.
 */
function lastOfEachKey(writes: readonly string[]): string[] {
  return [...new Map(writes.map((write) => [write.split(' ')[0], write])).values()].sort();
}

/** The key of a copy, whose hash tag stays one. */
function besides(home: string): string {
  return home.startsWith('{') ? `{aside:${home.slice(1)}` : `aside:${home}`;
}

/** Homes that calls share in any order, one of them with a hash tag. */
function homesFrom(key: string): readonly string[] {
  return [key, ...['a', '{t}:b', 'c'].filter((home) => home !== key)];
}

function said({ key, shape: { verb, units, rules } }: Entry): string {
  const limits = rules.map(
    ({ limit, id, home }) => `${id} ${limit.algorithm} ${limit.capacity} in ${home}`,
  );
  return `${verb} ${units} of ${key} under ${limits.join(', ')}`;
}
