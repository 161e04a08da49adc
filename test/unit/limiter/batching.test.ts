import { createHash } from 'node:crypto';
import {
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { Verb } from '../../../src/script/call-shape.ts';
import { encodeCalls } from '../../../src/stores/encode.ts';
import type { Call } from '../../../src/stores/store.ts';
import { FakeRedis, entriesOf } from '../../kit/fakes/fake-redis.ts';

/** So slow a refill that no unit comes back while a test runs. */
const BURST = 1_000_000;
const many = <T>(count: number, call: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => call(i)));

function limiterOn(redis: FakeRedis, namespace = 'batching', rate = BURST): RateLimiter {
  return new RateLimiter({ redis, rate, period: '365d', namespace, timeoutMs: 5_000 });
}

describe('the calls of one turn', () => {
  test.each([
    [1, 1],
    [64, 1],
    [128, 1],
    [129, 2],
    [256, 2],
    [257, 3],
    [1_000, 8],
  ])('of %i identities make %i script calls', async (identities, calls) => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis);
    const decisions = await many(identities, (i) => limiter.allow(`user:${i}`));
    expect(redis.sends.map(({ command }) => command)).toEqual(Array(calls).fill('EVALSHA'));
    expect(redis.sends.reduce((sum, send) => sum + entriesOf(send), 0)).toBe(identities);
    expect(redis.sends.every(({ keys }) => keys.length <= 128)).toBe(true);
    expect(decisions.every(({ degraded }) => !degraded)).toBe(true);
  });

  test.each([
    [1_024, [1_024]],
    [1_025, [1_024, 1]],
    [2_049, [1_024, 1_024, 1]],
  ])(
    'of one identity, %i of them, make script calls of %j entries on one key',
    async (count, entries) => {
      const redis = new FakeRedis();
      const limiter = limiterOn(redis);
      const decisions = await many(count, () => limiter.allow('user'));
      expect(redis.sends.map(entriesOf)).toEqual(entries);
      expect(redis.sends.map(({ keys }) => keys.length)).toEqual(entries.map(() => 1));
      expect(decisions.map(({ remaining }) => remaining)).toEqual(
        Array.from({ length: count }, (_, i) => BURST - 1 - i),
      );
    },
  );

  test.each([
    [2, 512],
    [3, 341],
    [16, 64],
    [1, 1_024],
  ])('under %i limits each make script calls of at most %i entries', (limits, entries) => {
    const each = Array.from({ length: limits }, (_, i) =>
      tokenBucket({ name: `l${i}`, rate: BURST, period: '365d' }),
    );
    const shape = new LimitSet('batching', each, false).shape('allow', 1);
    const call = { key: 'user', shape } as Call;
    const calls = Array.from({ length: 1_100 }, () => call);
    expect(encodeCalls(calls, 0).taken).toBe(entries);
    expect(encodeCalls(calls, 1_099).taken).toBe(1);
  });

  test.each<[string, () => Limit, Verb, number]>([
    ['a bucket, up to so many units', () => tokenBucket({ rate: 5, period: '1m' }), 'up_to', 170],
    ['a bucket, penalties', () => tokenBucket({ rate: 5, period: '1m' }), 'penalize', 170],
    ['a sliding window', () => slidingWindow({ rate: 5, period: '1m' }), 'allow', 512],
    ['a small log', () => slidingWindowLog({ rate: 5, period: '1m' }), 'allow', 504],
    ['a great log', () => slidingWindowLog({ rate: 10_000, period: '1m' }), 'allow', 477],
    [
      'a great log, penalties',
      () => slidingWindowLog({ rate: 10_000, period: '1m' }),
      'penalize',
      12,
    ],
    ['a log, refunds', () => slidingWindowLog({ rate: 10_000, period: '1m' }), 'refund', 1],
  ])('of one identity under %s make short script calls', (_, limit, verb, entries) => {
    const shape = new LimitSet('batching', [limit()], false).shape(verb, 1);
    const calls = Array.from({ length: 1_100 }, () => ({ key: 'user', shape }) as Call);
    expect(encodeCalls(calls, 0).taken).toBe(entries);
    expect(encodeCalls(calls, 1_099).taken).toBe(1);
  });

  test('of two limiters on one client share a script call, in the order made', async () => {
    const redis = new FakeRedis();
    const [one, other] = [limiterOn(redis, 'one'), limiterOn(redis, 'other', 500_000)];
    await many(6, (i) => (i % 2 === 0 ? one : other).allow(`user:${i}`));
    expect(redis.sends).toHaveLength(1);
    expect(redis.sends[0]!.keys.map((key) => key.split(':')[0])).toEqual([
      'one',
      'other',
      'one',
      'other',
      'one',
      'other',
    ]);
  });

  test('limiters on separate clients do not share a call', async () => {
    const [one, other] = [new FakeRedis(), new FakeRedis()];
    await Promise.all([limiterOn(one).allow('user'), limiterOn(other).allow('user')]);
    expect([one.sends.length, other.sends.length]).toEqual([1, 1]);
  });

  test('in the order allow, reset, allow each see the effects of those before', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis, 'order', 1);
    const [first, refused, , again, refusedAgain] = await Promise.all([
      limiter.allow('user'),
      limiter.allow('user'),
      limiter.reset('user'),
      limiter.allow('user'),
      limiter.allow('user'),
    ]);
    expect([first, refused, again, refusedAgain].map(({ allowed }) => allowed)).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(redis.sends).toHaveLength(1);
  });

  test('keep order and answers across mixed costs, verbs and identities', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis, 'mixed', 100);
    const decisions = await many(60, (i) =>
      limiter[i % 5 === 4 ? 'peek' : 'allow'](`user:${i % 3}`, { cost: 1 + (i % 4) }),
    );
    const left = [100, 100, 100];
    const expected = Array.from({ length: 60 }, (_, i) => {
      if (i % 5 !== 4) left[i % 3]! -= 1 + (i % 4);
      return left[i % 3];
    });
    expect(decisions.map(({ remaining }) => remaining)).toEqual(expected);
    expect(redis.sends).toHaveLength(1);
  });
});

describe('the encoded calls', () => {
  test('have one shape and one run for equal calls, as keys alone', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis);
    await many(100, (i) => limiter.allow(`user:${i}`));
    const [send] = redis.sends;
    expect(send!.args).toEqual([expect.stringMatching(/^(?:\d+ ){8}1$/)]);
    expect(send!.keys).toHaveLength(100);
  });

  test('have one shape per different call, and one run per stretch of a shape', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis);
    await many(100, (i) => limiter[i < 60 ? 'allow' : 'peek'](`user:${i}`));
    const [send] = redis.sends;
    const plan = ['1', '0', '1', '=t', 'token_bucket', ...send!.args.slice(10, 18)];
    const [allow, peek] = ['allow', 'peek'].map((verb) => [verb, '1', '0', '1', ...plan]);
    const runs = ['1', '60', '1', '2', '40', '1'];
    expect(send!.args).toEqual(['2', ...allow!, ...peek!, ...runs]);
  });

  test('have keys of namespace, algorithm and SHA-256, and no raw identity', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis, 'myapp');
    await limiter.allow('user:12345');
    const [send] = redis.sends;
    const digest = createHash('sha256').update('user:12345').digest('hex');
    expect(send!.keys).toEqual([`myapp:token_bucket:${digest}`]);
    expect(JSON.stringify(send)).not.toContain('user');
  });

  test('have one shape for call-time limits given as one array', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis);
    const own = [tokenBucket({ rate: 5, period: '1h' })];
    await many(50, (i) => limiter.allow(`user:${i}`, { limits: own }));
    const { args } = redis.sends[0]!;
    expect(args.filter((arg) => arg === 'token_bucket')).toHaveLength(1);
    expect(args.slice(-3)).toEqual(['1', '50', '1']);
    expect(redis.sends[0]!.keys).toHaveLength(50);
  });

  test('wait for the end of the turn while another call is in flight', async () => {
    const redis = new FakeRedis();
    const limiter = limiterOn(redis);
    const first = limiter.allow('a');
    await Promise.resolve();
    const rest = many(9, async (i) => {
      await Promise.resolve();
      return limiter.allow(`b${i}`);
    });
    await Promise.all([first, rest]);
    expect(redis.sends.length).toBeLessThanOrEqual(2);
    expect(redis.sends.reduce((sum, send) => sum + entriesOf(send), 0)).toBe(10);
  });
});
