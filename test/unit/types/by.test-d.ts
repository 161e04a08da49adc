import { expectTypeOf, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type {
  CallOptions,
  CounterOf,
  Identity,
  IdentityParts,
  Limit,
  LimiterOf,
} from 'distributed-rate-limiter';

const store = new MemoryStore();
const numbers = { rate: 5, period: '1m' } as const;
declare const text: string;
declare const maybe: string | undefined;

const whole = new RateLimiter({ store, limits: [tokenBucket(numbers)] });
const parted = new RateLimiter({
  store,
  limits: [
    tokenBucket({ name: 'key', by: ['org', 'key'], ...numbers }),
    fixedWindow({ name: 'org', by: 'org', ...numbers }),
    slidingWindow({ name: 'all', by: [], ...numbers }),
  ],
  onAllow: (identity) => {
    expectTypeOf(identity.org).toEqualTypeOf<string | number | bigint | null>();
  },
});

test('a limit knows the parts that it counts by', () => {
  expectTypeOf(tokenBucket(numbers)).toEqualTypeOf<Limit>();
  expectTypeOf(tokenBucket({ by: 'org', ...numbers })).toEqualTypeOf<Limit<string, 'org'>>();
  expectTypeOf(slidingWindowLog({ by: ['org', 'ip'], ...numbers })).toEqualTypeOf<
    Limit<string, 'org' | 'ip'>
  >();
  expectTypeOf(concurrency({ by: 'ip', max: 1, ttl: '1s' })).toEqualTypeOf<Limit<string, 'ip'>>();
  // @ts-expect-error a part has a name
  tokenBucket({ by: 5, ...numbers });
});

test('a limiter takes the parts of its limits, all of them', () => {
  expectTypeOf(parted).toEqualTypeOf<RateLimiter<'org' | 'key'>>();
  void parted.allow({ org: 'acme', key: 5 });
  void parted.allow({ org: 'acme', key: null });
  void parted.peek({ org: 'acme', key: 5n }, { cost: 2 });
  // @ts-expect-error a part is missing
  void parted.allow({ org: 'acme' });
  // @ts-expect-error a part is undefined
  void parted.allow({ org: 'acme', key: undefined });
  // @ts-expect-error a part may be undefined
  void parted.wait({ org: 'acme', key: maybe });
  // @ts-expect-error no limit counts by this part
  void parted.reserve({ org: 'acme', key: 1, ip: '::1' }, { ttl: '1m' });
  // @ts-expect-error it is not named which part it is
  void parted.acquire('acme');
  // @ts-expect-error parts are named
  void parted.allowUpTo(['acme', 5], 5);
  // @ts-expect-error a part is one value
  void parted.allow({ org: ['acme'], key: 1 });
});

test('a counter is named by exactly its parts, which the types check one by one', () => {
  void parted.block({ org: 'acme' }, '15m');
  void parted.penalize({ org: 'acme', key: 1 }, 5);
  void parted.reset({});
  expectTypeOf(parted.block).parameter(0).toEqualTypeOf<CounterOf<'org' | 'key'>>();
  // @ts-expect-error no limit counts by this part
  void parted.reset({ ip: '::1' });
  // @ts-expect-error no counter is of nobody
  void parted.block({ org: null }, '15m');
  // @ts-expect-error it is not named which part it is
  void parted.unblock('acme');
});

test('a limiter without parts takes whole identities', () => {
  expectTypeOf(whole).toEqualTypeOf<RateLimiter>();
  void whole.allow('user');
  // @ts-expect-error no limit counts by a part
  void whole.allow({ org: 'acme' });
  const all = new RateLimiter({ store, limits: [tokenBucket({ by: [], ...numbers })] });
  void all.allow({});
});

test('limits of a call count by parts that the limiter has', () => {
  void parted.allow({ org: 1, key: 2 }, { limits: [tokenBucket({ by: 'org', ...numbers })] });
  void parted.allow({ org: 1, key: 2 }, { limits: [] });
  expectTypeOf<{ limits: Limit<string, 'org'>[] }>().toExtend<CallOptions<'org' | 'key'>>();
  // @ts-expect-error the limiter's limits do not count by this part
  void parted.allow({ org: 1, key: 2 }, { limits: [tokenBucket({ by: 'ip', ...numbers })] });
  // @ts-expect-error the limiter's identities are whole
  void whole.allow('user', { limits: [tokenBucket({ by: 'org', ...numbers })] });
});

test('a limiter with parts is not taken for one without, nor with others', () => {
  const limit = (limiter: RateLimiter): unknown => limiter.allow('user');
  // @ts-expect-error it needs parts
  limit(parted);
  expectTypeOf(whole).toExtend<RateLimiter>();
  const limitOrg = (limiter: RateLimiter<'org'>): unknown => limiter.allow({ org: 1 });
  // @ts-expect-error it needs another part
  limitOrg(parted);
  // @ts-expect-error it needs whole identities
  limitOrg(whole);
});

test('limits name the type of their limiter', () => {
  const limits = [
    tokenBucket({ by: 'org', ...numbers }),
    fixedWindow({ name: 'ip', by: ['org', 'ip'], ...numbers }),
  ];
  const limiter: LimiterOf<typeof limits> = new RateLimiter({ store, limits });
  expectTypeOf(limiter).toEqualTypeOf<RateLimiter<'org' | 'ip'>>();
  expectTypeOf<LimiterOf<Limit[]>>().toEqualTypeOf<RateLimiter>();
});

test('where parts are unknown, any identity is taken', () => {
  const limits: Limit<string, string>[] = [tokenBucket({ by: text, ...numbers })];
  const limiter = new RateLimiter({ store, limits });
  expectTypeOf(limiter.allow).parameter(0).toEqualTypeOf<Identity | IdentityParts>();
});
