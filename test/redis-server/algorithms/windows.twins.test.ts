import { describe, expect, test } from 'vitest';
import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { readMarks, readVerdicts } from '../../../src/script/read-answer.ts';
import { decide } from '../../../src/script/decide.ts';
import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Shape, Verb } from '../../../src/script/call-shape.ts';
import type { Plan } from '../../../src/algorithms/limit.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { agree, LateAnswers } from '../../kit/fakes/agreement.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { MapTable } from '../../kit/twins/map-table.ts';
import { groupedByProduction } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

/** For the long form set `DRL_STEPS`. */
const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(100_000));
const TURNS_PER_TRACE = 120;
const SECOND = 1_000_000;
const HOUR_MS = 3_600_000;
/** Two hours before the clocks of Berlin go forward. */
const START = Date.UTC(2026, 2, 28, 23) * 1_000;

/** Limits by key; those of one key are forms of one limit, as while a new one is rolled out. */
const FORMS: readonly (readonly Limit[])[] = [
  [1, 7, 60, 90, 600, 3_600].map((period, i) =>
    slidingWindow({ rate: [1, 5, 8, 1_000_000_000, 40, 30][i]!, period, maxDebt: i % 2 ? 6 : 0 }),
  ),
  [
    slidingWindow({ name: 'w', rate: 9, period: 60, maxDebt: 3 }),
    slidingWindow({ name: 'w', rate: 7, period: 61 }),
  ],
  [slidingWindow({ name: 's', rate: 5, period: 30, shadow: true })],
  [
    fixedWindow({ name: 'f', rate: 6, period: 10 }),
    fixedWindow({ name: 'f', rate: 12, period: 60, maxDebt: 9 }),
    fixedWindow({ name: 'f', rate: 30, period: 'hour', timeZone: 'Europe/Berlin' }),
    fixedWindow({ name: 'f', rate: 20, period: 'minute' }),
    fixedWindow({ name: 'f', rate: 50, period: 'day', timeZone: 'Europe/Berlin', maxDebt: 5 }),
    fixedWindow({ name: 'f', rate: 60, period: 'month', anchor: '2026-01-31' }),
  ],
  [
    fixedWindow({ name: 'g', rate: 11, period: 60 }),
    fixedWindow({ name: 'g', rate: 11, period: 7 }),
  ],
  [fixedWindow({ name: 'h', rate: 4, period: 60, shadow: true })],
  [
    tokenBucket({ name: 't', rate: 6, period: 60, maxDebt: 4 }),
    tokenBucket({ name: 't', rate: 7, period: 90, burst: 20 }),
  ],
  [tokenBucket({ name: 'u', rate: 9, period: 60, shadow: true })],
];

/** What the run has seen: a test of nothing would show here. */
function noCounts() {
  return {
    steps: 0,
    passed: 0,
    refused: 0,
    peeked: 0,
    partial: 0,
    penalized: 0,
    credited: 0,
    refunded: 0,
    reset: 0,
    underSeveral: 0,
    severalKinds: 0,
    shadowRefused: 0,
    skewed: 0,
    retries: 0,
    backwards: 0,
  };
}
type Counts = ReturnType<typeof noCounts>;

interface RandomCall {
  readonly entry: Entry;
  readonly limits: readonly Limit[];
}

/** Plans of the calendar cost a search each: all of one hour, whose bounds are the same, share theirs. */
const planned = new Map<Limit, Map<number, Plan>>();
function planOf(limit: Limit, units: number, ms: number): Plan {
  const hour = Math.floor(ms / HOUR_MS);
  const byTime = planned.get(limit) ?? new Map<number, Plan>();
  planned.set(limit, byTime);
  const minutes = byTime.get(-1) ?? limit.plan(1, ms);
  byTime.set(-1, minutes);
  if (minutes.until === undefined) {
    return units === 1 ? minutes : limit.plan(units, ms);
  }
  const minutely = minutes.args[1]!.startsWith('minute');
  const slot = minutely ? Math.floor(ms / 60_000) : hour;
  let plan = byTime.get(slot);
  if (plan === undefined) {
    plan = limit.plan(1, ms);
    byTime.set(slot, plan);
  }
  if (units === 1) {
    return plan;
  }
  const args = [...plan.args];
  args[4] = String(units);
  return { ...plan, cost: units, args };
}

function shape(verb: Verb, units: number, limits: readonly Limit[], ms: number): Shape {
  const cost = verb === 'allow' || verb === 'peek' ? units : 1;
  return makeShape(
    verb,
    units,
    limits.map((limit) => ({ limit, plan: planOf(limit, cost, ms), ...stateKeyOf(limit) })),
  );
}

function nextNow(random: Random, now: number): number {
  switch (random.int(1, 14)) {
    case 1:
    case 2:
    case 3:
      return now;
    case 4:
      return now + random.int(1, 3);
    case 5: {
      // The edge of a window, and one microsecond around it.
      const period = random.pick([7, 10, 60, 60, 90, 600]) * SECOND;
      return now - (now % period) + period + random.int(-1, 1);
    }
    case 6:
      return now + random.magnitude(1, 1_800 * SECOND);
    case 7:
      return now - random.int(1, SECOND);
    case 8:
      return random.chance(50) ? now - random.pick([SECOND, SECOND + 1]) : now;
    case 9:
      return random.chance(20) ? now - random.magnitude(2 * SECOND, 3_600 * SECOND) : now;
    default:
      return now + random.magnitude(1, 20 * SECOND);
  }
}

/** The windows of the state under this id, or the bucket's text. */
function stateIn(home: string | undefined, id: string): string | undefined {
  const part = home?.split(';').find((each) => each.startsWith(id));
  return part?.slice(id.length).replace(/^\d+:/, '');
}

async function follow(lua: LuaTwin, random: Random, name: string, counts: Counts): Promise<void> {
  const table = new MapTable();
  const receipts: { key: string; shape: Shape; units: number; marks: readonly string[] }[] = [];
  const answers = new LateAnswers();
  const identities = [`${name}:a`, `${name}:b`];
  const governed = Array.from({ length: random.int(2, 5) }, () => {
    const picked = FORMS.filter(() => random.chance(40)).map((forms) => random.pick(forms));
    return picked.length > 0 ? picked : [random.pick(random.pick(FORMS))];
  });
  let now = START + random.int(0, 3 * 3_600) * SECOND;

  for (const turn of random.steps(TURNS_PER_TRACE)) {
    const before = now;
    now = nextNow(random, now);
    counts.backwards += now < before ? 1 : 0;
    // A caller's clock may be off; where by more than a whole window, the calendar is refused.
    const callerMs =
      Math.floor(now / 1_000) + random.pick([0, 0, 0, 0, 0, 20_000, -20_000, 300_000]);
    const posed: RandomCall[] = Array.from({ length: random.pick([1, 1, 2, 4, 10]) }, () => {
      const key = random.pick(identities);
      const limits = random.pick(governed);
      const verb: Verb = random.pick([
        ...Array<Verb>(9).fill('allow'),
        'peek',
        'up_to',
        'penalize',
        'credit',
        ...Array<Verb>(2).fill('refund'),
        ...(random.chance(20) ? (['reset'] as const) : []),
      ]);
      if (verb === 'refund' && receipts.length > 0) {
        const [receipt] = receipts.splice(random.int(0, receipts.length - 1), 1);
        const rules = receipt!.shape.rules;
        const refund = makeShape(
          'refund',
          receipt!.units,
          rules.map((rule) => ({ ...rule, plan: rule.limit.twin.price(rule.plan, 1) })),
        );
        const entry = { key: receipt!.key, shape: refund, details: receipt!.marks };
        return { entry, limits: rules.map(({ limit }) => limit) };
      }
      const most = Math.min(...limits.map(({ capacity }) => capacity));
      const units =
        verb === 'up_to' || verb === 'penalize' || verb === 'credit'
          ? random.pick([1, 3, 20])
          : random.pick([1, 1, 1, 2, random.int(1, Math.min(most, 10))]);
      const entry = {
        key,
        shape: shape(verb === 'refund' ? 'peek' : verb, units, limits, callerMs),
      };
      return { entry, limits };
    });

    let from = 0;
    for (const grouping of groupedByProduction(posed.map(({ entry }) => entry))) {
      const where = `${name}, turn ${turn}, at ${now - START}`;
      const answered = lua.decide(grouping, now);
      const reply = decide(grouping.entries, now, table);
      const writes = table.takeWrites();
      answers.add(answered, (theirs) => {
        agree(`${where}: reply`, theirs.reply, reply);
        agree(`${where}: writes`, [...theirs.writes].sort(), writes);
      });
      const mine = posed.slice(from, from + grouping.entries.length);
      from += grouping.entries.length;
      const ttls = new Map(
        writes.map((write) => {
          const [, key, ttl] = /^(\S+) .* for (\d+) ms$/.exec(write) ?? [];
          return [key, Number(ttl)] as const;
        }),
      );
      let place = 1;
      mine.forEach((one, i) => {
        read(one, reply, place, i === mine.length - 1);
        place += one.entry.shape.width;
      });

      function read(
        { entry, limits }: RandomCall,
        answer: typeof reply,
        at: number,
        last: boolean,
      ) {
        const { verb, units, width } = entry.shape;
        counts.steps += 1;
        counts.underSeveral += limits.length > 1 ? 1 : 0;
        if (answer.slice(at, at + width).some((value) => typeof value === 'string')) {
          counts.skewed += 1;
          return;
        }
        if (verb === 'reset') {
          counts.reset += 1;
          return;
        }
        const numbers = answer as readonly number[];
        const verdicts = readVerdicts(entry.shape, numbers, at);
        const refused = verdicts.some((verdict, l) => verdict.refused && !limits[l]!.shadow);
        const granted = verb === 'up_to' ? numbers[at]! : 0;
        const passed = granted > 0 || (verb === 'allow' && !refused);
        counts.passed += passed ? 1 : 0;
        counts.refused += verb === 'allow' && refused ? 1 : 0;
        counts.peeked += verb === 'peek' ? 1 : 0;
        counts.partial += granted > 0 && granted < units ? 1 : 0;
        counts.penalized += verb === 'penalize' ? 1 : 0;
        counts.credited += verb === 'credit' ? 1 : 0;
        counts.refunded += verb === 'refund' ? 1 : 0;
        counts.shadowRefused += !refused && verdicts.some((verdict) => verdict.refused) ? 1 : 0;
        if (passed) {
          const marks = readMarks(entry.shape, numbers, at);
          receipts.push({
            key: entry.key,
            shape: entry.shape,
            units: granted > 0 ? granted : units,
            marks,
          });
        }
        if (!last) {
          return;
        }
        const cost = verb === 'allow' || verb === 'peek' ? units : 1;
        const { key } = entry;
        limits.forEach((limit, l) => {
          const verdict = verdicts[l]!;
          const stored = stateIn(table.stored.get(key), entry.shape.rules[l]!.id);
          counts.severalKinds += stored?.includes(',') ? 1 : 0;
          const { plan } = entry.shape.rules[l]!;
          // A kind that is not kept yet takes over anew at each look, until it is charged.
          const kept =
            limit.algorithm === 'token_bucket' ||
            stored?.split(',').some((part) => part.startsWith(`${plan.args[1]}:`));
          const ttl = ttls.get(key);
          if (kept && ttl !== undefined && ttl * 1_000 < verdict.resetUs) {
            throw new Error(
              `${where}: ${key} ends after ${ttl} ms, and counts ${verdict.resetUs} µs`,
            );
          }
          if (!verdict.refused || granted > 0 || cost > limit.capacity || !kept) {
            return;
          }
          counts.retries += 1;
          // Planned anew: by then a calendar plan of now may not foresee its window any more.
          const refusedAt = (then: number): boolean => {
            const peek = shape('peek', cost, [limit], Math.floor(then / 1_000));
            const copy = new MapTable(new Map(table.stored));
            const probed = decide([{ key: entry.key, shape: peek }], then, copy);
            return readVerdicts(peek, probed as readonly number[], 1)[0]!.refused;
          };
          const { retryUs } = verdict;
          agree(
            `${where}: ${limit.algorithm} under ${stored}, retry after ${retryUs}`,
            [refusedAt(now + retryUs - 1), refusedAt(now + retryUs)],
            [true, false],
          );
        });
      }
    }
  }
  const keys = [...table.stored.keys()];
  answers.add(lua.read(keys), (held) => {
    agree(`${name}: in the end`, held, [...table.stored.values()]);
  });
  await answers.all();
}

describe(`windows and buckets in TypeScript and Lua (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);

  test(
    `TypeScript and Lua agree on ${STEPS} random steps`,
    { timeout: 60_000 + 2 * STEPS },
    async () => {
      const counts = noCounts();
      const run = { until: () => counts.steps >= STEPS, before: () => twin.lua.forget() };
      await check(run, (random, at) => follow(twin.lua, random, `seed${at}`, counts));
      console.log(`DRL_SEED=${seed}`, counts);
      // A trace that no longer reaches one of these would prove nothing about it.
      expect(Object.entries(counts).filter(([, seen]) => seen <= STEPS / 1_000)).toStrictEqual([]);
    },
  );
});
