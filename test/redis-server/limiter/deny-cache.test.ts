import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RateLimiter } from '../../../src/index.ts';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let redis: RedisServer;
let client: Redis;
beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.url);
});
afterAll(async () => {
  client.disconnect();
  await redis.close();
});

async function scriptCalls(): Promise<number> {
  const stats = await client.info('commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

test('a flood on a refused identity reaches Redis with less than 1 of 100 calls', async () => {
  const limiter = new RateLimiter({
    redis: client,
    namespace: 'flood',
    rate: 5,
    period: '1h',
    denyCache: true,
  });
  await limiter.ready();
  const before = await scriptCalls();
  let [calls, allowed] = [0, 0];
  const until = performance.now() + 1_000;
  while (performance.now() < until) {
    const decisions = await Promise.all(Array.from({ length: 20 }, () => limiter.allow('user')));
    calls += decisions.length;
    allowed += decisions.filter((decision) => decision.allowed).length;
  }
  const sent = (await scriptCalls()) - before;
  console.log(`${calls} calls, ${sent} script calls: ${(sent / calls).toFixed(5)} per call`);
  expect(allowed).toBe(5);
  expect(sent / calls).toBeLessThan(0.01);
  const { store, deny_cache: repeated } = limiter.stats().sources;
  expect(store + repeated).toBe(calls);
});
