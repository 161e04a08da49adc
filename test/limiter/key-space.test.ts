import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { expect, test } from 'vitest';
import { FakeRedis } from '../support/fake-redis.ts';
import { collectWarnings } from '../support/warnings.ts';

const warnings = collectWarnings();
const shared = async () =>
  (await warnings()).filter(({ code }) => code === 'DRL_SHARED_KEYS').map(({ message }) => message);

test('two limiters that share keys but not numbers are one warning, however many follow', async () => {
  const redis = new FakeRedis();
  for (const rate of [1, 2, 3, 2, 1]) void new RateLimiter({ redis, rate, period: '1h' });
  expect(await shared()).toEqual([
    expect.stringMatching(/share the keys 'rate-limit:token_bucket:…'.*`namespace`/),
  ]);
});

test('each key space has a warning of its own', async () => {
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
    'the same numbers',
    () => {
      const redis = new FakeRedis();
      void new RateLimiter({ redis, rate: 60, period: '1m' });
      void new RateLimiter({ redis, rate: 60, period: 60, burst: 60 });
    },
  ],
  [
    'another namespace',
    () => {
      const redis = new FakeRedis();
      void new RateLimiter({ redis, rate: 1, period: '1m' });
      void new RateLimiter({ redis, rate: 2, period: '1m', namespace: 'other' });
    },
  ],
  [
    'another client, store or URL',
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
    'another secret',
    () => {
      const redis = new FakeRedis();
      void new RateLimiter({ redis, rate: 1, period: '1m', hashSecret: 'a'.repeat(32) });
      void new RateLimiter({ redis, rate: 2, period: '1m', hashSecret: 'b'.repeat(32) });
    },
  ],
])('%s: no warning', async (_, make) => {
  make();
  expect(await shared()).toEqual([]);
});
