import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { concurrency, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { decide } from '../../../src/script/decide.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import { decideBatch } from '../../../src/stores/redis.ts';
import type { Call } from '../../../src/stores/store.ts';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { DECIDE_AND_SHOW, ShownTable } from '../../kit/twins/concurrency.shown.ts';

const START = 1_767_225_600_000_000;
const MS = 1_000;
const SECOND = 1_000_000;

const sets = {
  two: of(concurrency({ max: 2, ttl: '10s' })),
  one: of(concurrency({ max: 1, ttl: '10s' })),
  short: of(concurrency({ max: 2, ttl: '5s' })),
  shadow: of(concurrency({ max: 1, ttl: '10s', shadow: true })),
  rated: of(
    concurrency({ max: 2, ttl: '10s' }),
    tokenBucket({ name: 'rate', rate: 4, period: '40s' }),
  ),
  both: of(concurrency({ max: 2, ttl: '10s' }), concurrency({ name: 'all', max: 2, ttl: '4s' })),
} as const;

function of(...limits: Limit[]): LimitSet {
  return new LimitSet('cases', limits, false);
}

interface Row {
  readonly says: string;
  readonly entry: Entry;
  readonly at: number;
  readonly answer: readonly number[];
  /**
   * The value of the concurrency limit's key afterwards: `lease end` pairs, in microseconds after the start. Absent: no
   * key.
   */
  readonly left?: string | undefined;
}

/** The key of the unnamed concurrency limit's leases. */
const PLACES = '{k}/default:concurrency';

/** `at` in microseconds after the start; the answer as decide.lua returns it. */
function row(
  says: string,
  [set, verb, lease, cost = 1]: readonly [keyof typeof sets, Verb, string?, number?],
  at: number,
  answer: readonly number[],
  left?: string,
): Row {
  const shape = sets[set].shape(verb, cost);
  return {
    says,
    entry: { key: 'k', shape, details: lease === undefined ? undefined : [lease] },
    at,
    answer,
    left,
  };
}

const CASES: Readonly<Record<string, readonly Row[]>> = {
  // Each row: what it shows; set, verb and lease; when; [live leases, end of the last, whether a place is free]; units
  // left.
  'two places for 10 s': [
    row('a look at places that nobody took leaves no trace', ['two', 'peek'], 0, [0, 0, 0]),
    row('the first takes a place', ['two', 'acquire', 'a'], 0, [1, 10 * SECOND, 0], 'a 10000000'),
    row(
      'the second takes the other',
      ['two', 'acquire', 'b'],
      4 * SECOND,
      [2, 10 * SECOND, 0],
      'a 10000000 b 14000000',
    ),
    row(
      'the third is refused, until the first lease ends',
      ['two', 'acquire', 'c'],
      4 * SECOND,
      [-3, 10 * SECOND, 6 * SECOND],
      'a 10000000 b 14000000',
    ),
    row(
      'a microsecond before, it still is',
      ['two', 'acquire', 'c'],
      10 * SECOND - 1,
      [-3, 4 * SECOND + 1, 1],
      'a 10000000 b 14000000',
    ),
    row(
      'at that instant it passes, and what has ended is forgotten',
      ['two', 'acquire', 'c'],
      10 * SECOND,
      [2, 10 * SECOND, 0],
      'b 14000000 c 20000000',
    ),
    row(
      'a lease that has ended cannot be renewed',
      ['two', 'renew', 'a'],
      10 * SECOND,
      [0],
      'b 14000000 c 20000000',
    ),
    row(
      'nor does releasing it free a place of another',
      ['two', 'release', 'a'],
      10 * SECOND,
      [0],
      'b 14000000 c 20000000',
    ),
    row(
      'a release frees the place at once',
      ['two', 'release', 'c'],
      11 * SECOND,
      [1],
      'b 14000000',
    ),
    row('and once', ['two', 'release', 'c'], 11 * SECOND, [0], 'b 14000000'),
    row(
      'a renewal lasts for the ttl from now',
      ['two', 'renew', 'b'],
      13 * SECOND,
      [1],
      'b 23000000',
    ),
    row('with the last release nothing is left', ['two', 'release', 'b'], 13 * SECOND, [1]),
  ],
  'a call that is sent twice': [
    row('a lease', ['one', 'acquire', 'a'], 0, [1, 10 * SECOND, 0], 'a 10000000'),
    row(
      'acquired again has its own place, not a second one',
      ['one', 'acquire', 'a'],
      SECOND,
      [1, 10 * SECOND, 0],
      'a 11000000',
    ),
    row(
      'a shorter ttl shortens nothing',
      ['short', 'acquire', 'a'],
      SECOND,
      [1, 10 * SECOND, 0],
      'a 11000000',
    ),
    row('once it is released it is a new call', ['one', 'release', 'a'], SECOND, [1]),
    row('which takes a place', ['one', 'acquire', 'a'], SECOND, [1, 10 * SECOND, 0], 'a 11000000'),
  ],
  'places beside a rate limit': [
    row(
      'takes a place and is charged, whatever the cost one place',
      ['rated', 'acquire', 'a', 2],
      0,
      [1, 10 * SECOND, 0, 20 * SECOND],
      'a 10000000',
    ),
    row(
      'the same call again is charged nothing',
      ['rated', 'acquire', 'a', 2],
      0,
      [1, 10 * SECOND, 0, 20 * SECOND],
      'a 10000000',
    ),
    row(
      'what the rate refuses takes no place',
      ['rated', 'acquire', 'b', 3],
      0,
      [1, 10 * SECOND, 0, -1 - 20 * SECOND],
      'a 10000000',
    ),
    row(
      'a cost that still fits does',
      ['rated', 'acquire', 'b'],
      0,
      [2, 10 * SECOND, 0, 30 * SECOND],
      'a 10000000 b 10000000',
    ),
    row(
      'what the places refuse is charged nothing',
      ['rated', 'acquire', 'c'],
      SECOND * 9,
      [-3, SECOND, SECOND, 21 * SECOND],
      'a 10000000 b 10000000',
    ),
    row('a release', ['rated', 'release', 'a'], SECOND * 9, [1], 'b 10000000'),
    row(
      'gives back no units',
      ['rated', 'peek'],
      SECOND * 9,
      [1, SECOND, 0, 21 * SECOND],
      'b 10000000',
    ),
  ],
  'a lowered maximum of places': [
    row('one', ['two', 'acquire', 'a'], 0, [1, 10 * SECOND, 0], 'a 10000000'),
    row('two', ['two', 'acquire', 'b'], SECOND, [2, 10 * SECOND, 0], 'a 10000000 b 11000000'),
    row(
      'under one place the wait is for the second to end',
      ['one', 'acquire', 'c'],
      SECOND,
      [-3, 10 * SECOND, 10 * SECOND],
      'a 10000000 b 11000000',
    ),
    row(
      'who has a place keeps it',
      ['one', 'renew', 'a'],
      2 * SECOND,
      [1],
      'b 11000000 a 12000000',
    ),
  ],
  'two concurrency limits': [
    row(
      'takes a place under both',
      ['both', 'acquire', 'a'],
      0,
      [1, 10 * SECOND, 0, 1, 4 * SECOND, 0],
      'a 10000000',
    ),
    row(
      'a renewal renews neither where one has ended',
      ['both', 'renew', 'a'],
      4 * SECOND,
      [0],
      'a 10000000',
    ),
    row(
      'a release frees what there is, and says that one was gone',
      ['both', 'release', 'a'],
      4 * SECOND,
      [0],
    ),
  ],
  'a shadow limit': [
    row('lends its place', ['shadow', 'acquire', 'a'], 0, [1, 10 * SECOND, 0], 'a 10000000'),
    row(
      'says that it would refuse, and takes no note of what it has no place for',
      ['shadow', 'acquire', 'b'],
      0,
      [-2, 10 * SECOND, 10 * SECOND],
      'a 10000000',
    ),
    row('does not end what it did not lend', ['shadow', 'renew', 'b'], 0, [1], 'a 10000000'),
  ],
  'a clock that steps back': [
    row('a lease', ['two', 'acquire', 'a'], 60 * SECOND, [1, 10 * SECOND, 0], 'a 70000000'),
    row(
      'by a second: it is left alone, and lasts a second longer',
      ['two', 'peek'],
      59 * SECOND,
      [1, 11 * SECOND, 0],
      'a 70000000',
    ),
    row(
      'a microsecond more: it lasts for what was left when it was written',
      ['two', 'peek'],
      59 * SECOND - 1,
      [1, 10 * SECOND, 0],
      'a 68999999',
    ),
    row(
      'by a minute: the same, so that nobody is locked out for the step',
      ['one', 'acquire', 'b'],
      -SECOND,
      [-2, 10 * SECOND, 10 * SECOND],
      'a 9000000',
    ),
    row('its holder still frees it', ['two', 'release', 'a'], -SECOND, [1]),
  ],
  reset: [
    row('a lease', ['one', 'acquire', 'a'], 0, [1, 10 * SECOND, 0], 'a 10000000'),
    row('is forgotten', ['one', 'reset'], 0, [1]),
    row('so that its place is free', ['one', 'acquire', 'b'], 0, [1, 10 * SECOND, 0], 'b 10000000'),
    row('and its holder finds it gone', ['one', 'renew', 'a'], 0, [0], 'b 10000000'),
  ],
};

describe('concurrency', () => {
  let redis: RedisServer;
  let connection: Awaited<ReturnType<typeof openResp>>;
  let sha1: string;

  beforeAll(async () => {
    redis = await startRedis();
    connection = await openResp({ path: redis.socketPath });
    sha1 = await connection.command('SCRIPT', 'LOAD', DECIDE_AND_SHOW);
  });
  afterAll(async () => {
    connection?.close();
    await redis?.close();
  });
  beforeEach(() => connection.command('FLUSHALL'));

  /** One script call. */
  async function lua(entries: readonly Entry[], now: number): Promise<[unknown[], string[]]> {
    const { keys, args } = decideBatch.encode(entries as readonly Call[], 0);
    return connection.command('EVALSHA', sha1, keys.length, ...keys, ...args, now);
  }

  /** Formats a verdict as the rows write it: `~ -… a 1767225610000000 … for …`. */
  function leftOf(shown: string): string | undefined {
    const [held = ''] = shown.split(' for ');
    const words = held.split(' ').slice(2);
    return words.length === 0
      ? undefined
      : words.map((word, i) => (i % 2 === 0 ? word : Number(word) - START)).join(' ');
  }

  test.each(Object.entries(CASES))('decides the case: %s', async (_title, rows) => {
    const table = new ShownTable();
    for (const { says, entry, at, answer, left } of rows) {
      const now = START + at;
      table.forgetTtls();
      expect([says, ...decide([entry], now, table).slice(1)]).toEqual([says, ...answer]);
      expect([says, leftOf(table.show(PLACES))]).toEqual([says, left]);
      const [reply, shown] = await lua([entry], now);
      expect([says, 'Lua', ...reply.slice(1)]).toEqual([says, 'Lua', ...answer]);
      expect([says, 'Lua', shown[0]]).toEqual([says, 'Lua', table.show(PLACES)]);
    }
  });

  test("the key's TTL is that of its last lease, rounded up, plus 1 ms", async () => {
    const acquire = (lease: string): Entry => row('', ['two', 'acquire', lease], 0, []).entry;
    expect((await lua([acquire('a')], START))[1]).toEqual([
      `~ -${START} a ${START + 10 * SECOND} for 10001`,
    ]);
    const [, [shown]] = await lua([row('', ['short', 'acquire', 'b'], 0, []).entry], START + 500);
    expect(shown).toMatch(/ for 10001$/);
    const [, [after]] = await lua([row('', ['two', 'release', 'a'], 0, []).entry], START + MS);
    expect(after).toMatch(/ for 5001$/);
  });

  describe('a key with a foreign value', () => {
    const acquire = row('', ['rated', 'acquire', 'a'], 0, []).entry;
    const other = row('', ['two', 'acquire', 'a'], 0, []).entry;

    const foreign: readonly (readonly [string, readonly (string | number)[], RegExp])[] = [
      ['a string', ['SET', PLACES, '5'], /^WRONGTYPE/],
      ['a hash', ['HSET', PLACES, 'a', '5'], /^WRONGTYPE/],
      ['a foreign sorted set', ['ZADD', PLACES, 1, 'a'], /^UNREADABLE/],
      ['leases without the mark', ['ZADD', PLACES, START + SECOND, 'a'], /^UNREADABLE/],
      ['the mark alone', ['ZADD', PLACES, -START, '~'], /^UNREADABLE/],
      [
        'a mark in fractions of a microsecond',
        ['ZADD', PLACES, -0.5, '~', START, 'a'],
        /^UNREADABLE/,
      ],
      ['a lease that ends beyond 2^53', ['ZADD', PLACES, -START, '~', 2 ** 53, 'a'], /^UNREADABLE/],
      ['a lease that ends at +inf', ['ZADD', PLACES, -START, '~', '+inf', 'a'], /^UNREADABLE/],
      ['a mark of -inf', ['ZADD', PLACES, '-inf', '~', START, 'a'], /^UNREADABLE/],
    ];

    test.each(foreign)(
      '%s fails only its own entry and grants nothing',
      async (_what, put, message) => {
        await connection.command(...put);
        const before = await connection.command('DUMP', PLACES);
        const [[, ...reply]] = await lua([acquire, { ...other, key: 'free' }], START);
        expect(reply.slice(0, 4).map(String)).toEqual(
          Array(4).fill(expect.stringMatching(message)),
        );
        expect(reply.slice(4)).toEqual([1, 10 * SECOND, 0]);
        expect(await connection.command('DUMP', PLACES)).toBe(before);
        expect(await connection.command('EXISTS', 'k')).toBe(0);
      },
    );

    test('a reset in the same call cures a foreign value', async () => {
      await connection.command('SET', PLACES, 'foreign');
      const reset = row('', ['two', 'reset'], 0, []).entry;
      const [reply] = await lua([reset, other], START);
      expect(reply.slice(1)).toEqual([1, 1, 10 * SECOND, 0]);
    });
  });

  test('reads scores in every notation that a server uses', async () => {
    // Some Lua versions print 1767225600000000 as 1.7672256e+15.
    await connection.command('ZADD', PLACES, '-1.7672256e+15', '~', '1.76722561e+15', 'a');
    const [reply] = await lua([row('', ['one', 'acquire', 'b'], 0, []).entry], START);
    expect(reply.slice(1)).toEqual([-2, 10 * SECOND, 10 * SECOND]);
  });

  test('moves thousands of leases when the clock steps back', async () => {
    const members = Array.from({ length: 5_000 }, (_, i) => [START + SECOND + i, `l${i}`]).flat();
    await connection.command('ZADD', PLACES, -START, '~', ...members);
    const now = START - 60 * SECOND;
    const [reply] = await lua([row('', ['two', 'peek'], 0, []).entry], now);
    expect(reply.slice(1)).toEqual([-5_001, SECOND + 4_999, SECOND + 4_998]);
    expect(await connection.command('ZCOUNT', PLACES, now + SECOND, now + SECOND + 4_999)).toBe(
      5_000,
    );
  });

  describe('a failed write of a concurrency limit', () => {
    afterAll(() => connection.command('CONFIG', 'SET', 'maxmemory', 0));

    test('an OOM error fails the entry, and a release still frees its place', async () => {
      const [acquire, acquireB] = ['a', 'b'].map(
        (lease) => row('', ['two', 'acquire', lease], 0, []).entry,
      );
      const release = row('', ['two', 'release', 'a'], 0, []).entry;
      await lua([acquire!], START);
      await connection.command('CONFIG', 'SET', 'maxmemory', 1);
      const [refused] = await lua([acquireB!], START);
      expect(refused.slice(1).map(String)).toEqual(Array(3).fill(expect.stringMatching(/OOM/)));
      expect((await lua([release], START))[0].slice(1)).toEqual([1]);
      await connection.command('CONFIG', 'SET', 'maxmemory', 0);
      expect(await connection.command('EXISTS', PLACES)).toBe(0);
    });

    test('an error between writing the value and its TTL leaves no key behind', async () => {
      await connection.command(
        'ACL',
        'SETUSER',
        'halved',
        'on',
        'nopass',
        '~*',
        '+@all',
        '-pexpire',
      );
      const halved = await openResp({ path: redis.socketPath });
      await halved.command('AUTH', 'halved', 'any');
      const { keys, args } = decideBatch.encode(
        [row('', ['two', 'acquire', 'a'], 0, []).entry as Call],
        0,
      );
      const { text } = decideBatch.source;
      const reply = await halved.command('EVAL', text, keys.length, ...keys, ...args);
      halved.close();
      expect(String(reply[1])).toMatch(/NOPERM|can't run this command|no permissions to run/);
      expect(await connection.command('EXISTS', PLACES)).toBe(0);
    });
  });
});
