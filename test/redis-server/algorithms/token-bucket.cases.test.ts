import { describe, expect, test } from 'vitest';
import { readVerdicts } from '../../../src/script/read-answer.ts';
import { decide } from '../../../src/script/decide.ts';
import { CallBuilder } from '../../kit/twins/asks.ts';
import type { Spec } from '../../kit/twins/asks.ts';
import { MapTable, writeOf } from '../../kit/twins/map-table.ts';
import { groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { UNNAMED_BUCKET } from '../../../src/script/call-shape.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

/** All times are whole microseconds after this instant; those of the states as well. */
const START = 1_767_225_600_000_000;
const MS = 1_000;
const SECOND = 1_000_000;
const DAY = 86_400 * SECOND;

interface Row {
  readonly says: string;
  readonly verb: 'allow' | 'peek';
  readonly at: number;
  readonly cost: number;
  readonly allowed: boolean;
  readonly remaining: number;
  readonly retryUs: number;
  readonly resetUs: number;
  readonly more: More;
}

interface More {
  /** The state that the decision leaves, and its TTL in milliseconds; nothing is written where this is absent. */
  readonly writes?: readonly [state: string, ttlMs: number];
  /** A state put under the key before. */
  readonly put?: string;
  /** The limit from here on. */
  readonly limit?: Spec;
}

interface Scene {
  readonly title: string;
  readonly limit: Spec;
  readonly rows: readonly Row[];
}

function row(verb: Row['verb']) {
  return (
    says: string,
    [at, cost]: readonly [at: number, cost: number],
    allowed: boolean,
    [remaining, retryUs, resetUs]: readonly [remaining: number, retryUs: number, resetUs: number],
    more: More = {},
  ): Row => ({ says, verb, at, cost, allowed, remaining, retryUs, resetUs, more });
}

const allow = row('allow');
const peek = row('peek');

function per(rate: number, periodMs: number, burst: number, maxDebt = 0): Spec {
  return { rate, periodMs, burst, maxDebt };
}

/** `tat` in microseconds after the start, its rest in n-ths of one. */
function state(tat: number, rem?: number, n?: number): string {
  return `${START + tat}${rem === undefined ? '' : `:${rem}:${n}`}`;
}

/** A state of several lines. Instants are microseconds after the start, but in `head` and in lines after `at`. */
interface Lines {
  readonly at: number;
  /** When all lines rest, and the unlabelled line: its arrival time, rest, n and top. */
  readonly head: readonly [rests: number, tat: number, rem: number, n: number, top: number];
  readonly given?: readonly [since: number, us: number, rem: number, until: number];
  readonly line?: readonly [id: number, label: string, tat: number, given: number];
}

function lines({ at, head, given, line }: Lines): string {
  const [since, us, rem, until] = given ?? [-START, 0, 0, 0];
  const [id, label, tat, its] = line ?? [];
  const labelled = line === undefined ? '' : `,${START + id!}:${label}:${tat}:0:${its}:0`;
  const [rests, ...numbers] = head;
  return `${START + at + rests}:v1:${START + at}:${numbers.join(':')}:${START + since}:${us}:${rem}:${until}${labelled}`;
}

/** One unit each 2 s, five at once. */
const FIVE = per(5, 10_000, 5);
/** How its line is labelled. */
const OF_FIVE = '2000000:1:5:0';
/** One unit each 8,571,428 4/7 µs. */
const SEVEN = per(7, 60_000, 7);

const SCENES: readonly Scene[] = [
  {
    title: '5 per 10 s',
    limit: FIVE,
    // Each row: what it shows; [at, cost]; whether it passes; [remaining, retryAfter, reset]; what is written.
    rows: [
      // A look at a bucket that was never used shows it full, and leaves no trace.
      peek('fresh, looked at', [0, 1], true, [5, 0, 0]),
      // The first unit is recovered after a fifth of the period.
      allow('fresh', [0, 1], true, [4, 0, 2 * SECOND], { writes: [state(2 * SECOND), 2_001] }),
      // What is left of the burst passes at once.
      allow('the rest of the burst', [0, 4], true, [0, 0, 10 * SECOND], {
        writes: [state(10 * SECOND), 10_001],
      }),
      // Then nothing does, until one unit has been recovered. A refusal writes nothing.
      allow('empty', [0, 1], false, [0, 2 * SECOND, 10 * SECOND]),
      // More units take longer.
      allow('empty, three asked', [0, 3], false, [0, 6 * SECOND, 10 * SECOND]),
      // One microsecond before its time the call is refused again.
      allow('1 µs early', [2 * SECOND - 1, 1], false, [0, 1, 8 * SECOND + 1]),
      // At its time it passes.
      allow('at its time', [2 * SECOND, 1], true, [0, 0, 10 * SECOND], {
        writes: [state(12 * SECOND), 10_001],
      }),
      // Two units are there, the third lacks a microsecond: three do not pass, and take nothing.
      allow('three, 1 µs early', [8 * SECOND - 1, 3], false, [2, 1, 4 * SECOND + 1]),
      // They pass a microsecond later.
      allow('three, at their time', [8 * SECOND, 3], true, [0, 0, 10 * SECOND], {
        writes: [state(18 * SECOND), 10_001],
      }),
      // However long nobody calls, the bucket holds its burst and no more.
      peek('idle', [90 * DAY, 1], true, [5, 0, 0]),
      // A cost of the whole burst passes from a full bucket.
      allow('cost of the burst', [90 * DAY, 5], true, [0, 0, 10 * SECOND], {
        writes: [state(90 * DAY + 10 * SECOND), 10_001],
      }),
      // A look says what a call would be told.
      peek('empty, looked at', [90 * DAY, 1], false, [0, 2 * SECOND, 10 * SECOND]),
    ],
  },
  {
    title: '7 per 60 s: a unit takes 8,571,428 4/7 µs',
    limit: SEVEN,
    rows: [
      // Fractions are kept, in sevenths; what is told is rounded against the caller.
      allow('fresh', [0, 5], true, [2, 0, 42_857_143], {
        writes: [state(42_857_142, 6, 7), 42_859],
      }),
      // The third unit is there after 8,571,428 4/7 µs: not yet.
      peek('4/7 µs early', [8_571_428, 3], false, [2, 1, 34_285_715]),
      // Now it is.
      peek('3/7 µs late', [8_571_429, 3], true, [3, 0, 34_285_714]),
      // Two units more than that: seven units take 60 s to the microsecond, and a whole number is stored plain.
      allow('the other two', [0, 2], true, [0, 0, 60 * SECOND], {
        writes: [state(60 * SECOND), 60_001],
      }),
      // A wait is rounded up, so that it is enough.
      allow('empty', [0, 1], false, [0, 8_571_429, 60 * SECOND]),
      // A microsecond less is not.
      allow('1 µs early', [8_571_428, 1], false, [0, 1, 51_428_572]),
      // It passes, and the 3/7 µs that it came late are not lost.
      allow('at its time', [8_571_429, 1], true, [0, 0, 60 * SECOND], {
        writes: [state(68_571_428, 4, 7), 60_001],
      }),
    ],
  },
  {
    title: '700,000 per second: a unit takes 1 3/7 µs',
    limit: per(700_000, 1_000, 7),
    rows: [
      // Seven units take ten microseconds, not seven.
      allow('the whole burst', [0, 7], true, [0, 0, 10], { writes: [state(10), 2] }),
      // After one microsecond no unit is there.
      allow('too early', [1, 1], false, [0, 1, 9]),
      // After two there is one, and 4/7 µs of the next.
      allow('in time', [2, 1], true, [0, 0, 10], { writes: [state(11, 3, 7), 2] }),
      // Which takes another 6/7 µs.
      allow('the next', [3, 1], true, [0, 0, 10], { writes: [state(12, 6, 7), 2] }),
    ],
  },
  {
    title: '3,000,000 per second: three units in each microsecond',
    limit: per(3_000_000, 1_000, 4),
    rows: [
      // A burst that is recovered within the second microsecond.
      allow('the whole burst', [0, 4], true, [0, 0, 2], { writes: [state(1, 1, 3), 2] }),
      // Nothing is recovered in no time, and no wait is shorter than the clock can tell.
      allow('empty', [0, 1], false, [0, 1, 2]),
      // A microsecond brings three units.
      allow('three', [1, 3], true, [0, 0, 2], { writes: [state(2, 1, 3), 2] }),
      // And not a fourth.
      allow('a fourth', [1, 1], false, [0, 1, 2]),
    ],
  },
  {
    title: '1 per 30 days',
    limit: per(1, 30 * 86_400_000, 1),
    rows: [
      // The longest of waits are told to the microsecond.
      allow('the only one', [0, 1], true, [0, 0, 30 * DAY], {
        writes: [state(30 * DAY), 2_592_000_001],
      }),
      // It is not shortened.
      allow('1 µs early', [30 * DAY - 1, 1], false, [0, 1, 1]),
      // Nor prolonged by the call that came too early.
      allow('at its time', [30 * DAY, 1], true, [0, 0, 30 * DAY], {
        writes: [state(60 * DAY), 2_592_000_001],
      }),
    ],
  },
  {
    title: '999,983 per second, a prime: a unit takes 1 17/999,983 µs',
    limit: per(999_983, 1_000, 2),
    rows: [
      // The smallest fraction of a microsecond counts.
      allow('both', [0, 2], true, [0, 0, 3], { writes: [state(2, 34, 999_983), 2] }),
      // One microsecond is 17/999,983 µs too early.
      allow('too early', [1, 1], false, [0, 1, 2]),
      // Two are enough for one unit and nearly for two.
      allow('in time', [2, 1], true, [0, 0, 2], { writes: [state(3, 51, 999_983), 2] }),
    ],
  },
  {
    title: 'stored states in every form',
    limit: SEVEN,
    rows: [
      // A whole number of microseconds.
      peek('tat', [0, 1], true, [5, 0, 17 * SECOND], { put: state(17 * SECOND) }),
      // One that has passed means a full bucket.
      peek('tat, long ago', [0, 1], true, [7, 0, 0], { put: '0' }),
      // A fraction of this limit's own size.
      peek('tat:rem:n', [0, 1], true, [4, 0, 17_142_858], { put: state(17_142_857, 2, 7) }),
      // The same without the last seventh is exactly two units: five are left.
      peek('tat:rem:n, 1/7 µs less', [0, 1], true, [5, 0, 17_142_858], {
        put: state(17_142_857, 1, 7),
      }),
      // A fraction of another size is rounded up to the next microsecond.
      peek('tat:rem:n of another limit', [0, 1], true, [4, 0, 17_142_858], {
        put: state(17_142_857, 1, 11),
      }),
      // What was given back on charges that may still be refunded is no part of an answer.
      peek('the long form', [0, 1], true, [5, 0, 17_142_858], {
        put: lines({
          at: 0,
          head: [60 * SECOND, 17_142_857, 1, 7, 61 * SECOND],
          given: [0, 5 * SECOND, 0, 20 * SECOND],
        }),
      }),
      // A charge keeps it, for as long as it counts, which may be longer than the bucket takes to recover.
      allow('a charge of the long form', [0, 1], true, [4, 0, 25_714_286], {
        writes: [
          lines({
            at: 0,
            head: [60 * SECOND, 25_714_285, 5, 7, 61 * SECOND],
            given: [0, 5 * SECOND, 0, 20 * SECOND],
          }),
          60_001,
        ],
      }),
      // Once all those charges have recovered the state is plain again.
      allow('a charge drops it', [20 * SECOND, 1], true, [5, 0, 14_285_715], {
        writes: [state(34_285_714, 2, 7), 14_287],
      }),
    ],
  },
  {
    title: 'a limit whose numbers change',
    limit: SEVEN,
    rows: [
      // The bucket as its old limit leaves it.
      allow('under the old limit', [0, 2], true, [5, 0, 17_142_858], {
        writes: [state(17_142_857, 1, 7), 17_144],
      }),
      // The new one reads the same time, rounded up: 17,142,858 µs of its own 50 s.
      peek('looked at by the new one', [0, 1], true, [6, 0, 17_142_858], {
        limit: per(10, 50_000, 10),
      }),
      // And goes on from there in whole microseconds.
      allow('charged by the new one', [0, 1], true, [5, 0, 22_142_858], {
        writes: [state(22_142_858), 22_144],
      }),
      // A limit that is recovered sooner than the state: the excess of up to 1 s is waited out …
      allow('a smaller limit, within 1 s', [12_142_858, 1], false, [0, 2 * SECOND, 10 * SECOND], {
        limit: FIVE,
      }),
      // … to the last microsecond of it …
      allow('1 s beyond', [11_142_858, 1], false, [0, 3 * SECOND, 11 * SECOND]),
      // … and so is more, which stays for others: its own recovery and 1 s count from here on.
      allow('more than 1 s beyond', [11_142_857, 1], false, [0, 3 * SECOND, 11 * SECOND], {
        writes: [
          lines({ at: 11_142_857, head: [11_000_001, 11_000_001, 0, 1, 11_000_001] }),
          11_002,
        ],
      }),
      // The old limit finds the whole debt.
      allow('the old limit again', [11_142_857, 6], false, [5, 2_428_573, 11_000_001], {
        limit: SEVEN,
      }),
      // Its charge makes the line its own again. What the smaller top cut off counts as given back.
      allow('charged by the old limit', [11_142_857, 1], true, [4, 0, 19_571_430], {
        writes: [
          lines({
            at: 11_142_857,
            head: [19_571_430, 19_571_429, 4, 7, 61 * SECOND],
            given: [11_142_857, 8_571_428, 4, 19_571_430],
          }),
          19_573,
        ],
      }),
    ],
  },
  {
    title: 'a clock that steps back',
    limit: FIVE,
    rows: [
      // The bucket is empty.
      allow('before', [0, 5], true, [0, 0, 10 * SECOND], { writes: [state(10 * SECOND), 10_001] }),
      // A step of up to 1 s is jitter: no unit is granted again, and the wait includes it.
      allow('back by 1 s', [-SECOND, 1], false, [0, 3 * SECOND, 11 * SECOND]),
      // Nor is it after a longer one, which costs 1 s at most. From when on time counts is stored, even by a refusal.
      allow('back by more', [-SECOND - 1, 1], false, [0, 3 * SECOND, 11 * SECOND], {
        writes: [
          lines({ at: -SECOND - 1, head: [11_000_001, 11_000_001, 0, 1, 11_000_001] }),
          11_002,
        ],
      }),
      // The wait that the refusal told is kept, to the microsecond.
      allow('1 µs early', [2 * SECOND - 2, 1], false, [0, 1, 8 * SECOND + 1]),
      // At its time the call passes, on a line of its own.
      allow('at its time', [2 * SECOND - 1, 1], true, [0, 0, 10 * SECOND], {
        writes: [
          lines({
            at: 2 * SECOND - 1,
            head: [10_000_001, 10_000_001, 0, 1, 11_000_001],
            line: [2 * SECOND - 1, OF_FIVE, 10 * SECOND, 0],
          }),
          10_002,
        ],
      }),
      // A second step moves all lines back.
      allow('back again', [-5 * SECOND, 1], false, [0, 2 * SECOND, 10 * SECOND], {
        writes: [
          lines({
            at: -5 * SECOND,
            head: [10_000_001, 10_000_001, 0, 1, 11_000_001],
            given: [-5 * SECOND, 7 * SECOND - 1, 0, 10_000_001],
            line: [2 * SECOND - 1, OF_FIVE, 10 * SECOND, 7 * SECOND - 1],
          }),
          10_002,
        ],
      }),
      // Waiting is honest here too.
      allow('waited out', [-3 * SECOND, 1], true, [0, 0, 10 * SECOND], {
        writes: [
          lines({
            at: -3 * SECOND,
            head: [10_000_001, 10_000_001, 0, 1, 11_000_001],
            given: [-5 * SECOND, 7 * SECOND - 1, 0, 8_000_001],
            line: [2 * SECOND - 1, OF_FIVE, 10 * SECOND, 7 * SECOND - 1],
          }),
          10_002,
        ],
      }),
      // When all lines rest, the state is an ordinary one.
      allow('at rest', [8 * SECOND, 1], true, [4, 0, 2 * SECOND], {
        writes: [state(10 * SECOND), 2_001],
      }),
      // A look stores from when on time counts as well: else the next look would say a later time.
      peek(
        'back by an hour, looked at',
        [-3_600 * SECOND, 1],
        false,
        [0, 3 * SECOND, 11 * SECOND],
        {
          writes: [
            lines({
              at: -3_600 * SECOND,
              head: [3_610 * SECOND, 3_610 * SECOND, 0, 1, 3_610 * SECOND],
            }),
            3_610_001,
          ],
        },
      ),
    ],
  },
  {
    title: 'a state far ahead of its time',
    limit: FIVE,
    rows: [
      // It stays as it is, and the limit recovers beside it.
      allow('found', [0, 1], false, [0, 3 * SECOND, 11 * SECOND], {
        put: state(100 * SECOND),
        writes: [lines({ at: 0, head: [100 * SECOND, 100 * SECOND, 0, 1, 100 * SECOND] }), 100_001],
      }),
      // Both lines are charged.
      allow('in time', [3 * SECOND, 1], true, [0, 0, 10 * SECOND], {
        writes: [
          lines({
            at: 3 * SECOND,
            head: [99 * SECOND, 99 * SECOND, 0, 1, 100 * SECOND],
            line: [3 * SECOND, OF_FIVE, 10 * SECOND, 0],
          }),
          99_001,
        ],
      }),
    ],
  },
  {
    title: 'a clock that steps forward',
    limit: FIVE,
    rows: [
      // The bucket is empty.
      allow('before', [0, 5], true, [0, 0, 10 * SECOND], { writes: [state(10 * SECOND), 10_001] }),
      // An hour ahead it is full: as if the hour had passed.
      allow('an hour ahead', [3_600 * SECOND, 5], true, [0, 0, 10 * SECOND], {
        writes: [state(3_610 * SECOND), 10_001],
      }),
      // And back: one burst was passed too many, and no second one is.
      allow('and back', [SECOND, 1], false, [0, 3 * SECOND, 11 * SECOND], {
        writes: [
          lines({ at: SECOND, head: [3_609 * SECOND, 3_609 * SECOND, 0, 1, 3_609 * SECOND] }),
          3_609_001,
        ],
      }),
      // Another hour ahead: as if that had passed as well.
      allow('ahead again', [3_599 * SECOND, 5], true, [0, 0, 10 * SECOND], {
        writes: [
          lines({
            at: 3_599 * SECOND,
            head: [21 * SECOND, 21 * SECOND, 0, 1, 3_609 * SECOND],
            line: [3_599 * SECOND, OF_FIVE, 10 * SECOND, 0],
          }),
          21_001,
        ],
      }),
      // Back again, the lines move with the clock.
      allow('and back again', [2 * SECOND, 1], false, [0, 2 * SECOND, 10 * SECOND], {
        writes: [
          lines({
            at: 2 * SECOND,
            head: [21 * SECOND, 21 * SECOND, 0, 1, 3_609 * SECOND],
            given: [2 * SECOND, 3_597 * SECOND, 0, 21 * SECOND],
            line: [3_599 * SECOND, OF_FIVE, 10 * SECOND, 3_597 * SECOND],
          }),
          21_001,
        ],
      }),
    ],
  },
  {
    title: 'a limit with maxDebt',
    limit: per(5, 10_000, 5, 5),
    rows: [
      // Five units owed beyond an empty bucket are no excess: they are waited out.
      allow('in debt', [0, 1], false, [0, 12 * SECOND, 20 * SECOND], { put: state(20 * SECOND) }),
      // 1 s beyond the ceiling neither.
      allow('1 s beyond it', [0, 1], false, [0, 13 * SECOND, 21 * SECOND], {
        put: state(21 * SECOND),
      }),
      // More stays for others; this limit waits no longer for it.
      allow('more than 1 s beyond it', [0, 1], false, [0, 13 * SECOND, 21 * SECOND], {
        put: state(21 * SECOND + 1),
        writes: [lines({ at: 0, head: [21_000_001, 21_000_001, 0, 1, 21_000_001] }), 21_002],
      }),
      // From a full bucket no more than the burst passes: a debt is not a greater burst.
      allow('a burst', [100 * SECOND, 5], true, [0, 0, 10 * SECOND], {
        writes: [state(110 * SECOND), 10_001],
      }),
      // As the refusal of a sixth unit shows.
      allow('a sixth', [100 * SECOND, 1], false, [0, 2 * SECOND, 10 * SECOND]),
    ],
  },
  {
    title: 'an excess in fractions of a microsecond',
    limit: per(7, 60_000, 1),
    rows: [
      // The ceiling is 8,571,428 4/7 µs: 1 s beyond it is waited out, up to the next whole microsecond.
      peek('1 s', [0, 1], false, [0, 9_571_429, 9_571_429], { put: state(9_571_428, 4, 7) }),
      peek('1 s and 1/7 µs', [0, 1], false, [0, 9_571_429, 9_571_429], {
        put: state(9_571_428, 5, 7),
      }),
      // What is beyond that is not.
      peek('1 s and 4/7 µs', [0, 1], false, [0, 9_571_429, 9_571_429], {
        put: state(9_571_429, 1, 7),
        writes: [lines({ at: 0, head: [9_571_430, 9_571_429, 1, 7, 9_571_430] }), 9_573],
      }),
    ],
  },
  {
    title: 'the TTL of a state',
    limit: per(1_000, 1_000, 5_000),
    rows: [
      // A millisecond to recover: and one more, since a server may expire a key at its very instant.
      allow('1 ms', [0, 1], true, [4_999, 0, MS], { writes: [state(MS), 2] }),
      // A microsecond less than 2 ms is rounded up.
      allow('just under 2 ms', [1, 1], true, [4_998, 0, 2 * MS - 1], {
        writes: [state(2 * MS), 3],
      }),
      // Of several lines the longest counts.
      peek('whole milliseconds of the longest', [0, 1], false, [0, 1_001 * MS, 6_000 * MS], {
        put: state(6_000 * MS + 1),
        writes: [lines({ at: 0, head: [6_000_001, 6_000_001, 0, 1, 6_000_001] }), 6_002],
      }),
    ],
  },
];

/** One of the twins, on one key. */
interface Twin {
  put(value: string): Promise<void>;
  decide(row: Row, limit: Spec): Promise<{ verdict: object; writes: readonly string[] }>;
}

const builder = new CallBuilder();

function entryFor(key: string, { verb, cost }: Row, spec: Spec) {
  return builder.build({ verb, key, cost, by: [{ id: UNNAMED_BUCKET, spec }] }).entry;
}

/** A verdict in the form of the rows, which leave out how much is owed. */
function inRow({ shape }: ReturnType<typeof entryFor>, reply: readonly number[]): object {
  const { over: _, ...verdict } = readVerdicts(shape, reply, 1)[0]!;
  return verdict;
}

function inTypeScript(key: string): Twin {
  const table = new MapTable();
  return {
    put: (value) => Promise.resolve(void table.stored.set(key, value)),
    decide: (each, limit) => {
      const entry = entryFor(key, each, limit);
      const reply = decide([entry], START + each.at, table) as number[];
      return Promise.resolve({ verdict: inRow(entry, reply), writes: table.takeWrites() });
    },
  };
}

function inLua(key: string, lua: LuaTwin): Twin {
  return {
    put: (value) => lua.put(new Map([[key, value]])),
    decide: async (each, limit) => {
      const entry = entryFor(key, each, limit);
      const { reply, writes } = await lua.decide(groupedOneByOne([entry]), START + each.at);
      return { verdict: inRow(entry, reply as number[]), writes };
    },
  };
}

describe('token bucket, case by case', () => {
  const kit = withLuaTwin(LuaTwin);

  describe.each(['TypeScript', 'Lua'])('in %s', (language) => {
    test.each(SCENES.map((scene, i) => [scene.title, scene, `scene:${i}`] as const))(
      'decides the case: %s',
      async (_, scene, key) => {
        const twin = language === 'Lua' ? inLua(key, kit.lua) : inTypeScript(key);
        let { limit } = scene;
        for (const each of scene.rows) {
          const { put, writes } = each.more;
          limit = each.more.limit ?? limit;
          if (put !== undefined) {
            await twin.put(put);
          }
          const { allowed, remaining, retryUs, resetUs } = each;
          expect({ says: each.says, ...(await twin.decide(each, limit)) }).toStrictEqual({
            says: each.says,
            verdict: { refused: !allowed, remaining, retryUs, resetUs },
            writes:
              writes === undefined ? [] : [writeOf(key, { value: writes[0], ttlMs: writes[1] })],
          });
        }
      },
    );
  });
});
