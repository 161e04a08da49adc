import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import { block } from '../../src/algorithms/block.ts';
import { ProviderQuota } from '../../src/algorithms/provider-quota.ts';
import { readSettled, readVerdicts } from '../../src/script/read-answer.ts';
import { decide } from '../../src/script/decide.ts';
import { keysOf, settleDetails, makeShape } from '../../src/script/call-shape.ts';
import type { Entry } from '../../src/script/call-shape.ts';
import type { Limit } from '../../src/algorithms/limit.ts';
import { MapTable } from '../kit/twins/map-table.ts';
import { groupedOneByOne } from '../kit/twins/grouping.ts';
import { openResp, startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { virtualScript } from '../kit/fakes/virtual-script.ts';
import { LimitSet, stateKeyOf } from '../../src/limiter/limit-set.ts';

/** The value of a key: a string, or a sorted set's members, each before its score. */
interface Held {
  readonly string?: string;
  readonly members?: readonly string[];
}

/** States written by releases. Lines are added, never edited: later versions must read them, whatever they write. */
const {
  states: STATES,
  records: RECORDS,
  bans: BANS,
} = JSON.parse(readFileSync(new URL('states.json', import.meta.url), 'utf8')) as {
  readonly states: Readonly<Record<string, Held>>;
  /** The limits' states by what follows the identity's key; nothing for those in its home. */
  readonly records: Readonly<
    Record<string, { readonly record: string; readonly limits: Readonly<Record<string, Held>> }>
  >;
  /** Homes with the count of a ban. */
  readonly bans: Readonly<Record<'growing', { readonly home: string }>>;
};

const START = Date.UTC(2026, 0, 1) * 1_000;

/** The record must list every algorithm, so the compiler reports a new one without states. A ban has its own test. */
const ALGORITHMS: Readonly<Record<Exclude<Limit['algorithm'], 'ban'>, true>> = {
  token_bucket: true,
  sliding_window: true,
  sliding_window_log: true,
  fixed_window: true,
  concurrency: true,
  block: true,
  provider_quota: true,
};

/** At this many seconds from START, this many units are left, and all of them this many seconds later. */
const MEANINGS: readonly (readonly [
  name: string,
  limit: Limit,
  at: number,
  remaining: number | 'blocked',
  resetS: number,
])[] = [
  ['token_bucket', tokenBucket({ rate: 10, period: 60 }), 0, 7, 18],
  ['token_bucket in fractions', tokenBucket({ rate: 7, period: 60 }), 0, 4, 25.714286],
  // Of an own limit with a plan beside it, at 12 s each: 5 units count by the plan's line.
  ['token_bucket of two lines', tokenBucket({ rate: 10, period: 60 }), 10, 6, 20],
  ['sliding_window', slidingWindow({ rate: 10, period: 60 }), 60, 3, 120],
  ['sliding_window of two periods', slidingWindow({ rate: 10, period: '1h' }), 0, 3, 7_200],
  ['fixed_window', fixedWindow({ rate: 10, period: 60 }), 0, 6, 60],
  [
    'fixed_window of the calendar',
    fixedWindow({ rate: 10, period: 'month', timeZone: 'Europe/Berlin' }),
    0,
    6,
    2_674_800,
  ],
  [
    'fixed_window of two kinds',
    fixedWindow({ rate: 10, period: 'day', timeZone: 'UTC' }),
    10,
    5,
    86_390,
  ],
  ['block', block, 0, 'blocked', 100],
  ['provider_quota', new ProviderQuota(tokenBucket({ rate: 10, period: 60 })), 10, 3, 90],
  ['sliding_window_log', slidingWindowLog({ rate: 10, period: 60 }), 10, 4, 60],
  [
    'sliding_window_log, after a step back of the clock',
    slidingWindowLog({ rate: 10, period: 60 }),
    10,
    6,
    50,
  ],
  ['concurrency', concurrency({ max: 3, ttl: '30s' }), 10, 1, 30],
];

/** Settles a record with these units a second after START: the answer, and the units left. */
const SETTLEMENTS: readonly (readonly [
  name: string,
  limits: readonly Limit[],
  actual: number,
  settled: { readonly charged: number; readonly uncharged: number },
  remaining: readonly number[],
])[] = [
  [
    'open, under strings',
    [
      tokenBucket({ rate: 7, period: 60 }),
      slidingWindow({ rate: 10, period: 60 }),
      fixedWindow({ rate: 10, period: 60 }),
    ],
    1,
    { charged: 1, uncharged: 0 },
    [6, 9, 9],
  ],
  [
    'open, under sorted sets',
    [slidingWindowLog({ rate: 10, period: 60 }), concurrency({ max: 3, ttl: '30s' })],
    1,
    { charged: 1, uncharged: 0 },
    [9, 2],
  ],
  // A repeated settlement gets the first answer, whatever it asks.
  ['settled', [tokenBucket({ rate: 7, period: 60 })], 5, { charged: 2, uncharged: 1 }, [6]],
];

describe('stored states of earlier versions', () => {
  let redis: RedisServer;
  let connection: Awaited<ReturnType<typeof openResp>>;

  beforeAll(async () => {
    redis = await startRedis();
    connection = await openResp({ path: redis.socketPath });
  });
  afterAll(async () => {
    connection?.close();
    await redis?.close();
  });

  async function put(key: string, { string, members }: Held): Promise<void> {
    if (string !== undefined) {
      await connection.command('SET', key, string);
      return;
    }
    const pairs = members!.flatMap((_, i, all) => (i % 2 ? [] : [all[i + 1]!, all[i]!]));
    await connection.command('ZADD', key, ...pairs);
  }

  async function decideOnServer(entry: Entry, now: number): Promise<number[]> {
    const { keys, args } = groupedOneByOne([entry]);
    const script = [virtualScript.text, keys.length, ...keys, ...args, String(now)];
    return connection.command('EVAL', ...script);
  }

  test('the stored states cover every kind and every algorithm', () => {
    expect(MEANINGS.map(([name]) => name)).toEqual(Object.keys(STATES));
    expect(SETTLEMENTS.map(([name]) => name)).toEqual(Object.keys(RECORDS));
    const written = MEANINGS.map(([, limit]) => limit.algorithm);
    const recorded = SETTLEMENTS.flatMap(([, limits]) => limits.map((limit) => limit.algorithm));
    const all = Object.keys(ALGORITHMS).toSorted();
    expect([...new Set(written)].toSorted()).toEqual(all);
    expect([...new Set(recorded), 'block', 'provider_quota'].toSorted()).toEqual(all);
  });

  test.each(MEANINGS)(
    'reads the stored state: %s',
    async (name, limit, seconds, remaining, resetS) => {
      const now = START + seconds * 1_000_000;
      const plan = limit.plan(1, now / 1_000);
      const shape = makeShape('peek', 1, [{ limit, plan, ...stateKeyOf(limit) }]);
      const entry = { key: 'state', shape };
      const held = STATES[name]!;
      await connection.command('FLUSHALL');
      const [key] = keysOf(entry) as [string];
      await put(key, held);
      const reply = await decideOnServer(entry, now);
      const meant = {
        refused: remaining === 'blocked' || remaining === 0,
        remaining: remaining === 'blocked' ? 0 : remaining,
        resetUs: Math.round(resetS * 1_000_000),
      };
      expect(readVerdicts(shape, reply, 1)[0]).toMatchObject(meant);
      const twin =
        held.string === undefined
          ? reply
          : decide([entry], now, new MapTable(new Map([[key, held.string]])));
      expect(twin, 'TypeScript').toEqual(reply);
    },
  );

  test('counts on from the stored refusals of a ban, which is longer than the one before', async () => {
    const ban = { after: 3, within: '10m', for: '500s', growth: 2, max: '1d' } as const;
    const limit = tokenBucket({ rate: 1, period: '1h', ban });
    const set = new LimitSet('bans', [limit], true);
    const { key } = set.locate('id', undefined);
    const entry = { key, shape: set.shape('allow', 1) };
    const { home } = BANS.growing;
    await connection.command('FLUSHALL');
    await put(key, { string: home });
    const reply = await decideOnServer(entry, START);
    // The third refusal: a ban of 1,000 s came before it.
    expect(readVerdicts(entry.shape, reply, 1).at(-1)).toMatchObject({ resetUs: 2_000_000_000 });
    expect(await connection.command('GET', `{${key}}#block`)).toBe(`${START + 2_000_000_000}`);
    const twin = decide([entry], START, new MapTable(new Map([[key, home]])));
    expect(twin, 'TypeScript').toEqual(reply);
  });

  test.each(SETTLEMENTS)(
    'settles the stored reservation: %s',
    async (name, limits, actual, settled, remaining) => {
      const now = START + 1_000_000;
      const rules = limits.map((limit) => ({
        limit,
        plan: limit.plan(1, now / 1_000),
        ...stateKeyOf(limit),
      }));
      const details = settleDetails(actual, 2_500, false);
      const settle = { key: 'k', shape: makeShape('settle', 1, rules), record: '#r:1', details };
      const peek = { key: 'k', shape: makeShape('peek', 1, rules) };
      const stored = RECORDS[name]!;
      const held = new Map(
        Object.entries(stored.limits).map(([suffix, each]) => [
          suffix === '' ? 'k' : `{k}${suffix}`,
          each,
        ]),
      ).set('{k}#r:1', { string: stored.record });
      await connection.command('FLUSHALL');
      for (const [key, each] of held) await put(key, each);

      const replies = [await decideOnServer(settle, now), await decideOnServer(peek, now)];
      expect(readSettled(replies[0]!, 1)).toEqual(settled);
      expect(readVerdicts(peek.shape, replies[1]!, 1).map((verdict) => verdict.remaining)).toEqual(
        remaining,
      );
      // This table holds strings only.
      const strings = [...held].flatMap(([key, { string }]) =>
        string === undefined ? [] : [[key, string] as const],
      );
      if (strings.length === held.size) {
        const table = new MapTable(new Map(strings));
        const twin = [settle, peek].map((entry) => decide([entry], now, table));
        expect(twin, 'TypeScript').toEqual(replies);
      }
    },
  );
});
