import { beforeEach, describe, expect, test } from 'vitest';
import {
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { readMarks, readVerdicts } from '../../../src/script/read-answer.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { Log } from '../../../src/algorithms/sliding-window-log.ts';
import { startSteppedRedis, steppedClockMissing } from '../../kit/servers/index.mjs';
import { check } from '../../kit/random.mjs';
import { entryOf, LuaTwin, MapTable, membersOf } from '../../kit/twins/sliding-window-log.twins.ts';
import type { Reply } from '../../kit/twins/sliding-window-log.twins.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const START = 1_767_225_600_000_000;
const MS = 1_000;
const SECOND = 1_000_000;
const HOUR = 3_600 * SECOND;

const twin = withLuaTwin(LuaTwin);
beforeEach(async () => {
  await twin.redis.command('FLUSHALL');
});

function verdictOf(entry: Entry, reply: Reply, at = 1) {
  return readVerdicts(entry.shape, reply as readonly number[], at)[0]!;
}

/** A verdict in the form of the rows. */
function answerOf(entry: Entry, reply: Reply): unknown[] {
  const { verb } = entry.shape;
  if (verb === 'reset') {
    return ['forgotten', undefined];
  }
  const { refused, remaining, retryUs, resetUs } = verdictOf(entry, reply);
  const answer = verb === 'up_to' ? reply[1] : !refused;
  return [answer, [remaining, retryUs, resetUs]];
}

/** What it shows; the call, when, and how many units; granted units or whether it passes; remaining, retry and reset. */
type Row = readonly [
  says: string,
  verb: 'allow' | 'peek' | 'up_to' | 'penalize' | 'refund' | 'reset',
  at: number,
  units: number,
  passes: boolean | number | 'forgotten',
  numbers?: readonly [remaining: number, retryUs: number, resetUs: number],
  /** Of which row, counted from 0, a refund gives back. */
  of?: number,
];

const ten = slidingWindowLog({ rate: 3, period: 10 });
const inDebt = slidingWindowLog({ rate: 3, period: 10, maxDebt: 2 });

const CASES: readonly (readonly [title: string, limit: Limit, rows: readonly Row[]])[] = [
  [
    'a limit of 3 per 10 s',
    ten,
    [
      ['nothing used, nothing to wait for', 'peek', 0, 1, true, [3, 0, 0]],
      ['the first unit is forgotten after a period', 'allow', 0, 1, true, [2, 0, 10 * SECOND]],
      ['a cost of two is one entry', 'allow', 4 * SECOND, 2, true, [0, 0, 10 * SECOND]],
      [
        'a third waits for the first to leave, not for a whole period',
        'allow',
        5 * SECOND,
        1,
        false,
        [0, 5 * SECOND, 9 * SECOND],
      ],
      [
        'a cost of two waits for both entries to leave',
        'peek',
        5 * SECOND,
        2,
        false,
        [0, 9 * SECOND, 9 * SECOND],
      ],
      ['a microsecond early is early', 'allow', 10 * SECOND - 1, 1, false, [0, 1, 4 * SECOND + 1]],
      [
        'a unit of age exactly one period counts no more',
        'allow',
        10 * SECOND,
        1,
        true,
        [0, 0, 10 * SECOND],
      ],
      ['the two of 4 s leave together', 'peek', 14 * SECOND, 2, true, [2, 0, 6 * SECOND]],
      ['at last it is as if never used', 'peek', 20 * SECOND, 3, true, [3, 0, 0]],
    ],
  ],
  [
    'a window across the boundary of two fixed windows',
    ten,
    [
      ['late in one ten seconds', 'allow', 9_999 * MS, 3, true, [0, 0, 10 * SECOND]],
      [
        'early in the next: a fixed window would pass it',
        'allow',
        10_001 * MS,
        1,
        false,
        [0, 9_998 * MS, 9_998 * MS],
      ],
    ],
  ],
  [
    'a partial grant',
    ten,
    [
      ['as many as there are', 'up_to', 0, 5, 3, [0, 0, 10 * SECOND]],
      [
        'none is a refusal, with the wait for one',
        'up_to',
        1,
        5,
        0,
        [0, 10 * SECOND - 1, 10 * SECOND - 1],
      ],
    ],
  ],
  [
    'a refund',
    ten,
    [
      ['one', 'allow', 0, 1, true, [2, 0, 10 * SECOND]],
      ['two more', 'allow', SECOND, 2, true, [0, 0, 10 * SECOND]],
      ['gives back its own entry', 'refund', 2 * SECOND, 1, true, [1, 0, 9 * SECOND], 0],
      [
        'so the others leave when they would have',
        'peek',
        2 * SECOND,
        2,
        false,
        [1, 9 * SECOND, 9 * SECOND],
      ],
      ['part of an entry leaves the rest', 'refund', 3 * SECOND, 1, true, [2, 0, 8 * SECOND], 1],
      ['never more than was taken', 'refund', 3 * SECOND, 5, true, [3, 0, 0], 1],
      ['nor twice', 'refund', 3 * SECOND, 1, true, [3, 0, 0], 1],
      ['three again', 'allow', 4 * SECOND, 3, true, [0, 0, 10 * SECOND]],
      ['nor out of another entry', 'refund', 5 * SECOND, 1, false, [0, 9 * SECOND, 9 * SECOND], 0],
      ['nor from a window that is over', 'refund', 14 * SECOND, 3, true, [3, 0, 0], 7],
    ],
  ],
  [
    'a penalty',
    inDebt,
    [
      ['one', 'allow', 0, 1, true, [2, 0, 10 * SECOND]],
      [
        'is taken beyond the limit, as far as debt goes',
        'penalize',
        SECOND,
        9,
        false,
        [0, 10 * SECOND, 10 * SECOND],
      ],
      ['and has to be made up for', 'allow', 10 * SECOND, 1, false, [0, SECOND, SECOND]],
      ['until it is forgotten', 'allow', 11 * SECOND, 3, true, [0, 0, 10 * SECOND]],
      [
        'less than what is owed changes nothing more',
        'penalize',
        11 * SECOND,
        1,
        false,
        [0, 10 * SECOND, 10 * SECOND],
      ],
    ],
  ],
  [
    'a clock that steps back',
    ten,
    [
      ['three', 'allow', HOUR, 3, true, [0, 0, 10 * SECOND]],
      [
        'by a second: the log waits for it to come back',
        'peek',
        HOUR - SECOND,
        1,
        false,
        [0, 11 * SECOND, 11 * SECOND],
      ],
      [
        'by more: time goes on from where it was, so that a period is a period',
        'peek',
        HOUR - SECOND - 1,
        1,
        false,
        [0, 10 * SECOND, 10 * SECOND],
      ],
      ['from then on', 'allow', HOUR - 1, 1, false, [0, 9 * SECOND, 9 * SECOND]],
      ['by an hour more', 'peek', 0, 1, false, [0, 10 * SECOND, 10 * SECOND]],
      ['a microsecond early', 'peek', 10 * SECOND - 1, 1, false, [0, 1, 1]],
      ['to the microsecond', 'allow', 10 * SECOND, 3, true, [0, 0, 10 * SECOND]],
      ['a refund still finds its entry', 'refund', 11 * SECOND, 1, true, [1, 0, 9 * SECOND], 6],
    ],
  ],
  [
    'a reset',
    ten,
    [
      ['three', 'allow', 0, 3, true, [0, 0, 10 * SECOND]],
      ['forgets them', 'reset', 1, 1, 'forgotten'],
      ['at once', 'allow', 1, 3, true, [0, 0, 10 * SECOND]],
    ],
  ],
];

/** The key of the unnamed log of this identity. */
function logOf(key: string): string {
  return `{${key}}/default:sliding_window_log`;
}

const LOG = logOf('k');
const FOREIGN = logOf('foreign');

describe.each(CASES)('%s', (_, limit, rows) => {
  test.each(['TypeScript', 'Lua'])('decides the case by the %s twin', async (language) => {
    const table = new MapTable();
    const marks: string[] = [];
    const told: unknown[] = [];
    for (const [says, verb, at, units, , , of] of rows) {
      const details = of === undefined ? undefined : [marks[of]!];
      const entry = entryOf('k', verb, units, [limit], details);
      const now = START + at;
      const reply =
        language === 'Lua' ? await twin.lua.decide([entry], now) : table.decide([entry], now);
      told.push([says, ...answerOf(entry, reply)]);
      marks.push(verb === 'allow' ? readMarks(entry.shape, reply as number[], 1)[0]! : '-');
    }
    expect(told).toStrictEqual(
      rows.map(([says, , , , passes, numbers]) => [says, passes, numbers]),
    );
  });
});

describe('laws of the sliding window log', () => {
  test('every window holds at most the rate, and a call is refused only when it would exceed it', async () => {
    let refusals = 0;
    await check(150, (random) => {
      const rate = random.magnitude(1, 20);
      const periodMs = random.magnitude(1, 5_000);
      const limit = [slidingWindowLog({ rate, period: `${periodMs}ms` })];
      const period = periodMs * MS;
      const table = new MapTable();
      // Time that has really passed, whatever the clock says.
      let elapsed = 0;
      let clock = START;
      const stepsBack = random.chance(50);
      random.note('limit', { rate, periodMs });
      const passed: { at: number; units: number }[] = [];
      for (const _ of random.steps(120)) {
        const on = random.chance(30) ? 0 : random.magnitude(1, period);
        elapsed += on;
        clock += on - (stepsBack && random.chance(5) ? random.magnitude(1, 10 * period) : 0);
        const units = random.int(1, rate);
        random.note('call', { elapsedUs: elapsed, clockUs: clock - START, units });
        const entry = entryOf('k', 'allow', units, limit);
        const { refused } = verdictOf(entry, table.decide([entry], clock));
        const within = passed
          .filter(({ at }) => at > elapsed - period)
          .reduce((sum, one) => sum + one.units, 0);
        if (refused) {
          refusals += 1;
          // A clock that steps back may delay calls, but never admits more of them.
          if (!stepsBack && within + units <= rate) {
            expect.fail(`refused ${units} beside ${within} of ${rate}`);
          }
        } else {
          passed.push({ at: elapsed, units });
        }
      }
      // All windows: the fullest of each is one that ends with an entry, half-open.
      for (const { at: end } of passed) {
        const units = passed
          .filter(({ at }) => at > end - period && at <= end)
          .reduce((sum, one) => sum + one.units, 0);
        expect(units).toBeLessThanOrEqual(rate);
      }
    });
    expect(refusals).toBeGreaterThan(1_000);
  });

  test('a limit finds its whole window while one of a shorter period trims the same log', async () => {
    const short = [slidingWindowLog({ rate: 1, period: 1 })];
    const long = [slidingWindowLog({ rate: 20, period: 30 })];
    const table = new MapTable();
    for (const decide of [
      (entry: Entry, now: number) => table.decide([entry], now),
      (entry: Entry, now: number) => twin.lua.decide([entry], now),
    ]) {
      let used = 0;
      for (let second = 0; second < 30; second += 1) {
        // The long one asks, and charges but once: all else is the short one's.
        const limits = second === 0 ? long : short;
        const entry = entryOf('k', 'allow', 1, limits);
        used += verdictOf(entry, await decide(entry, START + second * SECOND)).refused ? 0 : 1;
      }
      expect(used).toBe(30);
      const entry = entryOf('k', 'peek', 1, long);
      const { refused, retryUs } = verdictOf(entry, await decide(entry, START + 29.5 * SECOND));
      // 30 used of 20: eleven have to leave, those of 0 s to 10 s.
      expect([refused, retryUs]).toStrictEqual([true, 10.5 * SECOND]);
    }
  });

  test('entries of an unused period are dropped after two such periods', () => {
    const table = new MapTable();
    const short = [slidingWindowLog({ rate: 5, period: 1 })];
    table.decide([entryOf('k', 'allow', 1, [slidingWindowLog({ rate: 5, period: 60 })])], START);
    const lengths = Array.from({ length: 200 }, (_, second) => {
      table.decide([entryOf('k', 'allow', 1, short)], START + second * SECOND);
      const { entries, first } = table.read(LOG) as Log;
      return entries.length - first;
    });
    expect(Math.max(...lengths)).toBe(60);
    expect(lengths.slice(121)).toStrictEqual(Array(79).fill(1));
  });

  test('the calls of one script call are one entry, and each can be refunded', async () => {
    const limits = [slidingWindowLog({ rate: 100, period: 60 })];
    const entry = entryOf('k', 'allow', 2, limits);
    const reply = (await twin.lua.decide(Array(30).fill(entry), START)) as number[];
    expect(await twin.redis.command('ZRANGE', LOG, 0, -1)).toStrictEqual([
      '60:60',
      `~0:${60 * SECOND}:0:${START}`,
    ]);
    const refunds = Array.from({ length: 29 }, (_, i) =>
      entryOf('k', 'refund', 2, limits, readMarks(entry.shape, reply, 1 + 3 * i)),
    );
    const after = await twin.lua.decide(refunds, START + 5);
    expect(verdictOf(refunds[28]!, after, 1 + 28 * 3).remaining).toBe(98);
    expect(await twin.redis.command('ZRANGE', LOG, 0, 0, 'WITHSCORES')).toStrictEqual([
      '2:2',
      String(START),
    ]);
  });

  test('the memory store answers from a log of 100,000 entries by reading a few of them', () => {
    const limits = [slidingWindowLog({ rate: 100_000, period: '1h' })];
    const table = new MapTable();
    const entry = entryOf('k', 'allow', 1, limits);
    for (let i = 0; i < 100_000; i++) {
      table.decide([entry], START + i);
    }
    const log = table.read(LOG) as Log;
    let looks = 0;
    log.entries = new Proxy(log.entries, {
      get(entries, name, receiver) {
        looks += 1;
        return Reflect.get(entries, name, receiver) as unknown;
      },
    });
    // A refusal with its wait, then a pass after as much has left.
    expect(
      verdictOf(entry, table.decide([entryOf('k', 'allow', 500, limits)], START + HOUR - 1))
        .retryUs,
    ).toBe(500);
    expect(verdictOf(entry, table.decide([entry], START + HOUR + 5)).refused).toBe(false);
    expect(looks).toBeLessThan(200);
  });

  test.each(['TypeScript', 'Lua'])(
    'running totals restart before they lose exactness (%s)',
    async (language) => {
      const limits = [slidingWindowLog({ rate: 1_000, period: 60 })];
      const log = Object.assign(new Log(), { recent: 60 * SECOND, since: START });
      const high = 2 ** 52;
      log.entries = [
        { at: START, sum: high - 400, cost: 400 },
        { at: START + 1, sum: high, cost: 400 },
      ];
      const table = new MapTable();
      table.write(LOG, { value: log, ttlMs: 60_000 });
      const members = membersOf(log);
      const scored = members.flatMap((_, i) => (i % 2 === 0 ? [members[i + 1]!, members[i]!] : []));
      await twin.redis.command('ZADD', LOG, ...scored);
      const decide = (entry: Entry, now: number) =>
        language === 'Lua' ? twin.lua.decide([entry], now) : table.decide([entry], now);
      const peek = entryOf('k', 'peek', 1, limits);
      expect(verdictOf(peek, await decide(peek, START + 2)).remaining).toBe(200);
      const expected = ['400:400', String(START), '800:400', String(START + 1)];
      const stored =
        language === 'Lua'
          ? await twin.redis.command('ZRANGE', LOG, 0, -2, 'WITHSCORES')
          : membersOf(table.read(LOG) as Log).slice(0, -2);
      expect(stored).toStrictEqual(expected);
    },
  );
});

describe('failures of one entry', () => {
  const limits = [slidingWindowLog({ rate: 5, period: 60 })];
  const allow = (key: string) => entryOf(key, 'allow', 1, limits);
  const ours = `~0:${60 * SECOND}:0:${START}`;

  test.each<[string, (string | number)[], string]>([
    ['a string', ['SET', FOREIGN, '7'], 'WRONGTYPE'],
    ['a hash', ['HSET', FOREIGN, 'a', '7'], 'WRONGTYPE'],
    ['a foreign sorted set', ['ZADD', FOREIGN, 1, 'a', 2, 'b'], 'UNREADABLE'],
    ['a single member', ['ZADD', FOREIGN, 1, '1:1'], 'UNREADABLE'],
    ['only the metadata of a log', ['ZADD', FOREIGN, 2 ** 53, ours], 'UNREADABLE'],
    ['a malformed last entry', ['ZADD', FOREIGN, 2 ** 53, ours, START, 'x'], 'UNREADABLE'],
    [
      'an earlier entry with a greater total than the last',
      ['ZADD', FOREIGN, 2 ** 53, ours, START, '1:1', START - 1, '9:1'],
      'UNREADABLE',
    ],
    ['an entry without a cost', ['ZADD', FOREIGN, 2 ** 53, ours, START, '5:0'], 'UNREADABLE'],
    ['a cost above its sum', ['ZADD', FOREIGN, 2 ** 53, ours, START, '5:6'], 'UNREADABLE'],
    ['a sum beyond 2^53', ['ZADD', FOREIGN, 2 ** 53, ours, START, `${2 ** 53}:1`], 'UNREADABLE'],
    [
      'an infinite offset',
      ['ZADD', FOREIGN, 2 ** 53, `~${2 ** 53}:1:1:1`, START, '5:5'],
      'UNREADABLE',
    ],
    [
      'a malformed first entry of the window',
      ['ZADD', FOREIGN, 2 ** 53, ours, START - 1, 'x', START, '5:1'],
      'UNREADABLE',
    ],
  ])('fails only the entry of a key that holds %s', async (_, make, failure) => {
    await twin.redis.command(...make);
    const dump = await twin.redis.command('DEBUG', 'DIGEST-VALUE', FOREIGN);
    const reply = await twin.lua.decide([allow('a'), allow('foreign'), allow('b')], START);
    expect(
      reply.map((value) => (typeof value === 'string' ? value.split(' ')[0] : 'ok')),
    ).toStrictEqual(['ok', 'ok', 'ok', 'ok', failure, failure, failure, 'ok', 'ok', 'ok']);
    expect(await twin.redis.command('DEBUG', 'DIGEST-VALUE', FOREIGN)).toStrictEqual(dump);
  });

  test('an unreadable entry further on lengthens the wait and changes nothing else', async () => {
    await twin.lua.decide([entryOf('k', 'allow', 2, limits)], START);
    const marks = readMarks(
      allow('k').shape,
      (await twin.lua.decide([allow('k')], START + 1)) as number[],
      1,
    );
    await twin.lua.decide([entryOf('k', 'allow', 2, limits)], START + 3);
    await twin.redis.command('ZADD', LOG, START + 2, 'x');
    const peek = entryOf('k', 'peek', 3, limits);
    const { refused, retryUs } = verdictOf(peek, await twin.lua.decide([peek], START + 3));
    expect([refused, retryUs >= 60 * SECOND - 2]).toStrictEqual([true, true]);
    const refund = entryOf('k', 'refund', 1, limits, marks);
    expect(verdictOf(refund, await twin.lua.decide([refund], START + 3)).remaining).toBe(0);
  });

  test('a server without memory refuses writes and still reports identities over the limit', async () => {
    for (let i = 0; i < 5; i++) {
      await twin.lua.decide([allow('full')], START + i);
    }
    const marks = readMarks(
      allow('few').shape,
      (await twin.lua.decide([allow('few')], START)) as number[],
      1,
    );
    await twin.lua.decide([allow('few')], START + 1);
    const before = await twin.redis.command('ZRANGE', logOf('few'), 0, -1);
    await twin.redis.command('CONFIG', 'SET', 'maxmemory', 1);
    try {
      const reply = await twin.lua.decide(
        [allow('new'), allow('full'), entryOf('few', 'refund', 1, limits, marks)],
        START + 9,
      );
      expect(reply.map((value) => String(value).split(' ')[0])).toStrictEqual([
        String(START + 9),
        'OOM',
        'OOM',
        'OOM',
        '-6',
        String(60 * SECOND - 5),
        String(60 * SECOND - 9),
        'OOM',
        'OOM',
        'OOM',
      ]);
      expect(await twin.redis.command('ZRANGE', logOf('few'), 0, -1)).toStrictEqual(before);
      expect(await twin.redis.command('EXISTS', logOf('new'))).toBe(0);
    } finally {
      await twin.redis.command('CONFIG', 'SET', 'maxmemory', 0);
    }
  });

  test('a user without the right to set a TTL leaves no key without one', async () => {
    await twin.redis.command(
      'ACL',
      'SETUSER',
      'bare',
      'on',
      'nopass',
      '~*',
      '+@all',
      '-pexpire',
      '-pexpireat',
    );
    await twin.lua.command('AUTH', 'bare', 'x');
    try {
      const reply = await twin.lua.decide([allow('k')], START);
      expect(String(reply[1])).toMatch(/^(ERR|NOPERM) /);
      expect(await twin.redis.command('EXISTS', LOG)).toBe(0);
    } finally {
      twin.lua.close();
      twin.lua = await LuaTwin.open(twin.redis);
    }
  });
});

describe('through the public API', () => {
  test('every verb decides alike on Redis and in memory, and every key has a TTL', async () => {
    const clock = new ManualClock();
    const limits = [
      slidingWindowLog({ rate: 5, period: '1h', maxDebt: 3 }),
      tokenBucket({ name: 'burst', rate: 100, period: '1s' }),
    ];
    for (const limiter of [
      new RateLimiter({ redis: twin.redis.url, limits, failStrategy: 'throw', timeoutMs: 10_000 }),
      new RateLimiter({ store: new MemoryStore({ clock }), limits }),
    ]) {
      await limiter.ready();
      const first = await limiter.allow('u', { cost: 2 });
      const second = await limiter.allow('u', { cost: 3 });
      const third = await limiter.allow('u');
      expect([first.allowed, second.allowed, third.allowed]).toStrictEqual([true, true, false]);
      expect(third).toMatchObject({ reason: 'limited', limitedBy: ['default'], remaining: 0 });
      expect(third.retryAfterMs).toBeGreaterThan(3_590_000);
      expect(third.retryAfterMs).toBeLessThanOrEqual(3_600_000);
      expect((await limiter.refund(first)).remaining).toBe(2);
      expect(await limiter.allowUpTo('u', 9)).toMatchObject({ granted: 2 });
      expect((await limiter.penalize('u', 9)).remaining).toBe(0);
      expect((await limiter.peek('u')).allowed).toBe(false);
      await limiter.reset('u');
      expect(await limiter.peek('u')).toMatchObject({ remaining: 5, resetAfterMs: 0 });
      await Promise.all(Array.from({ length: 20 }, () => limiter.allow('v')));
      expect(await limiter.peek('v')).toMatchObject({ allowed: false, remaining: 0 });
      await limiter.close();
    }
    expect(await twin.redis.keysWithoutTtl()).toStrictEqual([]);
    expect((await twin.redis.keyCounts()).keys).toBeGreaterThan(0);
  });

  test('a limiter takes `sliding_window_log` as its only algorithm by name', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      algorithm: 'sliding_window_log',
      rate: 2,
      period: '1m',
    });
    const decisions = await Promise.all([1, 2, 3].map(() => limiter.allow('u')));
    expect(decisions.map(({ allowed }) => allowed)).toStrictEqual([true, true, false]);
    expect(decisions[0]!.limits[0]!.algorithm).toBe('sliding_window_log');
  });

  test('an entry takes as many bytes as the docs state', async () => {
    const limits = [slidingWindowLog({ rate: 1_000_000, period: '1h' })];
    const bytesEach: Record<number, number> = {};
    for (const entries of [100, 1_000, 10_000]) {
      const key = `memory:${entries}`;
      await Promise.all(
        Array.from({ length: entries }, (_, i) =>
          twin.lua.decide([entryOf(key, 'allow', 1, limits)], START + i * 1_001),
        ),
      );
      const bytes = await twin.lua.command<number>('MEMORY', 'USAGE', logOf(key), 'SAMPLES', 0);
      bytesEach[entries] = bytes / entries;
    }
    console.log('bytes per entry, by the number of entries', bytesEach);
    expect(bytesEach[100]).toBeLessThan(40);
    expect(bytesEach[1_000]).toBeLessThan(120);
    expect(bytesEach[10_000]).toBeLessThan(120);
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      'a negative rate',
      { rate: -1, period: '1m' },
      /`rate` must be a whole number from 0 to 1000000000, got -1/,
    ],
    ['a rate of 1.5', { rate: 1.5, period: '1m' }, /`rate` must be a whole number/],
    ['a missing period', { rate: 1 }, /`period`/],
    ['a period with an unknown unit', { rate: 1, period: '1x' }, /`period`/],
    [
      '`burst`, an option of the token bucket',
      { rate: 1, period: '1m', burst: 3 },
      /`burst` is not an option of slidingWindowLog/,
    ],
    ['an option name of another library', { rate: 1, windowMs: 60_000 }, /Did you mean `period`\?/],
  ])('refuses %s', (_, options, message) => {
    let thrown: unknown;
    try {
      slidingWindowLog(options as never);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(RateLimiterError);
    expect(thrown).toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringMatching(message),
    });
  });
});

const noClock = steppedClockMissing();

describe.skipIf(noClock !== undefined)(
  `on a server whose clock steps${noClock === undefined ? '' : ` (skipped: ${noClock})`}`,
  () => {
    test.each([-2_000, -60_000, -3_600_000, -30 * 86_400_000])(
      'a step of %i ms locks nobody out for longer than a period and lets nobody in early',
      async (step) => {
        const { redis: stepped, clock, close } = await startSteppedRedis();
        const limiter = new RateLimiter({
          redis: stepped.url,
          algorithm: 'sliding_window_log',
          rate: 3,
          period: '1m',
          failStrategy: 'throw',
          timeoutMs: 10_000,
        });
        try {
          expect(await limiter.allow('u', { cost: 3 })).toMatchObject({ allowed: true });
          clock.step(step);
          const refused = await limiter.allow('u');
          expect(refused).toMatchObject({ reason: 'limited' });
          expect(refused.retryAfterMs).toBeLessThanOrEqual(60_000);
          clock.step(50_000);
          expect((await limiter.allow('u')).allowed).toBe(false);
          clock.step(10_000);
          expect(await limiter.allow('u', { cost: 3 })).toMatchObject({ allowed: true });
          expect((await limiter.allow('u')).allowed).toBe(false);
        } finally {
          await limiter.close();
          await close();
        }
      },
    );
  },
);

test.each([
  [199, 1],
  [200, 0],
])('a refund after %i later charges gives back %i units', async (later, back) => {
  const clock = new ManualClock();
  const limits = [slidingWindowLog({ rate: 1_000, period: '1h' })];
  const memory = new RateLimiter({ store: new MemoryStore({ clock }), limits });
  const first = await memory.allow('k');
  const call = entryOf('bounded', 'allow', 1, limits);
  const marks = readMarks(call.shape, (await twin.lua.decide([call], START)) as number[], 1);
  for (let i = 1; i <= later; i++) {
    clock.advance('1ms');
    await memory.allow('k');
    await twin.lua.decide([call], START + i);
  }
  const refund = entryOf('bounded', 'refund', 1, limits, marks);
  const { remaining } = verdictOf(refund, await twin.lua.decide([refund], START + later));
  const left = 1_000 - (1 + later) + back;
  expect([remaining, (await memory.refund(first)).remaining]).toEqual([left, left]);
});
