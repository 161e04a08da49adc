import { expectTypeOf, test } from 'vitest';
import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type {
  CallOptions,
  Decision,
  Duration,
  HeardRefusal,
  Identity,
  Limit,
  RateLimiterOptions,
  RedisPort,
  StoreError,
  Weekday,
} from 'distributed-rate-limiter';
import { ManualClock, storeContract } from 'distributed-rate-limiter/testing';
import type { ContractCase } from 'distributed-rate-limiter/testing';

const store = new MemoryStore();
const redis = 'redis://localhost:6379';
declare const port: RedisPort;
declare const text: string;

test('accepts the options that the README shows', () => {
  void new RateLimiter({
    redis,
    rate: 100,
    period: '1m',
    burst: 20,
    namespace: 'myapp',
    failStrategy: 'open',
    onAllow: (identity, decision) => {
      expectTypeOf(identity).toEqualTypeOf<Identity>();
      expectTypeOf(decision).toEqualTypeOf<Decision>();
    },
    onBlock: (identity, decision) => {
      expectTypeOf(identity).toEqualTypeOf<Identity>();
      expectTypeOf(decision).toEqualTypeOf<HeardRefusal>();
      expectTypeOf(decision).toExtend<Decision>();
      expectTypeOf(decision.repeated).toEqualTypeOf<boolean>();
    },
    onError: (error) => {
      expectTypeOf(error).toEqualTypeOf<StoreError>();
    },
  });
  void new RateLimiter({
    redis: port,
    namespace: 'api',
    limits: [
      tokenBucket({ name: 'burst', rate: 10, period: '1s' }),
      tokenBucket({ name: 'hourly', rate: 1_000, period: '1h' }),
    ],
  });
  void new RateLimiter({ store, rate: 5, period: '10s' });
  void new RateLimiter({
    store: new MemoryStore({ clock: new ManualClock() }),
    rate: 5,
    period: 60,
  });
  void new RateLimiter({
    redis: 'redis://node',
    cluster: true,
    rate: 5,
    period: '1h',
    timeoutMs: 100,
  });
  void new RateLimiter({ redis, rate: 5, period: '1h', hashSecret: new Uint8Array(32) });
});

test('requires either redis or store', () => {
  expectTypeOf<{ rate: number; period: '1m' }>().not.toExtend<RateLimiterOptions>();
  // @ts-expect-error neither
  void new RateLimiter({ rate: 5, period: '1m' });
  // @ts-expect-error both
  void new RateLimiter({ redis, store, rate: 5, period: '1m' });
  // @ts-expect-error the bounds of calls concern Redis
  void new RateLimiter({ store, rate: 5, period: '1m', timeoutMs: 100 });
  // @ts-expect-error the bounds of calls concern Redis
  void new RateLimiter({ store, rate: 5, period: '1m', maxInFlight: 100 });
  void new RateLimiter({ store, rate: 5, period: '1m', cluster: { tags: 16 } });
  void new RateLimiter({ redis: 'redis://h', rate: 5, period: '1m', cluster: { tags: 256 } });
  // @ts-expect-error there are 16, 64 or 256 tags
  void new RateLimiter({ redis: 'redis://h', rate: 5, period: '1m', cluster: { tags: 32 } });
  // @ts-expect-error tags are not left out of the object
  void new RateLimiter({ redis: 'redis://h', rate: 5, period: '1m', cluster: { enabled: true } });
  // @ts-expect-error a memory store is no cluster
  void new RateLimiter({ store, rate: 5, period: '1m', cluster: true });
  // @ts-expect-error no store of ours
  void new RateLimiter({ store: new Map(), rate: 5, period: '1m' });
  // @ts-expect-error the class, not a store
  void new RateLimiter({ store: MemoryStore, rate: 5, period: '1m' });
  // @ts-expect-error a shape that looks like one is not one
  void new RateLimiter({ store: { size: 0 }, rate: 5, period: '1m' });
  // @ts-expect-error options of a client are no client
  void new RateLimiter({ redis: { host: 'localhost', port: 6379 }, rate: 5, period: '1m' });
  // @ts-expect-error a promise of a client is no client
  void new RateLimiter({ redis: Promise.resolve(port), rate: 5, period: '1m' });
  // @ts-expect-error a URL is a string here
  void new RateLimiter({ redis: new URL(redis), rate: 5, period: '1m' });
  // @ts-expect-error null is no URL
  void new RateLimiter({ redis: null, rate: 5, period: '1m' });
});

test('redis accepts an environment variable as it is', () => {
  const url = process.env['REDIS_URL'];
  expectTypeOf(url).toEqualTypeOf<string | undefined>();
  void new RateLimiter({ redis: url, rate: 5, period: '1m' });
  void new RateLimiter({ redis: url, algorithm: 'fixed_window', rate: 5, period: 'day' });
  void new RateLimiter({ redis: url, limits: [tokenBucket({ rate: 5, period: '1m' })] });
  // @ts-expect-error beside a store
  void new RateLimiter({ redis: url, store, rate: 5, period: '1m' });
});

test('requires either limits or rate', () => {
  expectTypeOf<{ redis: string }>().not.toExtend<RateLimiterOptions>();
  const limits = [tokenBucket({ rate: 5, period: '1m' })] as const;
  void new RateLimiter({ store, limits });
  // @ts-expect-error no numbers at all
  void new RateLimiter({ store });
  // @ts-expect-error half of them
  void new RateLimiter({ store, rate: 5 });
  // @ts-expect-error the other half
  void new RateLimiter({ store, period: '1m' });
  // @ts-expect-error both
  void new RateLimiter({ store, limits, rate: 5, period: '1m' });
  // @ts-expect-error both
  void new RateLimiter({ store, limits, burst: 5 });
  // @ts-expect-error the limits have their algorithms
  void new RateLimiter({ store, limits, algorithm: 'token_bucket' });
  // @ts-expect-error plain objects are no limits
  void new RateLimiter({ store, limits: [{ rate: 5, period: '1m' }] });
  // @ts-expect-error one limit is no array
  void new RateLimiter({ store, limits: limits[0] });
  // @ts-expect-error the one limit of a limiter has no name
  void new RateLimiter({ store, rate: 5, period: '1m', name: 'a' });
});

test('checks names and values of options', () => {
  expectTypeOf<RateLimiterOptions['failStrategy']>().toEqualTypeOf<
    'open' | 'closed' | 'throw' | undefined
  >();
  // @ts-expect-error misspelt
  void new RateLimiter({ store, rate: 5, peroid: '1m' });
  // @ts-expect-error misspelt
  void new RateLimiter({ store, rate: 5, period: '1m', failstrategy: 'open' });
  // @ts-expect-error of another library
  void new RateLimiter({ store, max: 5, windowMs: 60_000 });
  // @ts-expect-error of another library
  void new RateLimiter({ store, rate: 5, period: '1m', keyPrefix: 'x' });
  // @ts-expect-error no such strategy
  void new RateLimiter({ store, rate: 5, period: '1m', failStrategy: 'retry' });
  // @ts-expect-error no such algorithm
  void new RateLimiter({ store, rate: 5, period: '1m', algorithm: 'leaky' });
  // @ts-expect-error a number, not a text
  void new RateLimiter({ store, rate: '5', period: '1m' });
  // @ts-expect-error a function
  void new RateLimiter({ store, rate: 5, period: '1m', onAllow: 'log' });
  // @ts-expect-error a hook gets a StoreError
  void new RateLimiter({ store, rate: 5, period: '1m', onError: (error: string) => error });
  // @ts-expect-error null is not absent
  void new RateLimiter({ store, rate: 5, period: '1m', burst: null });
});

test('checks durations', () => {
  expectTypeOf<'250ms'>().toExtend<Duration>();
  expectTypeOf<'10s'>().toExtend<Duration>();
  expectTypeOf<'1m'>().toExtend<Duration>();
  expectTypeOf<'1h'>().toExtend<Duration>();
  expectTypeOf<'366d'>().toExtend<Duration>();
  expectTypeOf<`${number}s`>().toExtend<Duration>();
  expectTypeOf<'1x'>().not.toExtend<Duration>();
  expectTypeOf<'m'>().not.toExtend<Duration>();
  expectTypeOf<'60'>().not.toExtend<Duration>();
  expectTypeOf<'1min'>().not.toExtend<Duration>();
  expectTypeOf<'one m'>().not.toExtend<Duration>();
  expectTypeOf<string>().not.toExtend<Duration>();
  // @ts-expect-error no unit of ours
  tokenBucket({ rate: 5, period: '1x' });
  // @ts-expect-error any text is too little
  tokenBucket({ rate: 5, period: text });
  tokenBucket({ rate: 5, period: 60 });
});

test('checks limits', () => {
  expectTypeOf(tokenBucket({ rate: 5, period: '1m' })).toEqualTypeOf<Limit>();
  // @ts-expect-error a limit cannot be changed
  tokenBucket({ rate: 5, period: '1m' }).name = 'b';
  // @ts-expect-error a limit is made, not written
  const written: Limit = {
    algorithm: 'token_bucket',
    name: 'a',
    shadow: false,
    maxDebt: 0,
    capacity: 1,
  };
  void written;
  expectTypeOf<{ limits: Limit[] }>().toExtend<CallOptions>();
});

test('options can be named and passed on', () => {
  expectTypeOf<{ redis: string; rate: number; period: '1m' }>().toExtend<RateLimiterOptions>();
  const options: RateLimiterOptions = { redis, rate: 100, period: '1m' };
  void new RateLimiter(options);
  void new RateLimiter({ ...options, namespace: 'other' });
});

test('the contract accepts a factory that adds only the store', () => {
  const contract = storeContract({
    makeLimiter: (options) => new RateLimiter({ ...options, store }),
    advance: () => {},
  });
  expectTypeOf(contract).toEqualTypeOf<readonly ContractCase[]>();
  storeContract({
    makeLimiter: (options) => new RateLimiter({ ...options, redis, cluster: true, timeoutMs: 5 }),
    advance: async () => {},
  });
});

test('fixed windows accept the start of their week or month, and other limits do not', () => {
  void new RateLimiter({
    store,
    algorithm: 'fixed_window',
    rate: 5,
    period: 'month',
    anchor: '2026-01-15',
  });
  fixedWindow({ rate: 5, period: 'week', weekStart: 'sunday' });
  const day: Weekday = 'sunday';
  const weekly = fixedWindow({ rate: 5, period: 'week', weekStart: day });
  expectTypeOf(weekly).toEqualTypeOf<Limit>();
  // @ts-expect-error it is no day of the week
  fixedWindow({ rate: 5, period: 'week', weekStart: 'sun' });
  // @ts-expect-error a Date has no date without a time zone
  fixedWindow({ rate: 5, period: 'month', anchor: new Date() });
  // @ts-expect-error a token bucket has no calendar
  void new RateLimiter({ store, rate: 5, period: '1m', anchor: '2026-01-15' });
  // @ts-expect-error nor has a sliding window
  slidingWindow({ rate: 5, period: '1m', weekStart: 'sunday' });
});
