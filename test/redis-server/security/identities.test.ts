import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  MemoryStore,
  RateLimiter,
  concurrency,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { startRedis } from '../../kit/servers/index.mjs';

let redis: Awaited<ReturnType<typeof startRedis>>;
let client: Redis;
beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.port, { maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  await redis.close();
});

const strict = { failStrategy: 'throw', timeoutMs: 10_000 } as const;
type Chosen = { namespace?: string; limits: readonly Limit[] };

describe.each<[string, (chosen: Chosen) => RateLimiter]>([
  ['Redis', (chosen) => new RateLimiter({ ...chosen, ...strict, redis: client })],
  ['memory', (chosen) => new RateLimiter({ ...chosen, store: new MemoryStore() })],
])('in %s, identities with names of object properties', (_, make) => {
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf'];

  test('are limited like any other identity, alone and as parts', async () => {
    const limiter = make({ limits: [tokenBucket({ rate: 2, period: '1h' })] });
    const identities = [...names, ...names.map((name) => [name, name])];
    for (const identity of identities) {
      const decisions = [];
      for (let i = 0; i < 3; i++) decisions.push((await limiter.allow(identity)).allowed);
      expect(decisions).toEqual([true, true, false]);
    }
    await limiter.reset('__proto__');
    expect((await limiter.peek('__proto__')).remaining).toBe(2);
    expect((await limiter.peek('constructor')).remaining).toBe(0);
  });

  test('are accepted as names of limits and namespaces', async () => {
    const limits = names.map((name, i) => tokenBucket({ name, rate: i + 1, period: '1h' }));
    for (const namespace of names) {
      const limiter = make({ namespace, limits });
      const decision = await limiter.allow('user');
      expect(decision.limits.map(({ name, remaining }) => [name, remaining])).toEqual(
        names.map((name, i) => [name, i]),
      );
    }
  });

  test('pollute no prototype', () => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(Object.keys(Array.prototype)).toEqual([]);
    expect(({} as { allowed?: unknown }).allowed).toBeUndefined();
  });
});

describe('a refusal changes no stored state, so nobody can extend a lockout', () => {
  const limits: Record<string, Limit> = {
    tokenBucket: tokenBucket({ rate: 2, period: '1h' }),
    'tokenBucket in fractions of a microsecond': tokenBucket({ rate: 7, period: '1h', burst: 2 }),
    slidingWindow: slidingWindow({ rate: 2, period: '1h' }),
    slidingWindowLog: slidingWindowLog({ rate: 2, period: '1h' }),
    fixedWindow: fixedWindow({ rate: 2, period: '1h' }),
  };
  test.each(Object.entries(limits))(
    'refusals by %s leave the key, its value and its TTL unchanged',
    async (name, only) => {
      const limiter = new RateLimiter({
        ...strict,
        redis: client,
        namespace: `refused-${name.replaceAll(' ', '-')}`,
        limits: [only],
      });
      await limiter.allow('victim');
      await limiter.allow('victim');
      const before = await kept();
      for (let i = 0; i < 20; i++) expect((await limiter.allow('victim')).allowed).toBe(false);
      expect(await kept()).toEqual(before);
    },
  );

  test('refusals by concurrency leave the key, its value and its TTL unchanged', async () => {
    const limiter = new RateLimiter({
      ...strict,
      redis: client,
      namespace: 'refused-concurrency',
      limits: [concurrency({ max: 1, ttl: '1h' })],
    });
    const lease = await limiter.acquire('victim');
    const before = await kept();
    for (let i = 0; i < 20; i++) expect((await limiter.acquire('victim')).allowed).toBe(false);
    expect(await kept()).toEqual(before);
    await lease.release();
  });

  /** Every key with its value and its expiry time. */
  async function kept(): Promise<unknown[]> {
    const keys: string[] = await redis.command('KEYS', '*refused-*');
    expect(keys.length).toBeGreaterThan(0);
    return Promise.all(
      keys
        .toSorted()
        .map(async (key) => [
          key,
          (await client.dumpBuffer(key))?.toString('hex'),
          await redis.command('PEXPIRETIME', key),
        ]),
    );
  }
});
