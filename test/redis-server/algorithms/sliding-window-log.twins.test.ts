import { describe, expect, test } from 'vitest';
import { slidingWindow, slidingWindowLog, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { readMarks, readVerdicts } from '../../../src/script/read-answer.ts';
import { keysOf } from '../../../src/script/call-shape.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import type { Verdict } from '../../../src/algorithms/limit.ts';
import { Log } from '../../../src/algorithms/sliding-window-log.ts';
import type { SlidingWindowLogPlan } from '../../../src/algorithms/sliding-window-log.ts';
import { agree, LateAnswers } from '../../kit/fakes/agreement.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { LogOracle } from '../../kit/twins/sliding-window-log.oracle.ts';
import type { OracleCall } from '../../kit/twins/sliding-window-log.oracle.ts';
import {
  entryOf,
  ENDS_AFTER_MS,
  LuaTwin,
  MapTable,
  membersOf,
} from '../../kit/twins/sliding-window-log.twins.ts';
import type { Reply } from '../../kit/twins/sliding-window-log.twins.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

/** For the long form set `DRL_STEPS`. */
const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(100_000));
const TURNS_PER_TRACE = 120;
const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;
const START = 1_767_225_600_000_000;

function log(name: string | undefined, rate: number, period: number, more = {}): Limit {
  return slidingWindowLog({ ...(name === undefined ? {} : { name }), rate, period, ...more });
}

/** Limits by key; those of one key are forms of one limit, as while a new one is rolled out. */
const LOGS: readonly (readonly Limit[])[] = [
  [
    log(undefined, 1, 60),
    log(undefined, 5, 60),
    log(undefined, 8, 61, { maxDebt: 4 }),
    log(undefined, 12, 600),
    log(undefined, 40, 7_200),
  ],
  [
    log('b', 3, 60, { maxDebt: 3 }),
    log('b', 30, 90, { shadow: true }),
    log('b', 1_000_000_000, 60),
  ],
  [log('c', 4, 90, { shadow: true }), log('c', 100, 600)],
];
const OTHERS: readonly (readonly Limit[])[] = [
  [
    tokenBucket({ name: 't', rate: 6, period: 600 }),
    tokenBucket({ name: 't', rate: 7, period: 3_600, burst: 20, maxDebt: 5 }),
  ],
  [slidingWindow({ name: 'w', rate: 9, period: 120, shadow: true })],
];

interface Receipt {
  readonly key: string;
  readonly limits: readonly Limit[];
  readonly units: number;
  readonly marks: readonly string[];
}

interface RandomCall {
  readonly entry: Entry;
  readonly limits: readonly Limit[];
}

/** What the run has seen: a test of nothing would show here. */
function noCounts() {
  return {
    steps: 0,
    passed: 0,
    refused: 0,
    peeked: 0,
    partial: 0,
    penalized: 0,
    refunded: 0,
    reset: 0,
    repeated: 0,
    underSeveral: 0,
    withOthers: 0,
    retries: 0,
    backwards: 0,
    steppedBack: 0,
    longLogs: 0,
  };
}

describe(`sliding_window_log in TypeScript, Lua and the oracle (DRL_SEED=${seed} repeats this run)`, () => {
  const twin = withLuaTwin(LuaTwin);

  test(
    `TypeScript, Lua and the oracle agree on ${STEPS} random steps`,
    { timeout: 60_000 + 2 * STEPS },
    async () => {
      const counts = noCounts();
      const run = {
        until: () => counts.steps >= STEPS,
        before: () => twin.lua.command('FLUSHALL'),
      };
      await check(run, async (random, at) => {
        await follow(twin.lua, random, `seed${at}`, counts);
        expect(await twin.redis.keysWithoutTtl()).toStrictEqual([]);
      });
      console.log(`DRL_SEED=${seed}`, counts);
      expect(counts.retries).toBeGreaterThan(STEPS / 100);
      // A trace that no longer reaches one of these would prove nothing about it.
      expect(Object.entries(counts).filter(([, seen]) => seen <= STEPS / 1_000)).toStrictEqual([]);
    },
  );
});

async function follow(
  lua: LuaTwin,
  random: Random,
  name: string,
  counts: ReturnType<typeof noCounts>,
): Promise<void> {
  const table = new MapTable();
  const oracle = new LogOracle();
  const receipts: Receipt[] = [];
  const answers = new LateAnswers();
  const identities = [`${name}:a`, `${name}:b`];
  const dense = random.chance(40);
  const governed = pickGoverned(random, dense);
  let now = START;
  let opensAt: number | undefined;

  for (const turn of random.steps(TURNS_PER_TRACE)) {
    const before = now;
    now = opensAt !== undefined && random.chance(50) ? opensAt : nextNow(random, now, dense);
    opensAt = undefined;
    counts.backwards += now < before ? 1 : 0;
    const where = `${name}, turn ${turn}, at ${now - START}`;
    const posed = Array.from({ length: random.pick([1, 1, 2, 4, 12]) }, () =>
      randomEntry(random, identities, governed, receipts),
    ).flatMap((one) => Array<RandomCall>(random.pick([1, 1, 1, 1, 3])).fill(one));
    const entries = posed.map(({ entry }) => entry);

    const answered = lua.decide(entries, now);
    const reply = table.decide(entries, now);
    answers.add(answered, (theirs) => agree(`${where}: reply`, theirs, reply));

    const read = posed.map((one, i) => readAnswer(one, reply, placeOf(entries, i)));
    const expected = oracle.decide(
      read.map(({ call }) => call),
      now,
    );
    read.forEach(({ verdicts, granted }, i) => {
      const what = `${where}: answer ${i} of ${entries[i]!.shape.verb}`;
      agree(what, { granted, verdicts }, expected[i]);
    });
    count(counts, posed, read);
    posed.forEach((one, i) => keepReceipt(one, reply, placeOf(entries, i), receipts));
    opensAt = showRetry(posed.at(-1)!, read.at(-1)!, table, now, where, counts);

    const keys = [...new Set(entries.flatMap((entry) => keysOf(entry)))];
    for (const key of keys.filter(isLog)) {
      compareStored(lua, table, oracle, key, where, answers, counts);
    }
  }
  await answers.all();
  counts.steppedBack += oracle.steps;
}

function pickGoverned(random: Random, dense: boolean): readonly (readonly Limit[])[] {
  const all = random.chance(35) ? [...LOGS, ...OTHERS] : LOGS;
  const long = all.map((forms) => forms.filter(({ capacity }) => capacity >= 12));
  const groups = (dense ? long : all).filter((forms) => forms.length > 0);
  // Lists of limits that occur again and again, so that entries share shapes.
  return Array.from({ length: random.int(2, 6) }, () => {
    const picked = groups.filter(() => random.chance(45)).map((forms) => random.pick(forms));
    return picked.length > 0 ? picked : [random.pick(groups[0]!)];
  });
}

function nextNow(random: Random, now: number, dense: boolean): number {
  switch (dense && random.chance(80) ? 16 : random.int(1, 16)) {
    case 1:
    case 2:
    case 3:
      return now;
    case 4:
      return now + random.int(1, 3);
    case 5:
      return now + random.pick([60, 61, 90, 600]) * SECOND + random.int(-1, 1);
    case 6:
      return now + random.magnitude(1, 8 * 3_600 * SECOND);
    case 7:
      return now - random.int(1, SECOND);
    case 8:
      return random.chance(50) ? now - random.pick([SECOND, SECOND + 1]) : now;
    case 9:
      return random.chance(25) ? now - random.magnitude(2 * SECOND, 3_600 * SECOND) : now;
    default:
      return now + random.magnitude(1, dense ? SECOND : MINUTE);
  }
}

function randomEntry(
  random: Random,
  identities: readonly string[],
  governed: readonly (readonly Limit[])[],
  receipts: Receipt[],
): RandomCall {
  const key = random.pick(identities);
  const limits = random.pick(governed);
  const verb: Verb = random.pick([
    ...Array<Verb>(9).fill('allow'),
    'peek',
    'up_to',
    'penalize',
    ...Array<Verb>(3).fill('refund'),
    ...(random.chance(25) ? (['reset'] as const) : []),
  ]);
  if (verb === 'refund') {
    const receipt = receipts.splice(random.int(0, receipts.length), 1)[0];
    if (receipt !== undefined) {
      return {
        entry: entryOf(receipt.key, 'refund', receipt.units, receipt.limits, receipt.marks),
        limits: receipt.limits,
      };
    }
  }
  const most = Math.min(...limits.filter(({ shadow }) => !shadow).map(({ capacity }) => capacity));
  const units =
    verb === 'up_to' || verb === 'penalize'
      ? random.pick([1, 3, 20])
      : random.pick([1, 1, 1, 2, random.int(1, Math.min(most, 40))]);
  return {
    entry: entryOf(key, verb === 'refund' ? 'peek' : verb, units, limits),
    limits,
  };
}

function placeOf(entries: readonly Entry[], index: number): number {
  return entries.slice(0, index).reduce((place, { shape }) => place + shape.width, 1);
}

function isLog(key: string): boolean {
  return key.endsWith(':sliding_window_log');
}

interface ReadAnswer {
  readonly call: OracleCall;
  readonly verdicts: readonly Verdict[];
  readonly granted: number | undefined;
  readonly all: readonly Verdict[];
}

/** What the twin said of the logs, and the same call for the oracle: with what other limits said as given. */
function readAnswer({ entry, limits }: RandomCall, reply: Reply, at: number): ReadAnswer {
  const { shape } = entry;
  const { verb, units } = shape;
  const numbers = reply as readonly number[];
  const all = readVerdicts(shape, numbers, at);
  const granted = verb === 'up_to' ? numbers[at]! : undefined;
  const logs = limits.flatMap((limit, i) =>
    limit.algorithm === 'sliding_window_log' ? [{ limit, i }] : [],
  );
  const keys = keysOf(entry);
  const hasOthers = limits.some(
    ({ algorithm, shadow }) => !shadow && algorithm !== 'sliding_window_log',
  );
  const call: OracleCall = {
    verb: verb as OracleCall['verb'],
    units,
    rules: logs.map(({ limit, i }) => {
      const { rate, period } = shape.rules[i]!.plan as SlidingWindowLogPlan;
      return {
        key: keys[shape.keyAt[i]!]!,
        rate,
        periodUs: period,
        maxDebt: limit.maxDebt,
        shadow: limit.shadow,
      };
    }),
    marks: logs.map(({ i }) => {
      const mark = entry.details?.[i] ?? '-';
      return mark === '-' ? undefined : Number(mark);
    }),
    others: {
      pass: limits.every(
        ({ algorithm, shadow }, i) =>
          shadow || algorithm === 'sliding_window_log' || all[i]?.refused === false,
      ),
      fits: hasOthers ? granted! : Number.POSITIVE_INFINITY,
    },
  };
  return { call, verdicts: verb === 'reset' ? [] : logs.map(({ i }) => all[i]!), granted, all };
}

function keepReceipt(
  { entry, limits }: RandomCall,
  reply: Reply,
  at: number,
  receipts: Receipt[],
): void {
  const { shape, key } = entry;
  const numbers = reply as readonly number[];
  const granted = shape.verb === 'up_to' ? numbers[at]! : 0;
  const passed =
    granted > 0 ||
    (shape.verb === 'allow' &&
      readVerdicts(shape, numbers, at).every(({ refused }, i) => limits[i]!.shadow || !refused));
  if (passed) {
    const units = granted > 0 ? granted : shape.units;
    receipts.push({ key, limits, units, marks: readMarks(shape, numbers, at) });
  }
}

/** From the state right after a refusal: 1 µs before its time each limit refuses again, at its time it passes. */
function showRetry(
  { entry, limits }: RandomCall,
  { all, granted }: ReadAnswer,
  table: MapTable,
  now: number,
  where: string,
  counts: ReturnType<typeof noCounts>,
): number | undefined {
  const { verb, units } = entry.shape;
  const cost = verb === 'allow' || verb === 'peek' ? units : 1;
  let opensAt: number | undefined;
  all.forEach(({ refused, retryUs }, i) => {
    const limit = limits[i]!;
    if (!refused || limit.algorithm !== 'sliding_window_log' || cost > limit.capacity || granted) {
      return;
    }
    counts.retries += 1;
    const peek = entryOf(entry.key, 'peek', cost, [limit]);
    const refusedAt = (at: number): boolean =>
      readVerdicts(peek.shape, table.copy().decide([peek], at) as readonly number[], 1)[0]!.refused;
    agree(
      `${where}: retry of limit ${i} after ${retryUs}`,
      [refusedAt(now + retryUs - 1), refusedAt(now + retryUs)],
      [true, false],
    );
    opensAt = now + retryUs;
  });
  return opensAt;
}

function compareStored(
  lua: LuaTwin,
  table: MapTable,
  oracle: LogOracle,
  key: string,
  where: string,
  answers: LateAnswers,
  counts: ReturnType<typeof noCounts>,
): void {
  const saved = table.stored.get(key);
  const stored = saved?.value instanceof Log ? saved.value : undefined;
  const members = stored === undefined ? [] : membersOf(stored);
  counts.longLogs += members.length > 24 ? 1 : 0;
  answers.add(lua.command('ZRANGE', key, 0, -1, 'WITHSCORES'), (theirs) =>
    agree(`${where}: ${key}`, theirs, members),
  );
  if (saved !== undefined) {
    answers.add(lua.command<number>('PEXPIRETIME', key), (ends) =>
      agree(`${where}: TTL of ${key}`, ends - ENDS_AFTER_MS, saved.ttlMs),
    );
  }
  const charged = new Map<number, number>();
  for (const { at, units } of oracle.logs.get(key)?.charges ?? []) {
    charged.set(at, (charged.get(at) ?? 0) + units);
  }
  const entries = stored?.entries.slice(stored.first) ?? [];
  agree(
    `${where}: charges under ${key}`,
    entries.map(({ at, cost }) => [at, cost]),
    [...charged],
  );
}

function count(
  counts: ReturnType<typeof noCounts>,
  posed: readonly RandomCall[],
  read: readonly ReadAnswer[],
): void {
  const seen = new Set<string>();
  posed.forEach(({ entry, limits }, i) => {
    const { verb } = entry.shape;
    const { all, granted } = read[i]!;
    const refused = all.some((verdict, l) => verdict.refused && !limits[l]!.shadow);
    const keys = keysOf(entry);
    counts.steps += 1;
    counts.passed += verb === 'allow' && !refused ? 1 : 0;
    counts.refused += verb === 'allow' && refused ? 1 : 0;
    counts.peeked += verb === 'peek' ? 1 : 0;
    counts.partial += granted !== undefined && granted > 0 && granted < entry.shape.units ? 1 : 0;
    counts.penalized += verb === 'penalize' ? 1 : 0;
    counts.refunded += verb === 'refund' ? 1 : 0;
    counts.reset += verb === 'reset' ? 1 : 0;
    counts.repeated += keys.some((key) => seen.has(key)) ? 1 : 0;
    counts.underSeveral += limits.length > 1 ? 1 : 0;
    counts.withOthers += keys.every(isLog) ? 0 : 1;
    keys.forEach((key) => seen.add(key));
  });
}
