import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test, vi } from 'vitest';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

const clock = () => new ManualClock();

describe('the bound `maxKeys`', () => {
  test('makes a new identity overloaded, and keeps known ones', async () => {
    const store = new MemoryStore({ maxKeys: 3, clock: clock() });
    const reasons: string[] = [];
    const limiter = new RateLimiter({
      store,
      rate: 2,
      period: '1m',
      failStrategy: 'closed',
      onError: ({ reason }) => {
        reasons.push(reason);
      },
    });
    for (const identity of ['a', 'b', 'c']) await limiter.allow(identity);
    expect(store.size).toBe(3);
    expect(await limiter.allow('d')).toMatchObject({
      allowed: false,
      degraded: true,
      reason: 'overloaded',
    });
    expect(await limiter.allow('a')).toMatchObject({
      allowed: true,
      degraded: false,
      remaining: 0,
    });
    expect(await limiter.allow('a')).toMatchObject({ reason: 'limited' });
    expect(reasons).toEqual(['overloaded']);
    expect(store.size).toBe(3);
  });

  test('evicts all expired entries at once to make room', async () => {
    const time = clock();
    const store = new MemoryStore({ maxKeys: 100, clock: time });
    const limiter = new RateLimiter({ store, rate: 1, period: '1m' });
    const fill = (name: string) =>
      Promise.all(Array.from({ length: 100 }, (_, i) => limiter.allow(`${name}${i}`)));
    await fill('a');
    time.advance('59s');
    expect(await limiter.allow('late')).toMatchObject({ reason: 'overloaded' });
    time.advance('1001ms'); // whole milliseconds, rounded up: a state is kept one longer than its recovery takes
    const second = await fill('b');
    expect(second.every(({ degraded, allowed }) => !degraded && allowed)).toBe(true);
    expect(store.size).toBe(100);
  });

  test('counts one key of an identity for all its buckets and windows', async () => {
    const store = new MemoryStore({ maxKeys: 1, clock: clock() });
    const limiter = new RateLimiter({
      store,
      limits: [
        tokenBucket({ rate: 9, period: '1m' }),
        slidingWindow({ name: 'b', rate: 9, period: '1h' }),
        fixedWindow({ name: 'c', rate: 9, period: '1h' }),
      ],
    });
    expect(await limiter.allow('a')).toMatchObject({ degraded: false });
    expect(await limiter.allow('b')).toMatchObject({ reason: 'overloaded' });
    expect(store.size).toBe(1);
  });

  test('counts the keys of all limits of a call', async () => {
    const store = new MemoryStore({ maxKeys: 3, clock: clock() });
    const limiter = new RateLimiter({
      store,
      limits: [
        tokenBucket({ rate: 9, period: '1m' }),
        slidingWindowLog({ name: 'b', rate: 9, period: '1h' }),
      ],
    });
    expect(await limiter.allow('a')).toMatchObject({ degraded: false });
    expect(await limiter.allow('b')).toMatchObject({ reason: 'overloaded' });
    expect(await limiter.allow('a')).toMatchObject({ degraded: false });
    expect(store.size).toBe(2);
  });

  test('is not touched by peek and reset of an unknown identity', async () => {
    const store = new MemoryStore({ maxKeys: 1, clock: clock() });
    const limiter = new RateLimiter({ store, rate: 2, period: '1m' });
    await limiter.allow('a');
    expect(await limiter.peek('b')).toMatchObject({ degraded: false, remaining: 2 });
    await limiter.reset('b');
    expect(store.size).toBe(1);
  });

  test('a reset identity is kept until its charges would have recovered, so that none is refunded', async () => {
    const time = clock();
    const store = new MemoryStore({ maxKeys: 1, clock: time });
    const limiter = new RateLimiter({ store, rate: 2, period: '1m' });
    await limiter.allow('a');
    await limiter.reset('a');
    expect(await limiter.allow('b')).toMatchObject({ reason: 'overloaded' });
    time.advance('30002ms');
    expect(await limiter.allow('b')).toMatchObject({ degraded: false });
    expect(store.size).toBe(1);
  });

  test('never scans a full store, even while its states expire one by one', async () => {
    const time = clock();
    const store = new MemoryStore({ maxKeys: 10_000, clock: time });
    const limiter = new RateLimiter({ store, rate: 1, period: '1h' });
    for (let i = 0; i < 10_000; i++) {
      await limiter.allow(`a${i}`);
      time.advance('1ms');
    }
    expect(await limiter.allow('too many')).toMatchObject({ reason: 'overloaded' });
    time.advance('3590001ms'); // the first state has just ended
    const walks = vi.spyOn(Map.prototype, Symbol.iterator);
    const entries = vi.spyOn(Map.prototype, 'entries');
    let admitted = 0;
    for (let i = 0; i < 1_000; i++) {
      admitted += (await limiter.allow(`b${i}`)).degraded ? 0 : 1;
      time.advance('1ms');
    }
    const long = [...walks.mock.contexts, ...entries.mock.contexts].filter(
      (map) => (map as Map<unknown, unknown>).size >= 9_000,
    );
    walks.mockRestore();
    entries.mockRestore();
    expect(long).toEqual([]);
    expect(admitted).toBeGreaterThan(990);
    expect(store.size).toBeLessThanOrEqual(10_000);
  });

  test('keeps one state of an identity that is reset and written again and again', async () => {
    const store = new MemoryStore({ maxKeys: 2, clock: clock() });
    const limiter = new RateLimiter({ store, rate: 1, period: '1h' });
    for (let i = 0; i < 10_000; i++) {
      expect(await limiter.allow('a')).toMatchObject({ allowed: true });
      await limiter.reset('a');
    }
    expect(store.size).toBe(1);
  });
});

describe('the memory of a MemoryStore', () => {
  test('holds no timer, however many identities', async () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1h' });
    for (let i = 0; i < 1_000; i++) await limiter.allow(`user:${i}`);
    const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    expect(after - before).toBeLessThanOrEqual(0);
  });

  test('evicts expired states as new ones come, and holds the identities of one recovery', async () => {
    const time = clock();
    const store = new MemoryStore({ clock: time });
    const limiter = new RateLimiter({ store, rate: 1, period: '1s' });
    let largest = 0;
    for (let second = 0; second < 100; second++) {
      await Promise.all(
        Array.from({ length: 1_000 }, (_, i) => limiter.allow(`user:${second}:${i}`)),
      );
      largest = Math.max(largest, store.size);
      time.advance('1s');
    }
    console.log(`100,000 identities, 1,000 at a time: at most ${largest} states`);
    expect(largest).toBeLessThanOrEqual(3_000);
  });

  test('does not grow with 100,000 more identities', async () => {
    const heap = (): number => {
      collectGarbage();
      return process.memoryUsage().heapUsed / 2 ** 20;
    };
    const time = clock();
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock: time }),
      rate: 1,
      period: '1s',
    });
    const round = async (name: string): Promise<number> => {
      for (let i = 0; i < 100_000; i++) {
        await limiter.allow(`${name}${i}`);
        if (i % 1_000 === 999) time.advance('1s');
      }
      return heap();
    };
    const empty = heap();
    const first = await round('a');
    const second = await round('b');
    console.log(
      `heap after 0, 100,000 and 200,000 identities: ${[empty, first, second].map((mb) => mb.toFixed(1)).join(', ')} MiB`,
    );
    expect(second - first).toBeLessThan(1);
    expect(first - empty).toBeLessThan(4);
  });
});

describe('the clock of a MemoryStore', () => {
  test('counts to the microsecond', async () => {
    let now = 1_767_225_600_000_000;
    const store = new MemoryStore({ clock: { nowMicros: () => now } });
    const limiter = new RateLimiter({ store, rate: 3, period: '1s', burst: 1 });
    await limiter.allow('user');
    now += 333_333; // 3 per second: the next unit recovers after 333,333 1/3 µs
    expect(await limiter.allow('user')).toMatchObject({ allowed: false, retryAfterMs: 1 });
    now += 1;
    expect(await limiter.allow('user')).toMatchObject({ allowed: true });
  });

  test('costs one full recovery and a second when its clock steps back', async () => {
    let now = 1_767_225_600_000_000;
    const store = new MemoryStore({ clock: { nowMicros: () => now } });
    const limiter = new RateLimiter({ store, rate: 1, period: '1s', burst: 2 });
    await limiter.allow('user', { cost: 2 });
    now -= 3_600_000_000;
    expect(await limiter.allow('user')).toMatchObject({ allowed: false, retryAfterMs: 2_000 });
    now += 2_000_000;
    expect(await limiter.allow('user')).toMatchObject({ allowed: true });
  });
});

describe('clear', () => {
  test('forgets what every identity has used and keeps the bound', async () => {
    const store = new MemoryStore({ clock: new ManualClock(), maxKeys: 2 });
    const limiter = new RateLimiter({ store, rate: 1, period: '1h' });
    for (let round = 0; round < 2; round++) {
      expect((await limiter.allow('a')).allowed).toBe(true);
      expect((await limiter.allow('b')).allowed).toBe(true);
      expect((await limiter.allow('c')).reason).toBe('overloaded');
      store.clear();
      expect(store.size).toBe(0);
    }
  });
});
