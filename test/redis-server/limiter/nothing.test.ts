import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());
beforeEach(() => redis.command('FLUSHALL'));

const HOUR = { period: '1h', maxDebt: 3 } as const;
const LIMITS: readonly (readonly [string, (rate: number) => Limit])[] = [
  ['token bucket', (rate) => tokenBucket({ rate, ...HOUR })],
  ['sliding window', (rate) => slidingWindow({ rate, ...HOUR })],
  ['sliding window log', (rate) => slidingWindowLog({ rate, ...HOUR })],
  ['fixed window', (rate) => fixedWindow({ rate, ...HOUR, period: '366d' })],
  ['calendar window', (rate) => fixedWindow({ rate, ...HOUR, period: 'year' })],
];

/** What a decision says apart from times, which pass. */
const factsOf = ({ allowed, reason, remaining, limits }: Decision) => [
  allowed,
  reason,
  remaining,
  limits.map(({ name, refused }) => [name, refused]),
];

/** The reasons among the facts of several decisions. */
const reasonsIn = (facts: unknown) => (facts as readonly unknown[][]).map(([, reason]) => reason);

/** Runs the same calls on Redis and in memory. */
async function onBoth(limits: readonly Limit[], run: (limiter: RateLimiter) => Promise<unknown>) {
  const common = { limits, failStrategy: 'throw', blocks: true } as const;
  const results: unknown[] = [];
  for (const limiter of [
    new RateLimiter({ redis: redis.url, timeoutMs: 10_000, ...common }),
    new RateLimiter({ store: new MemoryStore({ clock: new ManualClock() }), ...common }),
  ]) {
    results.push(await run(limiter));
    await limiter.close();
  }
  expect(results[0]).toEqual(results[1]);
  return results[0];
}

describe.each(LIMITS)('under a %s', (_, limit) => {
  test('a cost of 0 writes nothing on Redis, and is answered as in memory', async () => {
    await onBoth([limit(5)], async (limiter) => {
      const free = await limiter.allow('id', { cost: 0 });
      const facts = [
        free,
        await limiter.allowUpTo('id', 0),
        await limiter.penalize('id', 0),
        await limiter.refund(free),
      ].map(factsOf);
      expect((await redis.keyCounts()).keys).toBe(0);
      await limiter.allow('id', { cost: 5 });
      facts.push(factsOf(await limiter.allow('id', { cost: 0 })));
      await limiter.penalize('id', 1);
      facts.push(factsOf(await limiter.allow('id', { cost: 0 })));
      await limiter.reset('id');
      await redis.command('FLUSHALL');
      return facts;
    });
  });

  test('an estimate of 0 settles on Redis as in memory', async () => {
    const settled = await onBoth([limit(5)], async (limiter) => {
      const none = await limiter.reserve('id', { cost: 0, ttl: '1m' });
      const some = await limiter.reserve('id', { cost: 0, ttl: '1m' });
      const results = [
        await none.settle(0),
        await some.settle(2),
        factsOf(await limiter.peek('id')).slice(0, 3),
      ];
      await redis.command('FLUSHALL');
      return results;
    });
    expect(settled).toMatchObject([{ charged: 0 }, { charged: 2 }, [true, 'within_limit', 3]]);
  });

  test('a rate of 0 lets nothing pass but a cost of 0, and recovers from a debt', async () => {
    const told = await onBoth([limit(0)], async (limiter) => {
      const facts = [
        await limiter.allow('id'),
        await limiter.allowUpTo('id', 3),
        await limiter.allow('id', { cost: 0 }),
        await limiter.penalize('id', 2),
        await limiter.allow('id', { cost: 0 }),
      ].map(factsOf);
      await limiter.reset('id');
      facts.push(factsOf(await limiter.allow('id', { cost: 0 })));
      await redis.command('FLUSHALL');
      return facts;
    });
    const passes = 'within_limit';
    const refusals = ['impossible', 'impossible', passes, 'limited', 'limited', passes];
    expect(reasonsIn(told)).toEqual(refusals);
  });

  test('a shadow of rate 0 counts what it would refuse', async () => {
    const shadow = slidingWindow({ name: 'none', rate: 0, period: '1m', shadow: true });
    const facts = await onBoth([limit(5), shadow], async (limiter) =>
      factsOf(await limiter.allow('id')),
    );
    expect(reasonsIn([facts])).toEqual(['within_limit']);
  });

  test('a plan without limits checks only the block', async () => {
    const told = await onBoth([limit(5)], async (limiter) => {
      const plan = { limits: [] };
      const facts = [factsOf(await limiter.allow('id', plan))];
      expect((await redis.keyCounts()).keys).toBe(0);
      await limiter.block('id', '1h');
      facts.push(
        factsOf(await limiter.allow('id', plan)),
        factsOf(await limiter.allowUpTo('id', 3, plan)),
        factsOf(await limiter.reserve('id', { ttl: '1m', ...plan })),
      );
      await limiter.unblock('id');
      facts.push(factsOf(await limiter.acquire('id', plan)));
      return facts;
    });
    expect(reasonsIn(told)).toEqual(['unlimited', 'blocked', 'blocked', 'blocked', 'unlimited']);
  });
});

test('a lease of cost 0 takes its place on Redis as in memory', async () => {
  const limits = [
    tokenBucket({ name: 'a', rate: 1, period: '1h' }),
    concurrency({ name: 'places', max: 1, ttl: '1m' }),
  ];
  const told = await onBoth(limits, async (limiter) => {
    const lease = await limiter.acquire('id', { cost: 0 });
    const facts = [factsOf(lease), factsOf(await limiter.acquire('id', { cost: 0 }))];
    expect(await lease.release()).toBe(true);
    return [...facts, factsOf(await limiter.acquire('id'))];
  });
  expect(reasonsIn(told)).toEqual(['within_limit', 'limited', 'within_limit']);
});
