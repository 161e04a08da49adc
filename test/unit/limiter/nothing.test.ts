import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  RateLimitExceeded,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit, RateLimiterOptions } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { limited } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test, vi } from 'vitest';

const UNLIMITED = {
  allowed: true,
  degraded: false,
  reason: 'unlimited',
  source: 'none',
  cost: 1,
  limits: [],
  remaining: Infinity,
  resetAfterMs: 0,
};
const FREE = { limits: [] };

function make(options: Partial<RateLimiterOptions> = {}) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const submit = vi.spyOn(store, 'submit');
  const limiter = new RateLimiter({
    store,
    rate: 5,
    period: '1h',
    ...options,
  } as RateLimiterOptions);
  return { clock, store, submit, limiter };
}

describe('`limits: []`, the plan without a limit', () => {
  test('passes under every verb, and asks the store nothing', async () => {
    const { limiter, submit } = make();
    for (const cost of [0, 1, Number.MAX_SAFE_INTEGER]) {
      expect(await limiter.allow('id', { cost, ...FREE })).toStrictEqual({ ...UNLIMITED, cost });
      expect(await limiter.peek('id', { cost, ...FREE })).toStrictEqual({ ...UNLIMITED, cost });
      expect(await limiter.wait('id', { cost, ...FREE })).toStrictEqual({ ...UNLIMITED, cost });
    }
    expect(await limiter.allowUpTo('id', 7, FREE)).toStrictEqual({
      ...UNLIMITED,
      cost: 7,
      granted: 7,
    });
    expect(await limiter.penalize('id', 7, FREE)).toStrictEqual({ ...UNLIMITED, cost: 7 });
    expect(await limiter.reset('id', FREE)).toBeUndefined();
    const lease = await limiter.acquire('id', FREE);
    expect(lease).toMatchObject({ ...UNLIMITED, leaseId: undefined });
    expect([await lease.renew(), await lease.release()]).toEqual([false, false]);
    const reservation = await limiter.reserve('id', { cost: 3, ttl: '1m', ...FREE });
    expect(reservation).toMatchObject({ ...UNLIMITED, cost: 3 });
    const settled = { charged: 9, uncharged: 0, expired: false };
    expect(await reservation.settle(9)).toEqual(settled);
    expect(await reservation.cancel()).toEqual(settled);
    expect(await limiter.refund(await limiter.allow('id', FREE))).toStrictEqual(UNLIMITED);
    expect(submit).not.toHaveBeenCalled();
    expect((await limiter.peek('id')).remaining).toBe(5);
  });

  test('checks only the block, under a limiter with `blocks: true`', async () => {
    const { limiter, submit, clock, store } = make({ blocks: true });
    expect(await limiter.allow('id', FREE)).toStrictEqual({ ...UNLIMITED, source: 'store' });
    expect(submit).toHaveBeenCalledTimes(1);
    expect(submit.mock.calls[0]![0].shape.rules).toHaveLength(1);
    expect(store.size).toBe(0);
    await limiter.block('id', '10s');
    const refused = { allowed: false, reason: 'blocked', limits: [], retryAfterMs: 10_000 };
    expect(await limiter.allow('id', FREE)).toMatchObject(refused);
    expect(await limiter.peek('id', FREE)).toMatchObject(refused);
    expect(await limiter.allowUpTo('id', 4, FREE)).toMatchObject({ ...refused, granted: 0 });
    expect(await limiter.acquire('id', FREE)).toMatchObject({ ...refused, leaseId: undefined });
    const reservation = await limiter.reserve('id', { ttl: '1m', ...FREE });
    expect(reservation).toMatchObject(refused);
    expect(await reservation.settle(2)).toEqual({ charged: 0, uncharged: 2, expired: false });
    const waiting = limiter.wait('id', FREE);
    clock.advance('10s');
    expect(await waiting).toStrictEqual({ ...UNLIMITED, source: 'store' });
    expect(await limiter.allowUpTo('id', 4, FREE)).toStrictEqual({
      ...UNLIMITED,
      source: 'store',
      cost: 4,
      granted: 4,
    });
    expect(store.size).toBe(1); // the block, which has ended
  });

  test('finds the block of a limiter whose limits are all named', async () => {
    const { limiter } = make({
      blocks: true,
      rate: undefined,
      period: undefined,
      limits: [slidingWindow({ name: 'a', rate: 1, period: '1m' })],
    } as never);
    await limiter.block('id', '1m');
    expect((await limiter.allow('id', FREE)).reason).toBe('blocked');
  });

  test('is counted separately, and calls `onAllow`', async () => {
    const told: Decision[] = [];
    const { limiter } = make({ blocks: true, onAllow: (_, decision) => told.push(decision) });
    await limiter.allow('id', FREE);
    await limiter.peek('id', FREE);
    await limiter.allow('id');
    expect(limiter.stats().decisions.allowed).toEqual({
      within_limit: 1,
      unlimited: 1,
      store_timeout: 0,
      store_away: 0,
      store_error: 0,
      overloaded: 0,
    });
    expect(told.map(({ reason }) => reason)).toEqual(['unlimited', 'within_limit']);
    expect(limiter.stats().limits['default']).toMatchObject({ allowed: 1, refused: 0 });
  });

  test('still refuses a wrong identity, a wrong cost and a closed limiter', async () => {
    const { limiter } = make();
    await expect(limiter.allow('', FREE)).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
    await expect(limiter.allowUpTo('', 1, FREE)).rejects.toMatchObject({
      code: 'ERR_INVALID_IDENTITY',
    });
    await expect(limiter.reset('', FREE)).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
    await expect(limiter.allow('id', { cost: -1, ...FREE })).rejects.toMatchObject({
      code: 'ERR_INVALID_COST',
    });
    await limiter.close();
    await expect(limiter.allow('id', FREE)).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  });

  test('is refused as the limits of a limiter, and the error says where it is allowed', () => {
    expect(() => new RateLimiter({ store: new MemoryStore(), limits: [] })).toThrow(
      /an array of 1 to 16 limits.*Only a call may be without a limit: allow\(identity, \{ limits: \[\] \}\)/,
    );
  });

  test('a guard lets it pass without rate limit fields, and heeds a block', async () => {
    for (const headers of [
      'draft-11',
      'draft-7',
      'draft-6',
      'legacy',
      () => ({ a: 'b' }),
    ] as const) {
      const { limiter } = make({ blocks: true });
      const guard = createGuard(limiter, {
        identify: () => 'id',
        limits: () => [],
        headers,
        count: 'failures',
      });
      const verdict = await guard.check({});
      expect(verdict).toMatchObject({ pass: true, headers: [] });
      if (verdict.pass) verdict.finish?.(200);
      await limiter.block('id', '1m');
      expect(await guard.check({})).toMatchObject({ pass: false, status: 429 });
    }
  });

  test('a limited function runs', async () => {
    const { limiter } = make({ rate: 1 });
    const run = limited(() => 'ran', { limiter, identify: 'all', limits: [] });
    expect([await run(), await run()]).toEqual(['ran', 'ran']);
  });
});

const NOTHING: readonly (readonly [string, () => Limit])[] = [
  ['token bucket', () => tokenBucket({ rate: 0, period: '1m', maxDebt: 3 })],
  ['sliding window', () => slidingWindow({ rate: 0, period: '1m', maxDebt: 3 })],
  ['sliding window log', () => slidingWindowLog({ rate: 0, period: '1m', maxDebt: 3 })],
  ['fixed window', () => fixedWindow({ rate: 0, period: '1m', maxDebt: 3 })],
  ['calendar window', () => fixedWindow({ rate: 0, period: 'month' })],
];

describe.each(NOTHING)('a %s of rate 0, the plan of nothing', (_, limit) => {
  const impossible = { allowed: false, reason: 'impossible', maxCost: 0, limitedBy: ['default'] };

  test('refuses every cost as impossible, without asking the store', async () => {
    const { limiter, submit } = make();
    const plan = { limits: [limit()] };
    expect(await limiter.allow('id', plan)).toMatchObject(impossible);
    expect(await limiter.peek('id', plan)).toMatchObject(impossible);
    expect(await limiter.allowUpTo('id', 9, plan)).toMatchObject({ ...impossible, granted: 0 });
    expect(await limiter.reserve('id', { ttl: '1m', ...plan })).toMatchObject(impossible);
    const places = { limits: [limit(), concurrency({ name: 'places', max: 1, ttl: '1m' })] };
    expect(await limiter.acquire('id', places)).toMatchObject(impossible);
    const refused = await limiter.wait('id', plan).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RateLimitExceeded);
    expect(String(refused)).toContain("limit 'default', under which nothing ever passes");
    expect(submit).not.toHaveBeenCalled();
    expect(limiter.stats().decisions.refused['impossible']).toBe(5);
  });

  test('lets a cost of 0 pass, and may be a shadow, have `maxDebt`, or be the only limit', async () => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const limiter = new RateLimiter({ store, limits: [limit()] });
    expect(await limiter.allow('id', { cost: 0 })).toMatchObject({ allowed: true, remaining: 0 });
    expect(store.size).toBe(0);
    await limiter.penalize('id', 2);
    const { maxDebt } = limit();
    expect((await limiter.allow('id', { cost: 0 })).allowed).toBe(maxDebt === 0);
    await limiter.reset('id');
    expect((await limiter.peek('id', { cost: 0 })).allowed).toBe(true);
  });

  test('is 403 over HTTP, without rate limit fields', async () => {
    const { limiter } = make();
    const guard = createGuard(limiter, { identify: () => 'id', limits: [limit()] });
    const verdict = await guard.check({});
    expect(verdict).toMatchObject({
      pass: false,
      status: 403,
      headers: [['Content-Type', 'application/problem+json']],
    });
    expect(JSON.parse(verdict.pass ? '' : verdict.body)).toMatchObject({
      status: 403,
      title: 'Forbidden',
    });
  });
});

test('a limit of rate 0 beside others makes the call impossible, unless it is a shadow', async () => {
  const { limiter } = make();
  const others = [tokenBucket({ name: 'a', rate: 5, period: '1m' })];
  const none = { name: 'none', rate: 0, period: '1m' } as const;
  expect(await limiter.allow('id', { limits: [...others, slidingWindow(none)] })).toMatchObject({
    reason: 'impossible',
    limitedBy: ['none'],
  });
  const shadow = { limits: [...others, slidingWindow({ ...none, shadow: true })] };
  expect(await limiter.allow('id', shadow)).toMatchObject({
    allowed: true,
    remaining: 4,
    limits: [{ refused: false }, { refused: true, remaining: 0 }],
  });
});

test('a burst beside a rate of 0 is refused: it would pass once', () => {
  expect(() => tokenBucket({ rate: 0, period: '1m', burst: 5 })).toThrow(
    /`burst` must be left out where `rate` is 0/,
  );
});

const LIMITS: readonly (readonly [string, () => Limit])[] = [
  ['token bucket', () => tokenBucket({ rate: 5, period: '1m', maxDebt: 3 })],
  ['token bucket with parts', () => tokenBucket({ rate: 7, period: '1s', burst: 5, maxDebt: 3 })],
  ['sliding window', () => slidingWindow({ rate: 5, period: '1m', maxDebt: 3 })],
  ['sliding window log', () => slidingWindowLog({ rate: 5, period: '1m', maxDebt: 3 })],
  ['fixed window', () => fixedWindow({ rate: 5, period: '1m', maxDebt: 3 })],
  ['calendar window', () => fixedWindow({ rate: 5, period: 'month', maxDebt: 3 })],
];

describe.each(LIMITS)('a cost of 0 under a %s', (_, limit) => {
  test('charges nothing and writes nothing, under every verb', async () => {
    const { limiter, store } = make({
      rate: undefined,
      period: undefined,
      limits: [limit()],
    } as never);
    const passed = { allowed: true, reason: 'within_limit', remaining: 5, resetAfterMs: 0 };
    const decision = await limiter.allow('id', { cost: 0 });
    expect(decision).toMatchObject(passed);
    expect(await limiter.peek('id', { cost: 0 })).toMatchObject(passed);
    expect(await limiter.wait('id', { cost: 0 })).toMatchObject(passed);
    const granted = await limiter.allowUpTo('id', 0);
    expect(granted).toMatchObject({ ...passed, granted: 0 });
    expect(await limiter.penalize('id', 0)).toMatchObject(passed);
    expect(await limiter.refund(decision)).toMatchObject(passed);
    expect(await limiter.refund(granted)).toMatchObject(passed);
    expect(store.size).toBe(0);
  });

  test('passes while nothing is left, and is refused while units are owed', async () => {
    const { limiter } = make({ rate: undefined, period: undefined, limits: [limit()] } as never);
    const before = await limiter.allow('id', { cost: 5 });
    expect((await limiter.allow('id')).reason).toBe('limited');
    const free = await limiter.allow('id', { cost: 0 });
    expect(free).toMatchObject({ allowed: true, remaining: 0 });
    await limiter.refund(free);
    expect((await limiter.peek('id')).remaining).toBe(0);
    await limiter.penalize('id', 2);
    expect(await limiter.allow('id', { cost: 0 })).toMatchObject({ reason: 'limited' });
    expect(await limiter.allowUpTo('id', 0)).toMatchObject({ reason: 'limited', granted: 0 });
    await limiter.refund(before);
    expect((await limiter.peek('id')).remaining).toBe(3);
  });

  test('reserves an estimate of 0, which settles for the actual cost', async () => {
    const { limiter } = make({ rate: undefined, period: undefined, limits: [limit()] } as never);
    const none = await limiter.reserve('id', { cost: 0, ttl: '1m' });
    expect(none).toMatchObject({ allowed: true, remaining: 5 });
    expect(await none.settle(0)).toEqual({ charged: 0, uncharged: 0, expired: false });
    expect((await limiter.peek('id')).remaining).toBe(5);
    const some = await limiter.reserve('id', { cost: 0, ttl: '1m' });
    expect(await some.settle(2)).toEqual({ charged: 2, uncharged: 0, expired: false });
    expect((await limiter.peek('id')).remaining).toBe(3);
  });
});

test('a lease of cost 0 takes its place, and no units beside it', async () => {
  const { limiter } = make();
  const limits = [
    slidingWindowLog({ name: 'a', rate: 1, period: '1m' }),
    concurrency({ name: 'places', max: 1, ttl: '1m' }),
  ];
  const lease = await limiter.acquire('id', { cost: 0, limits });
  expect(lease.limits.map(({ remaining }) => remaining)).toEqual([1, 0]);
  expect((await limiter.acquire('id', { cost: 0, limits })).reason).toBe('limited');
  expect(await lease.release()).toBe(true);
});
