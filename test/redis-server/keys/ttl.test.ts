import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Decision, Limit } from 'distributed-rate-limiter';
import { digestIdentity } from '../../../src/base/identity.ts';
import { startRedis, startWorkers, timeOf, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import type { Task } from './ttl.worker.mjs';

const worker = new URL('ttl.worker.mjs', import.meta.url);

let redis: RedisServer;
let client: Redis;

beforeAll(async () => {
  redis = await startRedis({ config: { 'maxmemory-policy': 'noeviction' } });
  client = new Redis({ host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  await redis.close();
});
beforeEach(async () => {
  await redis.command('FLUSHALL');
});

function limiterOf(limits: readonly Limit[]): RateLimiter {
  return new RateLimiter({
    redis: client,
    namespace: 'ttl',
    limits,
    failStrategy: 'closed',
    timeoutMs: 10_000,
  });
}

/** Reads all of it with one command, so that no change in between stays hidden. */
async function expectEveryKeyMortal(): Promise<number> {
  const { keys, expires } = await redis.keyCounts();
  expect({ keys, expires }).toEqual({ keys, expires: keys });
  return keys;
}

describe('every key has a TTL', () => {
  test('after any mix of operations, refusals, resets, states of several lines and foreign values', async () => {
    const plain = tokenBucket({ rate: 20, period: '2s' });
    const smaller = tokenBucket({ rate: 20, period: '2s', burst: 1 });
    const parts = tokenBucket({ rate: 7, period: '1s', burst: 3 });
    const slow = tokenBucket({ name: 'slow', rate: 3, period: '10s' });
    const sets = [[plain], [smaller], [parts], [plain, slow], [slow]];
    const limiters = sets.map(limiterOf);
    const seen = { allowed: 0, refused: 0, failed: 0, long: 0, keys: 0 };
    let random = 1;
    const next = (below: number): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random % below;
    };
    for (let round = 0; round < 60; round++) {
      const calls = Array.from({ length: 100 }, async (): Promise<Decision | void> => {
        const limiter = limiters[next(limiters.length)]!;
        const identity = `user:${next(50)}`;
        switch (next(8)) {
          case 0:
            return limiter.peek(identity);
          case 1:
            return limiter.reset(identity);
          default:
            return limiter.allow(identity, { cost: 1 + next(2) });
        }
      });
      for (const decision of await Promise.all(calls)) {
        if (!decision) continue;
        seen[decision.degraded ? 'failed' : decision.allowed ? 'allowed' : 'refused'] += 1;
      }
      seen.keys = Math.max(seen.keys, await expectEveryKeyMortal());
      seen.long += await longStates();

      const key = `ttl:token_bucket:${digestIdentity(`user:${next(50)}`, undefined)}`;
      // States written by others: one beyond another limit's top, an unreadable one, and one of another type.
      const now = Date.now() * 1_000;
      const foreign = [`${now + 60_000_000}`, 'not a state', undefined][round % 3];
      if (foreign === undefined) {
        await redis.command('DEL', key);
        await redis.command('RPUSH', key, 'x');
        await redis.command('PEXPIRE', key, 5_000);
      } else {
        await redis.command('SET', key, foreign, 'PX', 5_000);
      }
    }
    expect(await redis.keysWithoutTtl()).toEqual([]);
    console.log(`a mix of operations: ${JSON.stringify(seen)}`);
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0);
  });

  /** How many states have several lines. */
  async function longStates(): Promise<number> {
    const values: (string | null)[] = await redis.command(
      'MGET',
      ...(await redis.command('KEYS', '*')),
    );
    return values.filter((value) => value?.includes(':v1:')).length;
  }

  test('when memory is full from the start or fills up during a call', async () => {
    const limiter = limiterOf([
      tokenBucket({ rate: 5, period: '10s' }),
      tokenBucket({ name: 'parts', rate: 7, period: '10s' }),
    ]);
    const seen = { real: 0, failed: 0 };
    for (let round = 0; round < 10; round++) {
      await redis.command('CONFIG', 'SET', 'maxmemory', round % 2 === 0 ? 0 : 1);
      const calls = Array.from({ length: 200 }, (_, i) =>
        limiter.allow(`user:${round % 4 < 2 ? i : i + 100}`),
      );
      for (const { degraded } of await Promise.all(calls)) seen[degraded ? 'failed' : 'real'] += 1;
      await expectEveryKeyMortal();
    }
    await redis.command('CONFIG', 'SET', 'maxmemory', 0);
    expect(await redis.keysWithoutTtl()).toEqual([]);
    expect(seen.real).toBeGreaterThan(0);
    expect(seen.failed).toBeGreaterThan(0);
  });

  test('when clients are killed under load, after which the keyspace empties by itself', async () => {
    const task: Task = { port: redis.port, decisions: Infinity };
    const group = startWorkers(worker, 3, task, { timeoutMs: 100_000 });
    await group.going;
    for (const victim of group.workers) {
      for (let sample = 0; sample < 10; sample++) await expectEveryKeyMortal();
      victim.kill();
      await victim.result;
      expect(await expectEveryKeyMortal()).toBeGreaterThan(0);
    }
    // Both limits recover within 1 s; up to 3 ms are rounding.
    expect(Math.max(0, ...(await ttls()))).toBeLessThanOrEqual(1_003);
    expect(await redis.keysWithoutTtl()).toEqual([]);
    await waitUntil('the last key to go', async () => (await redis.command('DBSIZE')) === 0);
  }, 120_000);

  async function ttls(): Promise<number[]> {
    const keys: string[] = await redis.command('KEYS', '*');
    return Promise.all(keys.map((key) => redis.command('PTTL', key)));
  }
});

describe('a TTL is the time to full recovery plus at most 3 ms', () => {
  test.each([
    ['whole microseconds', { rate: 10, period: '10s' }],
    ['fractions of a microsecond', { rate: 7, period: '10s', burst: 20 }],
    ['less than a millisecond', { rate: 700_000, period: '1s' }],
    ['years', { rate: 1, period: '365d', burst: 9 }],
  ] as const)('a key expires 0 to 3 ms after a recovery in %s', async (_, numbers) => {
    const limiter = limiterOf([tokenBucket(numbers)]);
    const spares: number[] = [];
    let goneEarly = 0;
    for (let i = 0; i < 50; i++) {
      const identity = `user:${i % 10}`;
      const decision = await limiter.allow(identity, { cost: Math.min(numbers.rate, 1 + (i % 5)) });
      const key = `ttl:token_bucket:${digestIdentity(identity, undefined)}`;
      // Both times are of Redis's clock in milliseconds, so it does not matter when they are read.
      const expiresAt: number = await redis.command('PEXPIRETIME', key);
      if (expiresAt === -2)
        goneEarly += Number((await timeOf(redis)) < (decision.resetAtMs ?? NaN));
      else spares.push(expiresAt - (decision.resetAtMs ?? NaN));
    }
    expect(goneEarly).toBe(0);
    expect(spares.filter((spare) => !(spare >= 0 && spare <= 3))).toEqual([]);
  });
});
