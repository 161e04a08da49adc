import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { CallOptions } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/web';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());
beforeEach(() => server.command('FLUSHALL'));

const named = (name: string) => tokenBucket({ name, rate: 9, period: '1h', maxDebt: 9 });
const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => named(`limit-${from + i}`));
const ONE_MORE: CallOptions = { limits: [named('one-more')] };
const KNOWN: CallOptions = { limits: [named('limit-0')] };

const calls: Readonly<Record<string, (limiter: RateLimiter) => Promise<unknown>>> = {
  allow: (limiter) => limiter.allow('id', ONE_MORE),
  peek: (limiter) => limiter.peek('id', ONE_MORE),
  allowUpTo: (limiter) => limiter.allowUpTo('id', 2, ONE_MORE),
  wait: (limiter) => limiter.wait('id', ONE_MORE),
  penalize: (limiter) => limiter.penalize('id', 2, ONE_MORE),
  reserve: (limiter) => limiter.reserve('id', { cost: 1, ttl: '1m', ...ONE_MORE }),
};

describe.each([
  ['on Redis', () => ({ redis: server.url, timeoutMs: 10_000 })],
  ['in memory', () => ({ store: new MemoryStore() })],
])('a 33rd state of an identity %s', (_, store) => {
  const TOO_MANY = { name: 'RateLimiterError', code: 'ERR_TOO_MANY_LIMITS' };

  /** A limiter whose failure strategy says yes, and an identity with 32 states that still count. */
  async function crowded(): Promise<RateLimiter> {
    const limiter = new RateLimiter({ ...store(), limits: [named('own')], failStrategy: 'open' });
    for (const limits of [numbered(0, 16), numbered(16, 32)]) {
      expect((await limiter.allow('id', { limits })).degraded).toBe(false);
    }
    return limiter;
  }

  test.each(Object.keys(calls))('makes %s reject, whatever the failure strategy', async (verb) => {
    const limiter = await crowded();
    await expect(calls[verb]!(limiter)).rejects.toMatchObject(TOO_MANY);
    expect(await limiter.allow('other')).toMatchObject({ reason: 'within_limit' });
    await limiter.close();
  });

  test('makes a refund and a settlement reject once other states took the place of theirs', async () => {
    const limiter = await crowded();
    await limiter.reset('id', KNOWN);
    const decision = await limiter.allow('id', ONE_MORE);
    await limiter.reset('id', ONE_MORE);
    const reservation = await limiter.reserve('id', { cost: 2, ttl: '1m', ...ONE_MORE });
    await limiter.reset('id', ONE_MORE);
    await limiter.allow('id', KNOWN);
    await expect(limiter.refund(decision)).rejects.toMatchObject(TOO_MANY);
    await expect(reservation.settle(1)).rejects.toMatchObject(TOO_MANY);
    await limiter.close();
  });

  test('leaves calls under the 32 limits and resets as they are', async () => {
    const limiter = await crowded();
    expect(await limiter.allow('id', KNOWN)).toMatchObject({ remaining: 7, degraded: false });
    await limiter.reset('id', ONE_MORE);
    await limiter.reset('id', KNOWN);
    expect(await limiter.allow('id', ONE_MORE)).toMatchObject({ remaining: 8, degraded: false });
    await limiter.close();
  });

  test('lets no request of an HTTP adapter pass', async () => {
    const limiter = await crowded();
    let handled = 0;
    const handler = rateLimit(limiter, { identify: () => 'id' })(() => {
      handled += 1;
      return new Response('passed');
    });
    await expect(handler(new Request('http://localhost/'))).rejects.toMatchObject(TOO_MANY);
    expect(handled).toBe(0);
    await limiter.close();
  });
});
