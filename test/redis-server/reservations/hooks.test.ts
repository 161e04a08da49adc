import { RateLimiter } from 'distributed-rate-limiter';
import type { FailStrategy } from 'distributed-rate-limiter';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());

describe("the hooks of a reservation's `add` if the store gives no answer", () => {
  test.each<[FailStrategy, readonly string[]]>([
    ['open', ['onError store_timeout', 'onAllow store_timeout']],
    ['closed', ['onError store_timeout', 'onBlock store_timeout']],
    ['throw', ['onError store_timeout']],
  ])('under failStrategy %s are called once each: %j', async (failStrategy, expected) => {
    const heard: string[] = [];
    await using limiter = new RateLimiter({
      redis: server.url,
      namespace: failStrategy,
      rate: 5,
      period: '1h',
      timeoutMs: 300,
      failStrategy,
      onAllow: (_, { reason }) => heard.push(`onAllow ${reason}`),
      onBlock: (_, { reason }) => heard.push(`onBlock ${reason}`),
      onError: ({ reason }) => heard.push(`onError ${reason}`),
    });
    await limiter.ready();
    const reservation = await limiter.reserve('user', { cost: 1, ttl: '1m' });
    expect(reservation.degraded).toBe(false);
    heard.length = 0;
    await server.stop();
    try {
      const outcome = await reservation.add(1).catch((error: unknown) => error);
      expect(outcome).toMatchObject({ reason: 'store_timeout' });
      expect(heard.sort()).toEqual([...expected].sort());
    } finally {
      await server.cont();
    }
    expect(limiter.stats().decisions).toMatchObject({
      [{ open: 'allowed', closed: 'refused', throw: 'rejected' }[failStrategy]]: {
        store_timeout: 1,
      },
    });
  });
});
