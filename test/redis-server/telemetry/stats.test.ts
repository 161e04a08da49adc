import {
  concurrency,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { RateLimiterOptions } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { liveLimiters, liveStores, StatsRegistry } from '../../../src/observe/stats-registry.ts';
import { waitUntil } from '../../kit/servers/index.mjs';
import { ReplyError } from '../../kit/fakes/fake-client.ts';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

const embedded = (options: object): RateLimiter =>
  new RateLimiter({ store: new MemoryStore(), ...options } as RateLimiterOptions);

describe('decisions', () => {
  test('every counter starts at 0', () => {
    expect(embedded({ rate: 5, period: '1h', namespace: 'api' }).stats()).toEqual({
      namespace: 'api',
      decisions: {
        allowed: {
          within_limit: 0,
          unlimited: 0,
          store_timeout: 0,
          store_away: 0,
          store_error: 0,
          overloaded: 0,
        },
        refused: { limited: 0, blocked: 0, impossible: 0 },
        rejected: {},
      },
      sources: { store: 0, slice: 0, deny_cache: 0, none: 0 },
      limits: { default: { allowed: 0, refused: 0, shadowRefused: 0, nearLimit: 0 } },
    });
  });

  test('each deciding verb counts one decision, and other verbs count none', async () => {
    const limiter = embedded({ rate: 10, period: '1h', blocks: true });
    const decision = await limiter.allow('a'); // allowed
    await limiter.allowUpTo('a', 3); // allowed
    await limiter.wait('a'); // allowed
    const reservation = await limiter.reserve('a', { cost: 1, ttl: '1m' }); // allowed
    await limiter.allow('a', { cost: 10 }); // limited
    await limiter.allow('a', { cost: 11 }); // impossible
    await limiter.reserve('a', { cost: 11, ttl: '1m' }); // impossible
    await limiter.block('b', '1m');
    await limiter.allow('b'); // blocked

    await limiter.peek('a', { cost: 11 });
    await limiter.peek('a');
    await limiter.penalize('a', 1);
    await limiter.refund(decision);
    await reservation.settle(2);
    await limiter.unblock('b');
    await limiter.reset('a');
    await limiter.ready();
    expect(limiter.stats().sources).toEqual({ store: 6, slice: 0, deny_cache: 0, none: 2 });

    const { decisions, limits } = limiter.stats();
    expect(decisions.allowed).toMatchObject({ within_limit: 4 });
    expect(decisions.refused).toEqual({ limited: 1, blocked: 1, impossible: 2 });
    // The blocked call passed its rate limit, so that limit did not refuse it.
    expect(limits).toEqual({
      default: { allowed: 5, refused: 1, shadowRefused: 0, nearLimit: 0 },
    });
  });

  test('several limits each count their own decisions', async () => {
    const limiter = embedded({
      limits: [
        tokenBucket({ rate: 2, period: '1h' }),
        tokenBucket({ name: 'wide', rate: 100, period: '1h' }),
        slidingWindow({ name: 'trial', rate: 1, period: '1h', shadow: true }),
      ],
    });
    for (let i = 0; i < 3; i++) await limiter.allow('a');
    expect(limiter.stats().decisions.refused).toMatchObject({ limited: 1 });
    expect(limiter.stats().limits).toEqual({
      default: { allowed: 2, refused: 1, shadowRefused: 0, nearLimit: 1 },
      wide: { allowed: 3, refused: 0, shadowRefused: 0, nearLimit: 0 },
      trial: { allowed: 1, refused: 0, shadowRefused: 2, nearLimit: 1 },
    });
  });

  test('near the limit means at most 20 % left after a call that passed', async () => {
    const limiter = embedded({ rate: 10, period: '1h' });
    const near: number[] = [];
    for (let i = 0; i < 11; i++) {
      await limiter.allow('a');
      near.push(limiter.stats().limits['default']!.nearLimit);
    }
    // The eighth call leaves two of ten units; the eleventh is refused.
    expect(near).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3]);
  });

  test.each([
    ['open', 'allowed'],
    ['closed', 'refused'],
    ['throw', 'rejected'],
  ] as const)(
    'a degraded decision under failStrategy %s counts as %s',
    async (failStrategy, outcome) => {
      const redis = new FakeRedis('away');
      const limiter = new RateLimiter({
        redis,
        rate: 5,
        period: '1h',
        failStrategy,
        maxInFlight: 1,
      });
      const ask = () => limiter.allow('a').catch(() => {});
      await ask();
      await limiter.peek('a').catch(() => {});
      await limiter.reset('a').catch(() => {});
      redis.become('ready');
      redis.respond = () => Promise.reject(new ReplyError('OOM'));
      await Promise.all([ask(), ask()]);
      expect(limiter.stats().decisions[outcome]).toMatchObject({
        store_away: 1,
        store_error: 1,
        overloaded: 1,
        store_timeout: 0,
      });
    },
  );

  test('limits given with calls are counted by name, and as one beyond 100 names', async () => {
    const limiter = embedded({ rate: 5, period: '1h' });
    for (let i = 0; i < 150; i++) {
      await limiter.allow(`user-${i}`, {
        limits: [tokenBucket({ name: `plan-${i}`, rate: 1, period: '1h' })],
      });
    }
    const { limits } = limiter.stats();
    expect(Object.keys(limits)).toHaveLength(101);
    expect(limits['plan-98']).toMatchObject({ allowed: 1 });
    expect(limits['other']).toMatchObject({ allowed: 51 });
  });

  test('a limit may be called __proto__', async () => {
    const limiter = embedded({
      limits: [tokenBucket({ name: '__proto__', rate: 1, period: '1h' })],
    });
    await limiter.allow('a');
    expect(Object.entries(limiter.stats().limits)).toEqual([
      ['__proto__', { allowed: 1, refused: 0, shadowRefused: 0, nearLimit: 1 }],
    ]);
  });

  test('a read result is frozen and never changes', async () => {
    const limiter = embedded({ rate: 5, period: '1h' });
    const before = limiter.stats();
    await limiter.allow('a');
    expect(before.decisions.allowed.within_limit).toBe(0);
    for (const part of [before, before.decisions, before.decisions.allowed, before.limits]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
    expect(Object.isFrozen(before.limits['default'])).toBe(true);
  });
});

describe('leases', () => {
  afterEach(() => {
    vi.useRealTimers();
  });
  const clock = new ManualClock();
  const lending = () =>
    new RateLimiter({
      store: new MemoryStore({ clock }),
      limits: [
        concurrency({ max: 3, ttl: '10s' }),
        concurrency({ name: 'trial', max: 1, ttl: '10s', shadow: true }),
        tokenBucket({ name: 'rate', rate: 100, period: '1h' }),
      ],
    });
  const held = (limiter: RateLimiter) =>
    Object.entries(limiter.stats().limits).map(([name, { leasesHeld }]) => [name, leasesHeld]);

  test('are held from acquire to release, under enforced concurrency limits', async () => {
    const limiter = lending();
    const [one, two] = [await limiter.acquire('a'), await limiter.acquire('a')];
    expect(held(limiter)).toEqual([
      ['default', 2],
      ['trial', 0],
      ['rate', undefined],
    ]);
    await one.release();
    await one.release();
    expect(held(limiter)[0]).toEqual(['default', 1]);
    await two.release();
    expect(held(limiter)[0]).toEqual(['default', 0]);
    await limiter.acquire('a');
    await limiter.acquire('a');
    await limiter.acquire('a');
    expect(await limiter.acquire('a')).toMatchObject({ allowed: false });
    expect(held(limiter)[0]).toEqual(['default', 3]);
  });

  test('stop counting after their ttl, or later when renewed', async () => {
    const limiter = lending();
    await limiter.acquire('a');
    const renewed = await limiter.acquire('b');
    clock.advance('6s');
    expect(await renewed.renew()).toBe(true);
    clock.advance('5s');
    expect(held(limiter)[0]).toEqual(['default', 1]);
    clock.advance('6s');
    expect(held(limiter)[0]).toEqual(['default', 0]);
  });
});

describe('the stats of a process', () => {
  test('sum limiters of one namespace, and never decrease while one of them lives', async () => {
    const [one, two] = [1, 2].map(() => embedded({ namespace: 'sum', rate: 5, period: '1h' }));
    await Promise.all([one!.allow('a'), two!.allow('a'), two!.allow('a')]);
    const allowed = () => liveLimiters.read().get('sum')?.decisions.allowed.within_limit;
    expect(allowed()).toBe(3);
    await two!.close();
    expect(allowed()).toBe(3);
    await one!.close();
    expect(allowed()).toBeUndefined();
    // Its owner can still read its stats.
    expect(two!.stats().decisions.allowed.within_limit).toBe(2);
  });

  test('count no lease of a closed limiter', async () => {
    const options = { namespace: 'closed', limits: [concurrency({ max: 3, ttl: '1h' })] };
    const [one, two] = [embedded(options), embedded(options)];
    await Promise.all([one.acquire('a'), two.acquire('a')]);
    await one.close();
    expect(liveLimiters.read().get('closed')?.limits['default']).toEqual({
      allowed: 2,
      refused: 0,
      shadowRefused: 0,
      nearLimit: 0,
      leasesHeld: 1,
    });
    await two.close();
  });

  test('sum all names beyond 100 as one', () => {
    const live = new StatsRegistry<number>(
      (a, b) => a + b,
      (stats) => stats,
    );
    const ends = Array.from({ length: 150 }, (_, i) =>
      live.register({}, `n${i}`, { stats: () => 1 }),
    );
    expect(live.read().size).toBe(101);
    expect(live.read().get('other')).toBe(50);
    for (const end of ends) end();
    expect(live.read().size).toBe(0);
  });

  test('name a connection by its address, never with a password', async () => {
    const limiter = new RateLimiter({
      redis: 'redis://user:secret@127.0.0.1:1/3',
      rate: 5,
      period: '1h',
      // Waits until the connection is refused, however busy the machine.
      timeoutMs: 10_000,
    });
    await limiter.allow('a');
    expect([...liveStores.read().keys()]).toContain('127.0.0.1:1');
    expect(liveStores.read().get('127.0.0.1:1')?.nodes).toEqual({ '': 'away' });
    await limiter.close();
    expect([...liveStores.read().keys()]).not.toContain('127.0.0.1:1');
  });
});

test('keep no limiter from being garbage-collected, with or without leases', async () => {
  /** In a function of its own, so that the stack holds no reference to it. */
  const forgotten = await (async () => {
    const limiter = new RateLimiter({
      redis: new FakeRedis('away'),
      namespace: 'forgotten-redis',
      rate: 5,
      period: '1h',
    });
    await limiter.allow('a');
    const lending = embedded({
      namespace: 'forgotten',
      limits: [concurrency({ max: 3, ttl: '1h' })],
    });
    await lending.acquire('a');
    return [new WeakRef(limiter), new WeakRef(lending)];
  })();
  expect([...liveLimiters.read().keys()]).toEqual(
    expect.arrayContaining(['forgotten', 'forgotten-redis']),
  );
  await waitUntil('them to be collected', () => {
    collectGarbage();
    return (
      forgotten.every((ref) => ref.deref() === undefined) &&
      [...liveLimiters.read().keys()].every((name) => !name.startsWith('forgotten'))
    );
  });
});
