import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fixedWindow, RateLimiter } from 'distributed-rate-limiter';
import { runWorkers, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { limitsOf } from './homes.limits.mjs';
import type { Seen, Task } from './homes.worker.mjs';
import { isLong } from './length.mjs';

const worker = new URL('homes.worker.mjs', import.meta.url);

const PROCESSES = 8;
const rates = { calls: 70, tokens: 2_800, micros: 20_000 };

describe(`${PROCESSES} processes, three homes of an identity and three units`, () => {
  let redis: RedisServer;
  let seen: Seen[];
  /** Units that passed in all processes, by home. */
  const charged: Record<string, number> = {};

  beforeAll(async () => {
    redis = await startRedis();
    const task: Task = {
      port: redis.port,
      rates,
      inFlight: 32,
      calls: isLong ? 40_000 : 2_000,
      seed: 20_260_101,
    };
    seen = (await runWorkers(worker, PROCESSES, task, { timeoutMs: 240_000 })) as Seen[];
    for (const each of seen) {
      for (const [home, units] of Object.entries(each.charged)) {
        charged[home] = (charged[home] ?? 0) + units;
      }
    }
  }, 300_000);
  afterAll(() => redis.close());

  test('pass no more than the rate in any home, and nearly all of it in a home of each limit', () => {
    const most: Record<string, number> = {
      calls: rates.calls,
      tokens: rates.tokens,
      money: rates.micros,
    };
    const full = new Set<string>();
    for (const [home, units] of Object.entries(charged)) {
      const [limit = ''] = home.split(' ');
      expect(units, home).toBeLessThanOrEqual(most[limit]!);
      if (units > 0.9 * most[limit]!) full.add(limit);
    }
    expect(full.size).toBe(3);
    expect(seen.reduce((sum, { refused }) => sum + refused, 0)).toBeGreaterThan(0);
  });

  test('leave in each home exactly what passed: a refusal by one home charges no other', async () => {
    const limiter = new RateLimiter({
      redis: redis.url,
      namespace: 'homes',
      limits: limitsOf(rates).map((numbers) => fixedWindow(numbers)),
    });
    const kept: Record<string, number> = {};
    for (const org of ['o0', 'o1']) {
      for (const team of ['t0', 't1', 't2']) {
        for (const key of ['k0', 'k1', 'k2', 'k3']) {
          const cost = { calls: 0, tokens: 0, micros: 0 };
          const { limits } = await limiter.peek({ org, team, key }, { cost });
          for (const { name, limit, remaining = NaN } of limits) {
            const parts = { calls: [org, team, key], tokens: [org, team], money: [org] }[name]!;
            kept[[name, ...parts].join(' ')] = limit - remaining;
          }
        }
      }
    }
    await limiter.close();
    expect(kept).toEqual(charged);
  });
});
