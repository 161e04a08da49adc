import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit, Settlement } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';

const ID = 'user:12345';
const done = (charged: number, uncharged = 0, expired = false): Settlement => ({
  charged,
  uncharged,
  expired,
});

/** An API that reserves, and a worker with other limits that settles. */
function makeBoth(
  limits: readonly Limit[] = [tokenBucket({ rate: 100, period: '100s', maxDebt: 50 })],
  options: Readonly<Record<string, unknown>> = {},
) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const api = new RateLimiter({ store, limits, ...options });
  const worker = new RateLimiter({
    store,
    limits: [fixedWindow({ name: 'other', rate: 1, period: '1s' })],
    ...options,
  });
  return { clock, store, api, worker };
}

const remaining = async (limiter: RateLimiter): Promise<readonly (number | undefined)[]> =>
  (await limiter.peek(ID)).limits.map((limit) => limit.remaining);

describe('a worker that resumes a reservation', () => {
  test.each<[string, Limit]>([
    ['a token bucket', tokenBucket({ rate: 100, period: '100s', maxDebt: 50 })],
    [
      'a named token bucket of a slow rate',
      tokenBucket({ name: 'b', rate: 7, period: '1h', burst: 100, maxDebt: 50 }),
    ],
    ['a sliding window', slidingWindow({ rate: 100, period: '100s', maxDebt: 50 })],
    ['a log', slidingWindowLog({ name: 'log', rate: 100, period: '100s', maxDebt: 50 })],
    ['a fixed window', fixedWindow({ rate: 100, period: '100s', maxDebt: 50 })],
    [
      'a calendar window',
      fixedWindow({
        rate: 100,
        period: 'month',
        timeZone: 'Europe/Berlin',
        anchor: '2026-01-15',
        maxDebt: 50,
      }),
    ],
  ])('gives back and charges under %s, which it does not have', async (_of, limit) => {
    const { api, worker } = makeBoth([limit]);
    const low = await api.reserve(ID, { cost: 60, ttl: '1m' });
    expect(await worker.resume(low.token).settle(25)).toEqual(done(25));
    expect(await remaining(api)).toEqual([75]);
    const high = await api.reserve(ID, { cost: 75, ttl: '1m' });
    expect(await worker.resume(high.token).settle(200)).toEqual(done(125, 75));
    expect(await remaining(api)).toEqual([0]);
    expect(await worker.resume(high.token).cancel()).toEqual(done(125, 75));
    expect(await remaining(api)).toEqual([0]);
  });

  test('settles several limits by their names, whatever it has itself', async () => {
    const { api, worker } = makeBoth([
      slidingWindow({ name: 'other', rate: 1_000, period: '1h' }),
      tokenBucket({ rate: 100, period: '100s' }),
      tokenBucket({ name: 'trial', rate: 10, period: '100s', shadow: true }),
    ]);
    const { token } = await api.reserve(ID, { cost: 60, ttl: '1m' });
    expect(await worker.resume(token).settle(20)).toEqual(done(20));
    expect(await remaining(api)).toEqual([980, 80, 10]);
    expect(await remaining(worker)).toEqual([1]);
  });

  test('charges by `add`, and is answered that no reservation is held once it is settled', async () => {
    const { api, worker } = makeBoth();
    const reservation = await api.reserve(ID, { cost: 60, ttl: '1m' });
    const resumed = worker.resume(reservation.token);
    expect(await resumed.add(30)).toMatchObject({ allowed: true, remaining: 10, cost: 30 });
    expect(await resumed.add(30)).toMatchObject({ allowed: false, reason: 'limited' });
    expect(await reservation.add(5)).toMatchObject({ allowed: true, remaining: 5 });
    expect(await resumed.add(1)).toMatchObject({ allowed: true, remaining: 4 });
    expect(await resumed.settle(10)).toEqual(done(10));
    expect(await remaining(api)).toEqual([90]);
    for (const handle of [resumed, reservation, worker.resume(reservation.token)]) {
      expect(await handle.add(1)).toMatchObject({ allowed: false, reason: 'not_held', cost: 1 });
    }
    expect(worker.stats().decisions).toMatchObject({
      allowed: { within_limit: 2 },
      refused: { limited: 1 },
    });
  });

  test('tells its own `add`s from those of ten other handles', async () => {
    const { api, worker } = makeBoth();
    const { token } = await api.reserve(ID, { cost: 10, ttl: '1m' });
    const handles = Array.from({ length: 10 }, () => worker.resume(token));
    for (const _ of [1, 2]) {
      for (const handle of handles) {
        expect(await handle.add(2)).toMatchObject({ allowed: true });
      }
    }
    expect(await remaining(api)).toEqual([50]);
    expect(await worker.resume(token).cancel()).toEqual(done(0));
    expect(await remaining(api)).toEqual([100]);
  });

  test('is answered the first result, as every process is, until the `ttl`', async () => {
    const { api, worker, clock } = makeBoth();
    const reservation = await api.reserve(ID, { cost: 60, ttl: '1h' });
    const [first, second] = [worker.resume(reservation.token), worker.resume(reservation.token)];
    expect(await first.settle(20)).toEqual(done(20));
    clock.advance('59m');
    for (const handle of [first, second, reservation, worker.resume(reservation.token)]) {
      expect(await handle.settle(70)).toEqual(done(20));
      expect(await handle.cancel()).toEqual(done(20));
    }
    expect(await remaining(api)).toEqual([100]);
    clock.advance('1m');
    expect(await worker.resume(reservation.token).settle(70)).toEqual(done(0, 70, true));
  });

  test('is answered the first result for ten deadlines, where the `ttl` is shorter', async () => {
    const { api, worker, clock } = makeBoth();
    const { token } = await api.reserve(ID, { cost: 60, ttl: '100ms' });
    await worker.resume(token).settle(20);
    clock.advance('2499ms');
    expect(await worker.resume(token).settle(70)).toEqual(done(20));
    clock.advance('1ms');
    expect(await worker.resume(token).settle(70)).toEqual(done(0, 70, true));
  });

  test('finds an expired reservation expired, and changes nothing', async () => {
    const { api, worker, clock } = makeBoth([fixedWindow({ rate: 100, period: '1h' })]);
    const { token } = await api.reserve(ID, { cost: 60, ttl: '1m' });
    clock.advance('1m');
    const resumed = worker.resume(token);
    expect(await resumed.add(1)).toMatchObject({ reason: 'not_held' });
    expect(await resumed.settle(20)).toEqual(done(0, 20, true));
    expect(await remaining(api)).toEqual([40]);
  });

  test('settles under the numbers of a plan that was passed with the call', async () => {
    const own = tokenBucket({ rate: 100, period: '100s' });
    const { api, worker } = makeBoth([own]);
    const limits = [tokenBucket({ rate: 10, period: '100s', burst: 20, maxDebt: 5 })];
    await api.allow(ID, { cost: 1, limits });
    const { token } = await api.reserve(ID, { cost: 15, ttl: '1m', limits });
    expect(await worker.resume(token).settle(5)).toEqual(done(5));
    expect((await api.peek(ID, { limits })).remaining).toBe(14);
    expect((await api.peek(ID)).remaining).toBe(94);
    const over = await api.reserve(ID, { cost: 14, ttl: '1m', limits });
    expect(await worker.resume(over.token).settle(30)).toEqual(done(19, 11));
    expect((await api.peek(ID)).remaining).toBe(75);
  });

  test('heeds a block in `add`, as the reserving process does', async () => {
    const { api, worker } = makeBoth(undefined, { blocks: true });
    const { token } = await api.reserve(ID, { cost: 10, ttl: '1m' });
    await api.block(ID, '1m');
    const resumed = worker.resume(token);
    expect(await resumed.add(5)).toMatchObject({ allowed: false, reason: 'blocked' });
    expect(await resumed.settle(3)).toEqual(done(3));
  });

  test.each([
    [true, false],
    [false, true],
    [true, true],
  ])(
    'settles where the API observes its provider: %s, and the worker: %s',
    async (observes, workerObserves) => {
      const clock = new ManualClock();
      const store = new MemoryStore({ clock });
      const limits = [
        tokenBucket({ name: 'rpm', rate: 60, period: '1h' }),
        tokenBucket({ name: 'tpm', unit: 'tokens', rate: 900, period: '1h' }),
      ];
      const api = new RateLimiter({ store, limits, observes });
      const worker = new RateLimiter({ store, rate: 1, period: '1s', observes: workerObserves });
      const reservation = await api.reserve(ID, { cost: { tokens: 400 }, ttl: '1h' });
      const resumed = worker.resume(reservation.token);
      expect(await resumed.add({ tokens: 10 } as never)).toMatchObject({ allowed: true });
      const settled = { charged: { calls: 1, tokens: 50 }, uncharged: { calls: 0, tokens: 0 } };
      expect(await resumed.settle({ tokens: 50 } as never)).toMatchObject(settled);
      expect(await reservation.cancel()).toMatchObject(settled);
      expect(await worker.resume(reservation.token).cancel()).toMatchObject(settled);
    },
  );

  test('has no effect on a refused reservation', async () => {
    const { api, worker } = makeBoth();
    await api.allow(ID, { cost: 50 });
    for (const cost of [60, 600]) {
      const { token, allowed } = await api.reserve(ID, { cost, ttl: '1m' });
      expect(allowed).toBe(false);
      expect(await worker.resume(token).settle(1)).toEqual(done(0, 1, true));
    }
    expect(await remaining(api)).toEqual([50]);
  });

  test('sends nothing for a reservation without a limit', async () => {
    const { api, worker, store } = makeBoth();
    const { token } = await api.reserve(ID, { cost: 60, ttl: '1m', limits: [] });
    const resumed = worker.resume(token);
    expect(await resumed.add(5)).toMatchObject({ allowed: true, reason: 'unlimited' });
    expect(await resumed.settle(70)).toEqual(done(70));
    expect(store.size).toBe(0);
  });

  test('calls no hook, for want of an identity', async () => {
    const told: unknown[] = [];
    const hook = (...heard: unknown[]): void => void told.push(heard);
    const { api, worker } = makeBoth(undefined, { onAllow: hook, onBlock: hook });
    const { token } = await api.reserve(ID, { cost: 60, ttl: '1m' });
    told.length = 0;
    const resumed = worker.resume(token);
    await resumed.add(5);
    await resumed.add(500);
    await resumed.cancel();
    expect(told).toEqual([]);
  });

  test.each([-1, 0.5, 1_000_000_001, '5', undefined, null, 5n, { tokens: 1 }])(
    'rejects settle(%o), and can still settle',
    async (actual) => {
      const { api, worker } = makeBoth();
      const { token } = await api.reserve(ID, { cost: 60, ttl: '1m' });
      const resumed = worker.resume(token);
      await expect(resumed.settle(actual as number)).rejects.toMatchObject({
        code: 'ERR_INVALID_COST',
      });
      expect(await resumed.settle(10)).toEqual(done(10));
    },
  );

  test('is refused after close()', async () => {
    const { api, worker } = makeBoth();
    const { token } = await api.reserve(ID, { cost: 60, ttl: '1m' });
    const resumed = worker.resume(token);
    await worker.close();
    expect(() => worker.resume(token)).toThrow(RateLimiterError);
    await expect(resumed.cancel()).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  });
});

describe('a worker that resumes a reservation by parts and units', () => {
  const limits = [
    tokenBucket({ name: 'rpm', by: ['org', 'key'], rate: 60, period: '1m' }),
    tokenBucket({ name: 'tpm', by: ['org', 'key'], unit: 'tokens', rate: 900, period: '1m' }),
    fixedWindow({ name: 'budget', by: 'org', unit: 'micros', rate: 9_000, period: 'month' }),
  ];
  const identity = { org: 'acme', key: 'k-1' };
  const left = async (api: RateLimiter<'org' | 'key', 'tokens' | 'micros'>) =>
    (await api.peek(identity, { cost: { calls: 0, tokens: 0, micros: 0 } })).limits.map(
      (limit) => limit.remaining,
    );
  const make = () => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const worker = new RateLimiter({ store, limits: [limits[2]!] });
    return {
      api: new RateLimiter({ store, limits }),
      worker,
      plain: new RateLimiter({ store, rate: 5, period: '1s' }),
    };
  };

  test('settles what it names, and leaves the rest as reserved', async () => {
    const { api, worker } = make();
    const cost = { tokens: 400, micros: 1_200 };
    const { token } = await api.reserve(identity, { cost, ttl: '5m' });
    const resumed = worker.resume(token);
    expect(await resumed.add({ micros: 100 })).toMatchObject({
      allowed: true,
      limitName: 'budget',
    });
    const settled = {
      charged: { calls: 1, tokens: 400, micros: 300 },
      uncharged: { calls: 0, tokens: 0, micros: 0 },
    };
    expect(await resumed.settle({ micros: 300 })).toEqual({ ...settled, expired: false });
    expect(await left(api)).toEqual([59, 500, 8_700]);
    expect(await worker.resume(token).cancel()).toEqual({ ...settled, expired: false });
  });

  test('cancels everything, also in a limiter without units', async () => {
    const { api, plain } = make();
    const { token } = await api.reserve(identity, { cost: { tokens: 400 }, ttl: '5m' });
    expect(await plain.resume(token).cancel()).toMatchObject({
      charged: { calls: 0, tokens: 0 },
      expired: false,
    });
    expect(await left(api)).toEqual([60, 900, 9_000]);
    await expect(plain.resume(token).settle({ tokns: 1 } as never)).resolves.toMatchObject({
      charged: { calls: 0, tokens: 0 },
    });
  });

  test('settles limits that a `null` part leaves, with the units that its own limits know', async () => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const apart = [
      fixedWindow({ name: 'ip', by: 'ip', rate: 10, period: '1h' }),
      fixedWindow({ name: 'user', by: 'user', unit: 'tokens', rate: 100, period: '1h' }),
    ];
    const api = new RateLimiter({ store, limits: apart });
    const { token } = await api.reserve(
      { ip: '::1', user: null },
      { cost: { calls: 4 }, ttl: '1m' },
    );
    const resumed = api.resume(token);
    await expect(resumed.settle({ nothing: 1 } as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_COST',
    });
    expect(await resumed.settle({ calls: 2, tokens: 50 })).toEqual({
      charged: { calls: 2 },
      uncharged: { calls: 0 },
      expired: false,
    });
  });

  test('names its own units where the reservation has expired', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const api = new RateLimiter({ store, limits });
    const { token } = await api.reserve(identity, { cost: { tokens: 400 }, ttl: '1m' });
    clock.advance('1m');
    expect(await api.resume(token).settle({ tokens: 7 })).toEqual({
      charged: { tokens: 0 },
      uncharged: { tokens: 7 },
      expired: true,
    });
    expect(await api.resume(token).cancel()).toEqual({
      charged: { calls: 0, tokens: 0, micros: 0 },
      uncharged: { calls: 0, tokens: 0, micros: 0 },
      expired: true,
    });
  });

  test('heeds a block of a home by which no limit of the plan counts', async () => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const own = [
      fixedWindow({ by: 'org', rate: 10, period: '1h' }),
      fixedWindow({ name: 'key', by: ['org', 'key'], rate: 10, period: '1h' }),
    ];
    const api = new RateLimiter({ store, limits: own, blocks: true });
    const worker = new RateLimiter({ store, rate: 1, period: '1s', blocks: true });
    const plan = [fixedWindow({ name: 'key', by: ['org', 'key'], rate: 20, period: '1h' })];
    const { token } = await api.reserve(identity, { cost: 2, ttl: '1m', limits: plan });
    await api.block({ org: 'acme' }, '1m');
    expect(await worker.resume(token).add(1)).toMatchObject({ reason: 'blocked' });
  });
});
