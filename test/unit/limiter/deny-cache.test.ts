import { describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from '../../../src/index.ts';
import type { RateLimiterOptions } from '../../../src/index.ts';
import { ManualClock } from '../../../src/testing/index.ts';
import { loadEngine } from '../../kit/deny-cache/engine.ts';
import { giveBackElsewhere } from '../../kit/deny-cache/remote.ts';
import { Random } from '../../kit/random.mjs';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

/** A limiter, the clock that decides, and the number of calls that its store gets. */
function make(options: Partial<RateLimiterOptions> = {}) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  let asked = 0;
  const submit = store.submit.bind(store);
  store.submit = (call) => {
    asked += 1;
    submit(call);
  };
  const limiter = new RateLimiter({
    store,
    rate: 2,
    period: '1m',
    denyCache: true,
    ...options,
  } as RateLimiterOptions);
  return { limiter, clock, store, asked: () => asked };
}

describe('a refused identity', () => {
  test('costs the store 4 calls a second however often it calls, and passes on time', async () => {
    const { limiter, clock, asked } = make();
    let allowed = 0;
    for (let ms = 0; ms < 30_000; ms++) {
      allowed += (await limiter.allow('a')).allowed ? 1 : 0;
      clock.advance('1ms');
    }
    expect(allowed).toBe(2);
    expect(asked() / 30_000).toBeLessThan(0.01);
    expect(asked()).toBeLessThanOrEqual(2 + 4 * 30 + 1);
    expect(await limiter.allow('a')).toMatchObject({ allowed: true, source: 'store' });
  });

  test('is counted, and told to hooks and `stats()`, as one that the store refuses', async () => {
    const told: unknown[] = [];
    const { limiter } = make({
      onBlock: (_, { source, repeated }) => told.push([source, repeated]),
    });
    for (let i = 0; i < 5; i++) await limiter.allow('a', { cost: 2 });
    expect(told).toEqual([
      ['deny_cache', false],
      ['deny_cache', true],
      ['deny_cache', true],
      ['deny_cache', true],
    ]);
    const { decisions, sources, limits } = limiter.stats();
    expect(decisions.refused).toMatchObject({ limited: 4 });
    expect(sources).toEqual({ store: 1, slice: 0, deny_cache: 4, none: 0 });
    expect(limits['default']).toMatchObject({ allowed: 1, refused: 4 });
  });

  test('is asked for a cost that fits, and refused one that does not', async () => {
    const { limiter } = make();
    await limiter.allow('a');
    expect(await limiter.allow('a', { cost: 2 })).toMatchObject({
      source: 'store',
      allowed: false,
    });
    expect(await limiter.allow('a', { cost: 2 })).toMatchObject({ source: 'deny_cache' });
    expect(await limiter.allow('a')).toMatchObject({ source: 'store', allowed: true });
    expect(await limiter.allow('a', { cost: 0 })).toMatchObject({ source: 'store', allowed: true });
    expect(await limiter.allow('a')).toMatchObject({ source: 'deny_cache', remaining: 0 });
    expect(await limiter.peek('a')).toMatchObject({ source: 'store', allowed: false });
    expect(await limiter.allow('b')).toMatchObject({ source: 'store', allowed: true });
  });

  test('is refused by `allowUpTo` only if not one unit fits, and by `reserve` like `allow`', async () => {
    const { limiter } = make();
    expect(await limiter.allowUpTo('a', 1)).toMatchObject({ source: 'store', granted: 1 });
    expect(await limiter.reserve('a', { cost: 2, ttl: '1m' })).toMatchObject({ source: 'store' });
    expect(await limiter.reserve('a', { cost: 2, ttl: '1m' })).toMatchObject({
      source: 'deny_cache',
      allowed: false,
    });
    expect(await limiter.allowUpTo('a', 5)).toMatchObject({ source: 'store', granted: 1 });
    expect(await limiter.allowUpTo('a', 5)).toMatchObject({ source: 'deny_cache', granted: 0 });
  });

  test('waits until the instant that the reply announced, and asks once then', async () => {
    const { limiter, clock, asked } = make();
    await limiter.allow('a', { cost: 2 });
    clock.advance('100ms');
    const waiting = limiter.wait('a');
    clock.advance('29899ms');
    expect(asked()).toBe(1);
    clock.advance('1ms');
    expect(await waiting).toMatchObject({ allowed: true, source: 'store' });
    expect(asked()).toBe(2);
  });

  test('is asked again in the same turn after each call that may give something back', async () => {
    const { limiter, clock } = make({ blocks: true });
    const charged = await limiter.allow('a', { cost: 2 });
    const refused = (): Promise<unknown> => limiter.allow('a');
    expect(await refused()).toMatchObject({ source: 'deny_cache' });
    const backs: (() => Promise<unknown>)[] = [
      () => limiter.credit('a', 1),
      () => limiter.unblock('a'),
      () => limiter.reset('a'),
      () => limiter.refund(charged),
    ];
    for (const back of backs) {
      await refused();
      clock.advance('1ms');
      const turn = [limiter.allow('a'), back(), limiter.allow('a')];
      const [before, , after] = await Promise.all(turn);
      expect(before).toMatchObject({ source: 'deny_cache' });
      expect(after).toMatchObject({ source: 'store' });
      await back().catch(() => undefined);
      await limiter.penalize('a', 2);
      await refused();
    }
  });

  test('is seen by the other limiters of its store, and what they give back is seen, too', async () => {
    const { limiter, store } = make();
    const plain = new RateLimiter({ store, rate: 2, period: '1m' });
    await plain.allow('a', { cost: 2 });
    expect(await limiter.allow('a')).toMatchObject({ allowed: false, source: 'store' });
    expect(await limiter.allow('a')).toMatchObject({ source: 'deny_cache' });
    expect(await plain.allow('a')).toMatchObject({ allowed: false, source: 'store' });
    await plain.reset('a');
    expect(await limiter.allow('a')).toMatchObject({ allowed: true, source: 'store' });
  });
});

test('what another process gives back takes effect after holdMs at the latest', async () => {
  await expect(giveBackElsewhere(await loadEngine(), new Random(1))).resolves.toBeUndefined();
});

test('a limit that only the store can refuse by is always asked', async () => {
  const { limiter } = make({
    algorithm: 'concurrency',
    max: 1,
    ttl: '1m',
    rate: undefined,
    period: undefined,
  } as never);
  const lease = await limiter.acquire('a', { heartbeat: false });
  expect(lease).toMatchObject({ allowed: true });
  for (let i = 0; i < 3; i++) {
    expect(await limiter.acquire('a', { heartbeat: false })).toMatchObject({
      allowed: false,
      source: 'store',
    });
  }
});

test('remembers so many refused identities as maxIdentities says, and none that pass', async () => {
  const { limiter, asked } = make({ denyCache: { maxIdentities: 3 }, rate: 1 });
  for (const id of ['a', 'b', 'c', 'd']) await limiter.allow(id);
  const before = asked();
  const sources: string[] = [];
  for (const id of ['d', 'c', 'b', 'a']) sources.push((await limiter.allow(id)).source);
  expect(sources).toEqual(['deny_cache', 'deny_cache', 'deny_cache', 'store']);
  expect(asked() - before).toBe(1);
});

test('does not grow with random identities: neither with those that pass nor with those refused', async () => {
  const { limiter, clock } = make({ denyCache: { maxIdentities: 100 }, rate: 1, period: '1s' });
  const grow = async (from: number): Promise<number> => {
    for (let i = from; i < from + 5_000; i++) {
      await limiter.allow(i);
      await limiter.allow(i);
      if (i % 100 === 0) {
        await limiter.credit(i, 1);
        clock.advance('2s');
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  await grow(0);
  const heap = await grow(5_000);
  expect((await grow(10_000)) - heap).toBeLessThan(8 * 1024 * 1024);
});

describe('the option denyCache', () => {
  const refusal = (denyCache: unknown): string => {
    try {
      make({ denyCache } as never);
      return 'taken';
    } catch (error) {
      return (error as Error).message;
    }
  };

  test.each([
    [true, 'taken'],
    [false, 'taken'],
    [{}, 'taken'],
    [{ holdMs: 1, maxIdentities: 1_000_000 }, 'taken'],
    ['yes', /^`denyCache` must be true, false or an object of options/],
    [null, /^`denyCache` must be true, false/],
    [{ holdMs: 0 }, /holdMs.*from 1 to 60,?000/],
    [{ holdMs: 60_001 }, /holdMs/],
    [{ maxIdentities: 0 }, /maxIdentities/],
    [{ ttl: 5 }, /`ttl`.*`holdMs`/],
  ])('%j', (value, expected) => {
    expect(refusal(value)).toEqual(
      typeof expected === 'string' ? expected : expect.stringMatching(expected),
    );
  });

  test('off: asks the store for each call, and keeps nothing', async () => {
    const { limiter, asked, store } = make({ denyCache: false });
    for (let i = 0; i < 10; i++) await limiter.allow('a');
    expect(asked()).toBe(10);
    expect(limiter.stats().sources).toMatchObject({ store: 10, deny_cache: 0 });
    expect(Object.keys(store)).not.toContain('local');
  });
});
