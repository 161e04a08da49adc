import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fixedWindow, RateLimiter, tokenBucket } from '../../../src/index.ts';
import type { Decision } from '../../../src/index.ts';
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

/** When a decision was made, by the server's clock, within 1 ms. */
function instantOf({ resetAtMs = 0, resetAfterMs = 0 }: Decision): number {
  return resetAtMs - resetAfterMs;
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

test('each repeated refusal is one that the server gives, and what comes back passes', async () => {
  const limits = [
    tokenBucket({ rate: 20, period: '1s', burst: 2 }),
    fixedWindow({ name: 'window', rate: 1_000, period: '1h' }),
  ];
  const limiter = new RateLimiter({ redis: client, namespace: 'beside', limits, denyCache: true });
  const plain = new RateLimiter({ redis: client, namespace: 'beside', limits });
  await limiter.ready();
  const sources = { store: 0, deny_cache: 0, slice: 0, none: 0 };
  let allowed = 0;
  for (let i = 0; i < 2_000; i++) {
    const cost = 1 + (i % 2);
    const decision = await limiter.allow('user', { cost });
    sources[decision.source] += 1;
    allowed += decision.allowed ? cost : 0;
    if (decision.source === 'deny_cache') {
      const server = await plain.peek('user', { cost });
      // Units may have come back on the way, at the instant of the server's clock that the refusal tells.
      const opens = instantOf(decision) + (decision.retryAfterMs ?? 0);
      expect(server.allowed && instantOf(server) < opens - 3).toBe(false);
    }
    if (i % 500 === 0) {
      await limiter.reset('user');
      expect(await limiter.allow('user')).toMatchObject({ allowed: true, source: 'store' });
    }
  }
  console.log(`${allowed} units:`, sources);
  expect(sources.deny_cache).toBeGreaterThan(100);
});
