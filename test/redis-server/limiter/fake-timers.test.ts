import { mock } from 'node:test';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { pacedFetch } from 'distributed-rate-limiter/fetch';
import { limited } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';

afterEach(() => {
  vi.useRealTimers();
  mock.timers.reset();
});

/** A limiter on `MemoryStore`'s own clock whose only unit is spent; the next recovers after 30 s. */
async function spent(): Promise<RateLimiter> {
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '30s' });
  await limiter.allow('id');
  return limiter;
}

const INSTALLED: readonly (readonly [string, () => void, (ms: number) => void])[] = [
  ['vitest', () => vi.useFakeTimers(), (ms) => vi.advanceTimersByTime(ms)],
  [
    'vitest, of every kind',
    () =>
      vi.useFakeTimers({
        toFake: [
          'Date',
          'hrtime',
          'performance',
          'queueMicrotask',
          'setImmediate',
          'setInterval',
          'setTimeout',
          'clearTimeout',
        ],
      }),
    (ms) => vi.advanceTimersByTime(ms),
  ],
  [
    'vitest 2, which leaves performance alone',
    () => vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout', 'setImmediate'] }),
    (ms) => vi.advanceTimersByTime(ms),
  ],
  [
    'node:test',
    () => mock.timers.enable({ apis: ['Date', 'setTimeout', 'setImmediate'], now: Date.now() }),
    (ms) => mock.timers.tick(ms),
  ],
];

describe.each(INSTALLED)('under the fake timers of %s', (_, install, advance) => {
  test('a wait of 30 s in memory ends exactly when the fake time has advanced 30 s', async () => {
    install();
    const limiter = await spent();
    let passed = false;
    const waiting = limiter.wait('id').then(() => (passed = true));
    advance(29_999);
    await Promise.resolve();
    expect(passed).toBe(false);
    advance(1);
    await waiting;
  });

  test('a limited function waits in fake time, and a lease is renewed and lost in it', async () => {
    install();
    const limiter = await spent();
    const running = limited(() => 'ran', { limiter, identify: 'id', wait: true })();
    await Promise.resolve();
    const places = new RateLimiter({
      store: new MemoryStore(),
      limits: [concurrency({ max: 2, ttl: '10s' })],
    });
    const kept = await places.acquire('id', { heartbeat: true });
    const left = await places.acquire('id');
    const { signal } = left;
    // In steps: callbacks of node:test's timers see the time at the end of the tick.
    for (let i = 0; i < 10; i++) advance(3_000);
    expect(await running).toBe('ran');
    expect([signal.aborted, await kept.release()]).toEqual([true, true]);
  });

  test('pacedFetch waits as long as the server demanded', async () => {
    install();
    const statuses = [429, 200];
    const paced = pacedFetch({
      jitterPercent: 0,
      fetch: () =>
        Promise.resolve(
          new Response(null, { status: statuses.shift()!, headers: { 'retry-after': '20' } }),
        ),
    });
    const response = paced('https://api.example.com/');
    for (let i = 0; i < 10; i++) await Promise.resolve();
    advance(20_000);
    expect((await response).status).toBe(200);
  });
});

test('the memory store follows a Date that a test sets', async () => {
  vi.useFakeTimers();
  const limiter = await spent();
  vi.setSystemTime(Date.now() + 30_000);
  expect((await limiter.allow('id')).allowed).toBe(true);
});

test('a wait on Redis takes real time, and calls are answered', async () => {
  const server = await startRedis();
  const limiter = new RateLimiter({ redis: server.url, rate: 1, period: '100ms' });
  await limiter.ready();
  // After a busy spell calls wait to be batched with others of the same turn.
  for (let i = 0; i < 5; i++) {
    await Promise.all(Array.from({ length: 20 }, () => limiter.allow('busy')));
  }
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'setImmediate', 'performance'] });
  expect(await limiter.allow('id')).toMatchObject({ allowed: true, degraded: false });
  expect(await limiter.wait('id')).toMatchObject({ allowed: true, degraded: false });
  vi.useRealTimers();
  await limiter.close();
  await server.close();
});

test('pacedFetch takes a ManualClock', async () => {
  const clock = new ManualClock();
  const statuses = [429, 200];
  const paced = pacedFetch({
    clock,
    jitterPercent: 0,
    fetch: () =>
      Promise.resolve(
        new Response(null, { status: statuses.shift()!, headers: { 'retry-after': '20' } }),
      ),
  });
  const response = paced('https://api.example.com/');
  for (let i = 0; i < 10; i++) await Promise.resolve();
  clock.advance('20s');
  expect((await response).status).toBe(200);
  const stop = new AbortController();
  const stopped = clock.sleep(1_000, stop.signal);
  stop.abort('stop');
  await expect(stopped).rejects.toBe('stop');
});
