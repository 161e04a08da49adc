import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fixedWindow, RateLimiter, tokenBucket } from '../../../src/index.ts';
import type { Decision, RateLimiterOptions } from '../../../src/index.ts';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

const HELD_MS = 125;
const AHEAD_MS = 300;

let redis: RedisServer;
let client: Redis;
beforeAll(async () => {
  redis = await startRedis();
  client = new Redis(redis.url);
});
beforeEach(() => client.flushall());
afterAll(async () => {
  client.disconnect();
  await redis.close();
});

/** 1,000 a second, 1,000 at once. */
async function limiterOf(
  options: Partial<RateLimiterOptions> = {},
  connection = client,
): Promise<RateLimiter> {
  const limiter = new RateLimiter({
    redis: connection,
    namespace: 'busy',
    rate: 1_000,
    period: 1,
    prepay: true,
    ...options,
  } as RateLimiterOptions);
  await limiter.ready();
  return limiter;
}

/** Calls one after the other for so long, 1 ms apart, and what became of them. */
async function callFor(limiter: RateLimiter, ms: number, id = 'user'): Promise<Decision[]> {
  const decisions: Decision[] = [];
  const until = performance.now() + ms;
  while (performance.now() < until) {
    decisions.push(await limiter.allow(id));
    await sleep(1);
  }
  return decisions;
}

async function scriptCalls(): Promise<number> {
  const stats = await client.info('commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

describe('prepay', () => {
  test('a busy identity reaches Redis with few of its calls, and stays within its limit', async () => {
    const limiter = await limiterOf();
    const begin = performance.now();
    const before = await scriptCalls();
    const decisions: Decision[] = [];
    while (performance.now() < begin + 2_000) {
      decisions.push(
        ...(await Promise.all(Array.from({ length: 8 }, () => limiter.allow('user')))),
      );
      await sleep(2);
    }
    const seconds = (performance.now() - begin) / 1_000;
    const allowed = decisions.filter((decision) => decision.allowed).length;
    const sent = (await scriptCalls()) - before;
    console.log(`${decisions.length} calls, ${allowed} passed, ${sent} script calls`);
    expect(allowed).toBeLessThanOrEqual(1_000 + 1_000 * seconds);
    expect(sent / decisions.length).toBeLessThan(0.3);
    const { sources, prepaid } = limiter.stats();
    expect(sources.slice).toBeGreaterThan(decisions.length / 2);
    expect(sources.slice + sources.store).toBe(decisions.length);
    expect(prepaid!.charged).toBeGreaterThanOrEqual(prepaid!.spent);
    expect(prepaid!.spent).toBeGreaterThan(0);
  });

  test('a decision from a slice has the fields of one from Redis', async () => {
    const limiter = await limiterOf();
    const decisions = await callFor(limiter, 400);
    const local = decisions.find(({ source }) => source === 'slice')!;
    const asked = decisions.find(({ source }) => source === 'store')!;
    expect(Object.keys(local)).toEqual(Object.keys(asked));
    expect(local).toMatchObject({ allowed: true, reason: 'within_limit', cost: 1, limit: 1_000 });
    expect(local.remaining).toBeGreaterThan(500);
    expect(local.remaining).toBeLessThan(1_000);
  });

  test('an identity that is not busy asks for each call', async () => {
    const limiter = await limiterOf();
    const decisions: Decision[] = [];
    for (let i = 0; i < 10; i++) {
      decisions.push(await limiter.allow('idle'));
      await sleep(50);
    }
    expect(decisions.map(({ source }) => source)).toEqual(Array(10).fill('store'));
    expect(await client.keys('*#s')).toEqual([]);
  });

  test('a refund comes back to the slice, once', async () => {
    const limiter = await limiterOf();
    const local = (await callFor(limiter, 300)).findLast(({ source }) => source === 'slice')!;
    const { spent } = limiter.stats().prepaid!;
    const left = await limiter.refund(local);
    expect(left.limit).toBe(1_000);
    await expect(limiter.refund(local)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
    const other = await limiterOf();
    await expect(other.refund(local)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
    expect(limiter.stats().prepaid!.spent).toBe(spent);
  });

  test.each(['reset', 'penalize', 'credit', 'block'] as const)(
    '%s drops what this process holds at once',
    async (verb) => {
      const limiter = await limiterOf({ blocks: true });
      await callFor(limiter, 300);
      while ((await limiter.allow('user')).source !== 'slice');
      await (verb === 'reset'
        ? limiter.reset('user')
        : verb === 'block'
          ? limiter.block('user', '1m')
          : limiter[verb]('user', 1));
      const next = await limiter.allow('user');
      expect(next.source).toBe('store');
      expect(next.allowed).toBe(verb !== 'block');
    },
  );

  test('calls of one turn that ask for slices share a script call, and so do those beside them', async () => {
    const limiter = await limiterOf();
    const ids = Array.from({ length: 20 }, (_, i) => `id${i}`);
    const busy = ids.filter((_, i) => i % 2 === 0);
    for (let i = 0; i < 3; i++) {
      await Promise.all(busy.map((id) => limiter.allow(id)));
    }
    const before = await scriptCalls();
    const decisions = await Promise.all(ids.map((id) => limiter.allow(id)));
    expect(decisions.every(({ source }) => source === 'store')).toBe(true);
    expect((await scriptCalls()) - before).toBe(2);
    expect((await client.keys('*#s')).length).toBe(busy.length);
  });

  test('a block by another process holds once the slices have ended', async () => {
    const limiter = await limiterOf({ blocks: true });
    const connection = new Redis(redis.url);
    const other = await limiterOf({ blocks: true, prepay: false }, connection);
    await callFor(limiter, 300);
    await other.block('user', '1m');
    const blockedAt = performance.now();
    let last = blockedAt;
    while (performance.now() < blockedAt + 1_000) {
      const at = performance.now();
      if ((await limiter.allow('user')).allowed) {
        last = at;
      }
      await sleep(1);
    }
    connection.disconnect();
    expect(last - blockedAt).toBeLessThan(HELD_MS + AHEAD_MS + 50);
  });

  test('several limits give one slice under all of them', async () => {
    const limits = [
      tokenBucket({ name: 'second', rate: 500, period: 1 }),
      fixedWindow({ name: 'minute', rate: 5_000, period: '1m' }),
    ];
    const limiter = await limiterOf({ rate: undefined, period: undefined, limits } as object);
    if (60_000 - (Date.now() % 60_000) < 5_000) await sleep(5_000); // a new minute counts afresh
    const decisions = await callFor(limiter, 500);
    const local = decisions.filter(({ source }) => source === 'slice');
    expect(local.length).toBeGreaterThan(decisions.length / 2);
    expect(local[0]!.limits.map(({ name }) => name)).toEqual(['second', 'minute']);
    const { used } = (await limiter.peek('user')).limits[1]!;
    expect(used).toBeGreaterThanOrEqual(decisions.length);
  });

  test('two limits of which one is used up let as much pass as it does', async () => {
    const limits = [
      tokenBucket({ name: 'strict', rate: 200, period: 1, burst: 100 }),
      tokenBucket({ name: 'loose', rate: 1_000, period: 1 }),
    ];
    const limiter = await limiterOf({ rate: undefined, period: undefined, limits } as object);
    const begin = performance.now();
    const decisions = await callFor(limiter, 4_000);
    const seconds = (performance.now() - begin) / 1_000;
    const passed = decisions.filter(({ allowed }) => allowed).length;
    expect(passed).toBeLessThanOrEqual(100 + 200 * seconds);
    // Slices whose units of the loose limit lapse while the strict one is waited for let a quarter of it pass.
    expect(passed).toBeGreaterThan(0.6 * Math.min(decisions.length, 100 + 200 * seconds));
    expect(limiter.stats().sources.slice).toBeGreaterThan(decisions.length / 2);
  });

  describe('under limits with units', () => {
    const limits = [
      tokenBucket({ name: 'calls', rate: 1_000, period: 1 }),
      tokenBucket({ name: 'tokens', rate: 100_000, period: 1, unit: 'tokens' }),
    ];

    async function limiterOfUnits(): Promise<RateLimiter> {
      return limiterOf({ rate: undefined, period: undefined, limits } as object);
    }

    async function callWith(limiter: RateLimiter, cost: object, calls: number): Promise<Decision> {
      let decision = await limiter.allow('user', { cost } as never);
      for (let i = 1; i < calls; i++) decision = await limiter.allow('user', { cost } as never);
      return decision;
    }

    test('calls that ask for the same are decided from slices, and are charged in each unit', async () => {
      const limiter = await limiterOfUnits();
      const local = await callWith(limiter, { tokens: 20 }, 200);
      expect(local).toMatchObject({ source: 'slice', cost: { calls: 1, tokens: 20 } });
      expect(local.limits.map(({ name, unit, used }) => ({ name, unit, used: used! > 0 }))).toEqual(
        [
          { name: 'calls', unit: 'calls', used: true },
          { name: 'tokens', unit: 'tokens', used: true },
        ],
      );
      const { prepaid, sources } = limiter.stats();
      expect(sources.slice).toBeGreaterThan(100);
      expect(prepaid!.spent).toBe(sources.slice);
      const other = new RateLimiter({ redis: client, namespace: 'busy', limits });
      const seen = await other.peek('user', { cost: { calls: 0, tokens: 0 } });
      const [calls, tokens] = seen.limits.map(({ used }) => used) as [number, number];
      expect(tokens).toBeGreaterThan(10 * calls);
      await other.close();
      await limiter.close();
    });

    test('a call of another cost asks Redis until there are slices for such calls', async () => {
      const limiter = await limiterOfUnits();
      expect(await callWith(limiter, { tokens: 20 }, 50)).toMatchObject({ source: 'slice' });
      expect(await callWith(limiter, { tokens: 30 }, 1)).toMatchObject({ source: 'store' });
      expect(await callWith(limiter, { tokens: 20 }, 1)).toMatchObject({ source: 'slice' });
      expect(await callWith(limiter, { tokens: 30 }, 50)).toMatchObject({ source: 'slice' });
      expect(await callWith(limiter, { calls: 0, tokens: 20 }, 50)).toMatchObject({
        source: 'store',
      });
      await limiter.close();
    });

    test('a refund gives back to the slice in each unit', async () => {
      const limiter = await limiterOfUnits();
      const local = await callWith(limiter, { tokens: 500 }, 50);
      expect(local.source).toBe('slice');
      const answer = await limiter.refund(local);
      expect(answer.cost).toEqual({ calls: 1, tokens: 1 });
      await expect(limiter.refund(local)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
      await limiter.close();
    });
  });

  test.each<[string, Partial<RateLimiterOptions>, never]>([
    ['of several parts', {}, ['acme', 42] as never],
    ['of a number', {}, 42 as never],
    [
      'of named parts',
      {
        rate: undefined,
        period: undefined,
        limits: [tokenBucket({ rate: 1_000, period: 1, by: ['org', 'user'] })],
      } as never,
      { user: 42, org: 'acme' } as never,
    ],
    [
      'that all callers share',
      {
        rate: undefined,
        period: undefined,
        limits: [tokenBucket({ rate: 1_000, period: 1, by: [] })],
      } as never,
      {} as never,
    ],
  ])('an identity %s is given slices, which a reset takes back', async (_, options, identity) => {
    const limiter = await limiterOf(options);
    for (let i = 0; i < 100; i++) await limiter.allow(identity);
    const { sources } = limiter.stats();
    expect(sources.slice).toBeGreaterThan(50);
    const decision = await limiter.allow(identity);
    expect(decision.source).toBe('slice');
    await limiter.refund(decision);
    await limiter.reset(identity);
    expect(await limiter.allow(identity)).toMatchObject({ source: 'store', remaining: 999 });
    await limiter.close();
  });

  test('what is no identity is refused, though a busy identity is written like it', async () => {
    const limiter = await limiterOf();
    for (let i = 0; i < 50; i++) await limiter.allow('NaN');
    expect(limiter.stats().sources.slice).toBeGreaterThan(0);
    await expect(limiter.allow(Number.NaN)).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
    await limiter.close();
  });

  test('with denyCache as well, a flood passes as much and asks as little', async () => {
    const limiter = await limiterOf({ rate: 200, denyCache: true });
    const begin = performance.now();
    const before = await scriptCalls();
    let [calls, allowed] = [0, 0];
    while (performance.now() < begin + 2_000) {
      const decisions = await Promise.all(Array.from({ length: 8 }, () => limiter.allow('user')));
      calls += decisions.length;
      allowed += decisions.filter((decision) => decision.allowed).length;
      await sleep(2);
    }
    const seconds = (performance.now() - begin) / 1_000;
    const sent = (await scriptCalls()) - before;
    console.log(`${calls} calls, ${allowed} passed, ${sent} script calls`);
    expect(allowed).toBeLessThanOrEqual(200 + 200 * seconds);
    expect(allowed).toBeGreaterThan(0.9 * (200 + 200 * seconds));
    expect(sent / calls).toBeLessThan(0.1);
  });

  test('while Redis is away, what is held is spent, then failStrategy decides', async () => {
    const server = await startRedis();
    const connection = new Redis(server.url, { retryStrategy: () => 50 });
    connection.on('error', () => {});
    const limiter = await limiterOf({ failStrategy: 'closed' }, connection);
    await callFor(limiter, 300);
    await server.close();
    const decisions = await callFor(limiter, 1_000);
    connection.disconnect();
    const last = decisions.findLastIndex(({ source }) => source === 'slice');
    expect(decisions.slice(last + 1).every(({ degraded, allowed }) => degraded && !allowed)).toBe(
      true,
    );
    expect(decisions.at(-1)!.degraded).toBe(true);
  });
});
