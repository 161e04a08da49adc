import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { waitUntil } from '../../kit/servers/index.mjs';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

const warnings = collectWarnings();
const shared = async () =>
  (await warnings()).filter(({ code }) => code === 'DRL_SHARED_KEYS').map(({ message }) => message);

test('limiters that share keys but not numbers cause a single warning', async () => {
  const redis = new FakeRedis();
  for (const rate of [1, 2, 3, 2, 1]) void new RateLimiter({ redis, rate, period: '1h' });
  expect(await shared()).toEqual([
    expect.stringMatching(/share the keys 'rate-limit:token_bucket:…'.*`namespace`/),
  ]);
});

test('each shared key pattern has its own warning', async () => {
  const redis = new FakeRedis();
  const limits = (rate: number) => [
    tokenBucket({ rate: 1, period: '1h' }),
    tokenBucket({ name: 'a', rate, period: '1h' }),
    tokenBucket({ name: 'b', rate, period: '1h' }),
  ];
  void new RateLimiter({ redis, limits: limits(1) });
  void new RateLimiter({ redis, limits: limits(2) });
  expect(await shared()).toEqual([
    expect.stringContaining("'rate-limit:token_bucket:…/a:token_bucket'"),
    expect.stringContaining("'rate-limit:token_bucket:…/b:token_bucket'"),
  ]);
});

test.each<[string, () => void]>([
  [
    'limiters with the same numbers',
    () => {
      const redis = new FakeRedis();
      void new RateLimiter({ redis, rate: 60, period: '1m' });
      void new RateLimiter({ redis, rate: 60, period: 60, burst: 60 });
    },
  ],
  [
    'limiters in different namespaces',
    () => {
      const redis = new FakeRedis();
      void new RateLimiter({ redis, rate: 1, period: '1m' });
      void new RateLimiter({ redis, rate: 2, period: '1m', namespace: 'other' });
    },
  ],
  [
    'limiters on different clients, stores or URLs',
    () => {
      void new RateLimiter({ redis: new FakeRedis(), rate: 1, period: '1m' });
      void new RateLimiter({ redis: new FakeRedis(), rate: 2, period: '1m' });
      void new RateLimiter({ store: new MemoryStore(), rate: 3, period: '1m' });
      void new RateLimiter({ store: new MemoryStore(), rate: 4, period: '1m' });
      void new RateLimiter({ redis: 'redis://127.0.0.1:1', rate: 5, period: '1m' });
      void new RateLimiter({ redis: 'redis://127.0.0.1:2', rate: 6, period: '1m' });
    },
  ],
  [
    'limiters with different secrets',
    () => {
      const redis = new FakeRedis();
      void new RateLimiter({ redis, rate: 1, period: '1m', hashSecret: 'a'.repeat(32) });
      void new RateLimiter({ redis, rate: 2, period: '1m', hashSecret: 'b'.repeat(32) });
    },
  ],
])('%s cause no warning', async (_, make) => {
  make();
  expect(await shared()).toEqual([]);
});

describe('a limiter that is gone is ignored by the comparison', () => {
  const places = {
    'a client': () => ({ redis: new FakeRedis() }),
    'a URL': () => ({ redis: `redis://127.0.0.1:1/${(urls += 1)}` }),
    'a memory store': () => ({ store: new MemoryStore() }),
  } as const;
  let urls = 0;

  test.each(Object.keys(places) as (keyof typeof places)[])(
    'on %s: a limiter closed when its configuration was reloaded',
    async (name) => {
      const place = places[name]();
      for (const rate of [1, 2, 3]) {
        const limiter = new RateLimiter({ ...place, rate, period: '1m' });
        void limiter.close();
      }
      expect(await shared()).toEqual([]);
    },
  );

  test.each(Object.keys(places) as (keyof typeof places)[])(
    'on %s: a limiter garbage-collected without being closed',
    async (name) => {
      const place = places[name]();
      const make = (rate: number): RateLimiter =>
        new RateLimiter({ ...place, rate, period: '1m', namespace: 'collected' });
      const forgotten = new Set<string>();
      const registry = new FinalizationRegistry<string>((what) => forgotten.add(what));
      (() => registry.register(make(1), name))();
      await waitUntil('the limiter to be collected', () => {
        collectGarbage();
        return forgotten.has(name);
      });
      // The library's own finalizer runs in a task beside this one.
      await sleep(20);
      make(2);
      expect(await shared()).toEqual([]);
    },
  );

  test('an open limiter is still compared after another one was closed', async () => {
    const redis = new FakeRedis();
    const first = new RateLimiter({ redis, rate: 1, period: '1m' });
    const second = new RateLimiter({ redis, rate: 1, period: '1m' });
    await first.close();
    void new RateLimiter({ redis, rate: 2, period: '1m' });
    expect(await shared()).toHaveLength(1);
    await second.close();
  });
});
