import { expectTypeOf, test } from 'vitest';
import type { Decision, Identity, RedisPort, StoreError } from 'distributed-rate-limiter';
import { MemoryStore, tokenBucket } from 'distributed-rate-limiter';
import { RateLimiterSync } from 'distributed-rate-limiter/sync';
import type { RateLimiterSyncOptions } from 'distributed-rate-limiter/sync';

declare const port: RedisPort;
const redis = 'redis://localhost:6379';

test('answers are returned without a promise', () => {
  const limiter = new RateLimiterSync({ redis, rate: 5, period: '1m' });
  expectTypeOf(limiter.allow('user')).toEqualTypeOf<Decision<never>>();
  expectTypeOf(limiter.peek(['org', 'user'], { cost: 2 })).toEqualTypeOf<Decision<never>>();
  expectTypeOf(limiter.reset('user')).toEqualTypeOf<void>();
  expectTypeOf(limiter.close()).toEqualTypeOf<void>();
  expectTypeOf(limiter).toExtend<Disposable>();
  // @ts-expect-error a call brings no limits
  limiter.allow('user', { limits: [] });
});

test('redis accepts an environment variable as it is', () => {
  const url = process.env['REDIS_URL'];
  expectTypeOf(url).toEqualTypeOf<string | undefined>();
  void new RateLimiterSync({ redis: url, rate: 5, period: '1m' });
  // @ts-expect-error left out
  void new RateLimiterSync({ rate: 5, period: '1m' });
});

test('accepts plain options', () => {
  void new RateLimiterSync({
    redis,
    cluster: true,
    algorithm: 'fixed_window',
    rate: 5,
    period: 'month',
    timeZone: 'Europe/Berlin',
    anchor: '2026-01-15',
    namespace: 'a',
    blocks: true,
    failStrategy: 'throw',
    timeoutMs: 100,
    hashSecret: new Uint8Array(32),
    onAllow: (identity, decision) => {
      expectTypeOf(identity).toEqualTypeOf<Identity>();
      expectTypeOf(decision).toEqualTypeOf<Decision>();
    },
    onError: (error) => {
      expectTypeOf(error).toEqualTypeOf<StoreError>();
    },
  });
  void new RateLimiterSync({
    redis,
    limits: [
      { name: 'burst', rate: 5, period: '1s', burst: 1, shadow: true },
      { algorithm: 'sliding_window_log', rate: 5, period: '1h' },
      { name: 'places', algorithm: 'concurrency', max: 5, ttl: '1m' },
    ],
  });
  void new RateLimiterSync({ redis, algorithm: 'concurrency', max: 5, ttl: '1m' });
  // @ts-expect-error a rate of what
  void new RateLimiterSync({ redis, rate: 5 });
  // @ts-expect-error a sliding window has no burst
  void new RateLimiterSync({ redis, algorithm: 'sliding_window', rate: 5, period: '1m', burst: 5 });
  // @ts-expect-error a made limit cannot go to another thread
  void new RateLimiterSync({ redis, limits: [tokenBucket({ rate: 5, period: '1m' })] });
  // @ts-expect-error a client cannot go to another thread
  void new RateLimiterSync({ redis: port, rate: 5, period: '1m' });
  // @ts-expect-error a store cannot go to another thread
  void new RateLimiterSync({ store: new MemoryStore(), rate: 5, period: '1m' });
  // @ts-expect-error there is one call at a time
  void new RateLimiterSync({ redis, rate: 5, period: '1m', maxInFlight: 5 });
  expectTypeOf<RateLimiterSyncOptions['redis']>().toEqualTypeOf<string | undefined>();
});

test('identities and costs are those of the limits', () => {
  const limits = [
    { name: 'files', by: ['team', 'user'], rate: 5, period: '1h' },
    { name: 'volume', algorithm: 'fixed_window', by: 'team', unit: 'bytes', rate: 5, period: '1d' },
  ] as const;
  const limiter = new RateLimiterSync({ redis, limits });
  expectTypeOf(limiter).toEqualTypeOf<RateLimiterSync<'team' | 'user', 'bytes'>>();
  expectTypeOf(
    new RateLimiterSync({
      redis,
      limits: [
        { by: ['team', 'user'], rate: 5, period: '1h' },
        { name: 'all', by: [], unit: 'bytes', algorithm: 'sliding_window', rate: 5, period: '1h' },
        { name: 'places', by: 'team', algorithm: 'concurrency', max: 5, ttl: '1m' },
      ],
    }),
  ).toEqualTypeOf<RateLimiterSync<'team' | 'user', 'bytes'>>();
  const both = { team: 'docs', user: 5 };
  expectTypeOf(limiter.allow(both, { cost: { bytes: 5 } })).toEqualTypeOf<Decision<'bytes'>>();
  limiter.peek({ team: 'docs', user: null }, { cost: 0 });
  limiter.reset({ team: 'docs' });
  // @ts-expect-error a part is missing
  limiter.allow({ team: 'docs' });
  // @ts-expect-error a part is undefined
  limiter.peek({ team: 'docs', user: undefined });
  // @ts-expect-error no limit counts by this part
  limiter.allow({ ...both, ip: '::1' });
  // @ts-expect-error it is not named which part it is
  limiter.allow('docs');
  // @ts-expect-error no limit counts by this part
  limiter.reset({ ip: '::1' });
  // @ts-expect-error an unknown unit
  limiter.allow(both, { cost: { byte: 5 } });
  // @ts-expect-error a number where units are named
  limiter.allow(both, { cost: 5 });
  const whole = new RateLimiterSync({ redis, rate: 5, period: '1m' });
  expectTypeOf(whole).toEqualTypeOf<RateLimiterSync>();
  // @ts-expect-error no limit counts by a part
  whole.allow({ team: 'docs' });
  // @ts-expect-error names where no limit has a unit
  whole.allow('docs', { cost: { calls: 5 } });
});
