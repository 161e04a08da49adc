import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';

const ALGORITHMS = { tokenBucket, slidingWindow, slidingWindowLog, fixedWindow };
const NUMBERS = { rate: 10, period: '1h', maxDebt: 5 } as const;

function limiterOf(limits: readonly Limit[], blocks = false, clock = new ManualClock(0)) {
  return new RateLimiter({ store: new MemoryStore({ clock }), limits, blocks });
}

describe.each(Object.entries(ALGORITHMS))('under %s, `used`', (_, make) => {
  test('is `limit - remaining`, for passed, peeked and refused calls', async () => {
    const limiter = limiterOf([make(NUMBERS)]);
    expect(await limiter.peek('id')).toMatchObject({ used: 0, remaining: 10 });
    expect(await limiter.allow('id', { cost: 4 })).toMatchObject({ used: 4, remaining: 6 });
    const refused = await limiter.allow('id', { cost: 7 });
    expect(refused).toMatchObject({ reason: 'limited', used: 4, remaining: 6 });
    expect(refused.limits[0]).toMatchObject({ used: 4, limit: 10 });
    expect(await limiter.allowUpTo('id', 9)).toMatchObject({ granted: 6, used: 10, remaining: 0 });
  });

  test('counts owed units beyond the limit', async () => {
    const limiter = limiterOf([make(NUMBERS)]);
    await limiter.allow('id', { cost: 10 });
    expect(await limiter.penalize('id', 3)).toMatchObject({ used: 13, remaining: 0 });
    expect((await limiter.allow('id')).limits[0]).toMatchObject({ used: 13, refused: true });
  });
});

test('a unit that has recovered in part still counts', async () => {
  const clock = new ManualClock(0);
  for (const rate of [10, 7_000]) {
    const limiter = limiterOf([tokenBucket({ ...NUMBERS, rate, burst: 10 })], false, clock);
    await limiter.allow('id', { cost: 10 });
    await limiter.penalize('id', 3);
    const { resetAfterMs = 0 } = await limiter.peek('id');
    const unitMs = 3_600_000 / rate;
    for (const [units, used] of [
      [0.5, 13],
      [1.5, 12],
      [2.5, 11],
      [3.5, 10],
    ] as const) {
      clock.set(Math.round(resetAfterMs - (13 - units) * unitMs));
      expect((await limiter.peek('id')).used, `${units} recovered`).toBe(used);
    }
    clock.set(0);
  }
});

test('counts the places that leases hold', async () => {
  const limiter = limiterOf([concurrency({ max: 2, ttl: '1m' })]);
  await limiter.acquire('id');
  expect(await limiter.acquire('id')).toMatchObject({ used: 2, remaining: 0 });
  const lowered = [concurrency({ max: 1, ttl: '1m' })];
  expect(await limiter.peek('id', { limits: lowered })).toMatchObject({ used: 2, limit: 1 });
});

test('speaks of the same limit as `limitName`', async () => {
  const limiter = limiterOf([
    fixedWindow({ name: 'hour', rate: 100, period: '1h' }),
    fixedWindow({ name: 'minute', rate: 5, period: '1m' }),
    fixedWindow({ name: 'tried', rate: 1, period: '1m', shadow: true }),
  ]);
  const decision = await limiter.allow('id', { cost: 3 });
  expect(decision).toMatchObject({ limitName: 'minute', limit: 5, used: 3 });
  expect(decision.limits.map(({ used }) => used)).toEqual([3, 3, 0]);
});

test('tells what counts while the identity is blocked', async () => {
  const limiter = limiterOf([tokenBucket(NUMBERS)], true);
  await limiter.allow('id', { cost: 2 });
  await limiter.block('id', '1m');
  expect(await limiter.allow('id')).toMatchObject({ reason: 'blocked', used: 2, remaining: 0 });
});

test('is undefined where no limit is enforced or the store was not asked', async () => {
  const limiter = limiterOf([tokenBucket({ ...NUMBERS, shadow: true })]);
  const shadowed = await limiter.allow('id');
  expect([shadowed.used, shadowed.limits[0]?.used]).toEqual([undefined, 1]);
  expect((await limiter.allow('id', { limits: [] })).used).toBeUndefined();
  const impossible = await limiterOf([tokenBucket(NUMBERS)]).allow('id', { cost: 11 });
  expect([impossible.used, impossible.limits[0]?.used]).toEqual([undefined, undefined]);
  const away = new RateLimiter({ redis: new FakeRedis('away'), rate: 10, period: '1h' });
  expect((await away.allow('id')).used).toBeUndefined();
});
