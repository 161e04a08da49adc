import type { RateLimiterSync as FromSources } from 'distributed-rate-limiter/sync';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

/** How far this process's monotonic clock is put forward, which the library takes when it is loaded. */
let aheadMs = 0;
const now = performance.now.bind(performance);
performance.now = () => now() + aheadMs;

const built = new URL('../../../dist/sync/index.js', import.meta.url).href;
const { RateLimiterSync }: { RateLimiterSync: typeof FromSources } = await import(built);

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  performance.now = now;
  await redis.close();
});

/** Refusals as a synchronous limiter tells them. */
function listener() {
  const told: (readonly [identity: unknown, reason: string, repeated: boolean])[] = [];
  const onBlock = (
    identity: unknown,
    { reason, repeated }: { readonly reason: string; readonly repeated: boolean },
  ): void => void told.push([identity, reason, repeated]);
  return { told, onBlock };
}

test('`decision.repeated` is false once a minute for each identity of a synchronous limiter', () => {
  const { told, onBlock } = listener();
  const limiter = new RateLimiterSync({
    redis: redis.url,
    timeoutMs: 10_000,
    rate: 1,
    period: '1d',
    onBlock,
  });
  for (const identity of ['anna', 'anna', 'anna', 'ben', 'ben', 'anna']) limiter.allow(identity);
  aheadMs += 59_000;
  limiter.peek('anna');
  limiter.allow('anna');
  aheadMs += 1_000;
  for (const identity of ['anna', 'anna', 'ben']) limiter.allow(identity);
  limiter.close();
  expect(told).toEqual([
    ['anna', 'limited', false],
    ['anna', 'limited', true],
    ['ben', 'limited', false],
    ['anna', 'limited', true],
    ['anna', 'limited', true],
    ['anna', 'limited', false],
    ['anna', 'limited', true],
    ['ben', 'limited', false],
  ]);
});

test('`decision.repeated` is false for the first refusal without a store', async () => {
  const { told, onBlock } = listener();
  const limiter = new RateLimiterSync({
    redis: `redis://127.0.0.1:${await freePort()}`,
    timeoutMs: 100,
    rate: 1,
    period: '1d',
    failStrategy: 'closed',
    onBlock,
  });
  const decisions = ['anna', 'anna', 'ben'].map((identity) => limiter.allow(identity));
  limiter.close();
  expect(decisions.map(({ degraded }) => degraded)).toEqual([true, true, true]);
  expect(told.map(([, , repeated]) => repeated)).toEqual([false, true, false]);
  expect(decisions.map((decision) => Object.keys(decision))).not.toContainEqual(
    expect.arrayContaining(['repeated']),
  );
});
