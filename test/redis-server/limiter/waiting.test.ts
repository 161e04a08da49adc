import { AsyncLocalStorage } from 'node:async_hooks';
import dc from 'node:diagnostics_channel';
import { concurrency, MemoryStore, RateLimitExceeded, RateLimiter } from 'distributed-rate-limiter';
import type { Decision, FailStrategy, StoreSubmission } from 'distributed-rate-limiter';
import { limited } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { FaultProxy, RedisServer } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

const warnings = collectWarnings();
const limiters: RateLimiter[] = [];
let server: RedisServer;
let proxy: FaultProxy;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  await server.command('FLUSHALL');
  proxy = await startFaultProxy(server);
});
afterEach(async () => {
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()));
  await proxy.close();
});

/** A connected limiter behind the proxy with `rate` units, none of which recovers during a test. */
async function connected(rate = 50_000, failStrategy: FailStrategy = 'closed') {
  const limiter = new RateLimiter({
    redis: proxy.url,
    rate,
    period: '100d',
    blocks: true,
    timeoutMs: 2_000,
    maxInFlight: 100_000,
    failStrategy,
  });
  limiters.push(limiter);
  await limiter.ready();
  return limiter;
}

async function remaining(): Promise<number | undefined> {
  const limiter = new RateLimiter({ redis: server.url, rate: 50_000, period: '100d' });
  limiters.push(limiter);
  await limiter.ready();
  return (await limiter.peek('id')).remaining;
}

/** A limiter on a stopped clock, whose one unit is spent. */
async function spent(period: '10s' | '30s' = '10s') {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 1, period });
  limiters.push(limiter);
  await limiter.allow('id');
  return { clock, limiter };
}

const outcomes = async (waiting: readonly Promise<unknown>[]): Promise<unknown[]> =>
  (await Promise.allSettled(waiting)).map((ended) =>
    ended.status === 'fulfilled' ? ended.value : (ended.reason as unknown),
  );

describe('callers whose signals are aborted', () => {
  test.each([
    ['share one signal', (stop: AbortController) => () => stop.signal],
    [
      'have signals derived from one',
      (stop: AbortController) => () => AbortSignal.any([stop.signal]),
    ],
  ])('aborted waiters send and charge nothing when they %s', async (_, signalsOf) => {
    const limiter = await connected();
    await limiter.block('id', '1h');
    const stop = new AbortController();
    const signalOf = signalsOf(stop);
    const waiting = Array.from({ length: 5_000 }, () =>
      limiter.wait('id', { signal: signalOf(), maxQueue: 1_000_000 }),
    );
    await waitUntil('the first to have asked', () => asked(limiter) === 1);
    await limiter.unblock('id');
    const reason = new Error('stop');
    stop.abort(reason);
    expect(new Set(await outcomes(waiting))).toEqual(new Set([reason]));
    await limiter.peek('id');
    expect(asked(limiter)).toBe(1);
    expect(await remaining()).toBe(50_000);
  });

  test('aborted waiters send nothing when a loop aborts one signal after another', async () => {
    const limiter = await connected();
    await limiter.block('id', '1h');
    const stops = Array.from({ length: 100 }, () => new AbortController());
    const waiting = stops.map(({ signal }) => limiter.wait('id', { signal }));
    await waitUntil('the first to have asked', () => asked(limiter) === 1);
    await limiter.unblock('id');
    for (const stop of stops) stop.abort('stop');
    expect(new Set(await outcomes(waiting))).toEqual(new Set(['stop']));
    await limiter.peek('id');
    expect(asked(limiter)).toBe(1);
  });

  test('an aborted waiter gets back the charge of a call under way', async () => {
    const limiter = await connected();
    const stop = new AbortController();
    const waiting = limiter.wait('id', { signal: stop.signal, cost: 5 });
    stop.abort('stop');
    await expect(waiting).rejects.toBe('stop');
    await waitUntil('the charge to be back', async () => (await remaining()) === 50_000);
    expect(asked(limiter)).toBe(1);
  });

  test('a waiter gets back its charge when the limiter is closed', async () => {
    const limiter = await connected();
    const ended = outcomes([limiter.wait('id'), limiter.wait('id')]);
    await limiter.close();
    expect(await ended).toMatchObject([
      { code: 'ERR_LIMITER_CLOSED' },
      { code: 'ERR_LIMITER_CLOSED' },
    ]);
    expect(await remaining()).toBe(50_000);
  });

  test('an aborted waiter lets the next waiter, with another signal, call the store', async () => {
    const { clock, limiter } = await spent();
    const stop = new AbortController();
    const first = limiter.wait('id', { signal: stop.signal });
    const second = limiter.wait('id');
    await limiter.reset('id');
    stop.abort('stop');
    await expect(first).rejects.toBe('stop');
    expect(await second).toMatchObject({ allowed: true });
    expect(clock.now()).toBe(Date.UTC(2026, 0, 1));
  });

  test('waiters add one listener per signal, whatever the number of limiters, and remove it', async () => {
    const stop = new AbortController();
    const all = await Promise.all(Array.from({ length: 12 }, () => spent()));
    const waiting = all.flatMap(({ limiter }) => [
      limiter.wait('id', { signal: stop.signal }),
      limiter.wait('id', { signal: stop.signal }),
      limited(() => 'ran', { limiter, identify: 'id', wait: { signal: stop.signal } })(),
    ]);
    for (const { clock } of all) clock.advance('30s');
    await Promise.all(waiting);
    expect((await warnings()).map(({ name }) => name)).not.toContain('MaxListenersExceededWarning');
    stop.abort(); // The limiter removed its listener, so the abort rejects nothing a second time.
  });
});

function asked(limiter: RateLimiter): number {
  const { allowed, refused } = limiter.stats().decisions;
  return [allowed, refused].flatMap((counts) => Object.values(counts)).reduce((a, b) => a + b, 0);
}

describe('many waiters', () => {
  test.each([
    ['close', (limiter: RateLimiter) => void limiter.close()],
    ['an abort', (_: RateLimiter, stop: AbortController) => stop.abort()],
  ])('%s ends all waiters in time proportional to their number', async (_, end) => {
    const took = async (count: number): Promise<number> => {
      const { limiter } = await spent();
      const stop = new AbortController();
      const options = { signal: stop.signal, maxQueue: 1_000_000, timeoutMs: 3_600_000 };
      const waiting = Array.from({ length: count }, () => limiter.wait('id', options));
      // Processor time, which other processes do not lengthen.
      const begun = process.cpuUsage();
      end(limiter, stop);
      const { user, system } = process.cpuUsage(begun);
      await outcomes(waiting);
      return (user + system) / 1_000;
    };
    await took(1_000);
    // With a quadratic algorithm it took 100 times as long as for a tenth of the callers, some 10 s.
    expect(await took(100_000)).toBeLessThan(2_000);
  });

  test('one advance of the clock admits 20,000 waiters without overflowing the stack', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock }),
      rate: 20_000,
      period: '1h',
    });
    limiters.push(limiter);
    await limiter.allow('id', { cost: 20_000 });
    const waiting = Array.from({ length: 20_000 }, () => limiter.wait('id', { maxQueue: 20_000 }));
    clock.advance('1h');
    expect(await Promise.all(waiting)).toHaveLength(20_000);
  });

  test('each waiter asks in its own async context, whatever triggers its turn', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const note = (): void => void seen.push(context.getStore());
    const limiter = await connected(2);
    await limiter.block('id', '1h');
    const stop = new AbortController();
    const first = limiter.wait('id', { signal: stop.signal });
    const waiting = ['A', 'B', 'C'].map((name) =>
      context.run(name, () => limiter.wait('id', { timeoutMs: 60_000 })),
    );
    const ended = outcomes(waiting);
    await waitUntil('the first to have asked', () => asked(limiter) === 1);
    await limiter.unblock('id');
    const channel = dc.channel('distributed-rate-limiter:store-submit');
    channel.subscribe(note);
    stop.abort('stop');
    await expect(first).rejects.toBe('stop');
    expect(await ended).toMatchObject([{}, {}, { code: 'ERR_WAIT_TIMEOUT' }]);
    channel.unsubscribe(note);
    expect(seen).toEqual(['A', 'B', 'C']);
  });

  test('each waiter asks again in its own async context after sleeping', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const note = (message: unknown): void =>
      void ((message as StoreSubmission).store !== '' && seen.push(context.getStore()));
    const limiter = new RateLimiter({ redis: server.url, rate: 1, period: '50ms' });
    limiters.push(limiter);
    await limiter.ready();
    const channel = dc.channel('distributed-rate-limiter:store-submit');
    channel.subscribe(note);
    await Promise.all(['A', 'B', 'C'].map((name) => context.run(name, () => limiter.wait('id'))));
    channel.unsubscribe(note);
    expect(seen.join('')).toMatch(/^A+B+C+$/);
  });
});

describe('wait() resolves or rejects', () => {
  test('resolves with an allowed decision, degraded or not', async () => {
    const limiter = await connected(10, 'open');
    const { allowed } = await limiter.wait('id');
    expect(allowed satisfies true).toBe(true);
    await proxy.refuse();
    await waitUntil('the loss to be known', async () => (await limiter.peek('id')).degraded);
    expect(await limiter.wait('id')).toMatchObject({ allowed: true, degraded: true });
  });

  test('rejects on a degraded refusal, and calls onBlock', async () => {
    const blocked: Decision[] = [];
    const limiter = new RateLimiter({
      redis: proxy.url,
      rate: 10,
      period: '1h',
      failStrategy: 'closed',
      onBlock: (_, decision) => blocked.push(decision),
    });
    limiters.push(limiter);
    await limiter.ready();
    await proxy.refuse();
    await waitUntil('the loss to be known', async () => (await limiter.peek('id')).degraded);
    const error: unknown = await limiter.wait('id').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RateLimitExceeded);
    expect(blocked).toEqual([(error as RateLimitExceeded).decision]);
    let ran = false;
    const fn = limited(() => (ran = true), { limiter, identify: 'id', wait: true });
    await expect(fn()).rejects.toBeInstanceOf(RateLimitExceeded);
    expect(ran).toBe(false);
  });

  test('resolves after a block as after a limit', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const limiter = new RateLimiter({ store, rate: 10, period: '1s', blocks: true });
    limiters.push(limiter);
    await limiter.block('id', '15m');
    const waiting = limiter.wait('id');
    clock.advance('15m');
    expect(await waiting).toMatchObject({ allowed: true });
  });
});

describe("during an outage under failStrategy: 'closed'", () => {
  test('a call with a timeoutMs waits until the store is back and is charged once', async () => {
    const limiter = await connected(10);
    await proxy.refuse();
    await waitUntil('the loss to be known', async () => (await limiter.peek('id')).degraded);
    const waiting = [1, 2].map(() => limiter.wait('id', { timeoutMs: 60_000 }));
    await waitUntil('it to have asked again', () => asked(limiter) > 2);
    await proxy.pass();
    expect(await Promise.all(waiting)).toMatchObject([{ remaining: 9 }, { remaining: 8 }]);
  });

  test('a call charged too late for its deadline is refunded', async () => {
    const limiter = new RateLimiter({
      redis: proxy.url,
      rate: 10,
      period: '100d',
      failStrategy: 'closed',
      timeoutMs: 100,
    });
    limiters.push(limiter);
    await limiter.ready();
    await proxy.stall();
    const waiting = limiter.wait('id', { timeoutMs: 60_000 });
    await waitUntil('it to have asked again', () => asked(limiter) > 1);
    await proxy.pass();
    expect(await waiting).toMatchObject({ allowed: true });
    await waitUntil('nothing but one charge to be left', async () => {
      return (await limiter.peek('id')).remaining === 9;
    });
  });

  test("wait rejects at its timeoutMs with the store's error as cause", async () => {
    const limiter = await connected(10);
    await proxy.refuse();
    await waitUntil('the loss to be known', async () => (await limiter.peek('id')).degraded);
    await expect(limiter.wait('id', { timeoutMs: 120 })).rejects.toMatchObject({
      code: 'ERR_WAIT_TIMEOUT',
      cause: { code: 'ERR_STORE_AWAY' },
    });
  });
});

describe('on the clock of the store', () => {
  test('advance wakes waiters in order, at the instants when they pass', async () => {
    const { clock, limiter } = await spent();
    const passed: string[] = [];
    const at: number[] = [];
    const wait = (name: string, identity: string) =>
      limiter.wait(identity).then(({ resetAtMs = 0 }) => {
        passed.push(name);
        return at.push(resetAtMs - Date.UTC(2026, 0, 1));
      });
    const waiting = [wait('a1', 'id'), wait('a2', 'id'), wait('a3', 'id')];
    clock.advance('9999ms');
    await Promise.resolve();
    expect(passed).toEqual([]);
    clock.advance('30s');
    await Promise.all(waiting);
    expect(passed).toEqual(['a1', 'a2', 'a3']);
    expect(at).toEqual([20_000, 30_000, 40_000]);
  });

  test("a limited function waits on the store's clock", async () => {
    const { clock, limiter } = await spent('30s');
    const fn = limited(() => 'ran', { limiter, identify: 'id', wait: { timeoutMs: 60_000 } });
    const running = fn();
    await new Promise((resolve) => setImmediate(resolve)); // it calls after `identify` has been awaited
    clock.advance('30s');
    expect(await running).toBe('ran');
  });

  test("timeoutMs counts on the store's clock, and a step back wakes no waiter", async () => {
    const { clock, limiter } = await spent();
    const first = limiter.wait('id').then(() => 'passed');
    const second = limiter
      .wait('id', { timeoutMs: 5_000 })
      .catch((error: { code?: string }) => error.code);
    clock.set(clock.now() - 3_600_000);
    clock.set(Date.UTC(2026, 0, 1, 0, 0, 5));
    expect(await second).toBe('ERR_WAIT_TIMEOUT');
    clock.advance(5);
    expect(await first).toBe('passed');
  });

  test('waiters poll a clock that has no timers', async () => {
    let now = 1_767_225_600_000_000;
    const store = new MemoryStore({ clock: { nowMicros: () => now } });
    const limiter = new RateLimiter({ store, rate: 1, period: '1h' });
    limiters.push(limiter);
    await limiter.allow('id');
    const waiting = limiter.wait('id');
    now += 3_600_000_000;
    expect(await waiting).toMatchObject({ allowed: true });
  });

  test("heartbeats and lost leases follow the store's clock", async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock }),
      limits: [concurrency({ max: 1, ttl: '9s' })],
    });
    limiters.push(limiter);
    const renewed = await limiter.acquire('id', { heartbeat: true });
    const { signal } = renewed;
    clock.advance('30m');
    expect([signal.aborted, renewed.signal.aborted]).toEqual([false, false]);
    expect((await limiter.acquire('id')).allowed).toBe(false);
    expect(await renewed.release()).toBe(true);
    const left = await limiter.acquire('id');
    const lost = left.signal;
    clock.advance('9s');
    expect(lost.reason).toMatchObject({ code: 'ERR_LEASE_LOST' });
  });
});
