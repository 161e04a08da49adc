import { RateLimiter, StoreError } from 'distributed-rate-limiter';
import type { FailStrategy, RedisPort, Reservation } from 'distributed-rate-limiter';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { FaultProxy, RedisServer } from '../../kit/servers/index.mjs';

const ID = 'user:12345';
const TIMEOUT_MS = 300;
const limiters: RateLimiter[] = [];
let server: RedisServer;
let proxy: FaultProxy;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await server.close();
});
beforeEach(async () => {
  await server.command('FLUSHALL');
  proxy = await startFaultProxy(server);
});
afterEach(async () => {
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()));
  await proxy.close();
});

/** A connected limiter behind the proxy with 100 units, none of which recovers during a test. */
async function connected(failStrategy: FailStrategy): Promise<RateLimiter> {
  const limiter = new RateLimiter({
    redis: proxy.url,
    rate: 100,
    period: '100d',
    timeoutMs: TIMEOUT_MS,
    failStrategy,
  });
  limiters.push(limiter);
  await limiter.ready();
  return limiter;
}

async function records(): Promise<string[]> {
  const keys: string[] = await server.command('KEYS', '*#r:*');
  return Promise.all(keys.map((key) => server.command('GET', key)));
}

/** Late answers have come by then, too: they precede these on the connection. */
async function answersAgain(limiter: RateLimiter): Promise<void> {
  await waitUntil('the server to be heard again', async () => {
    return !(await limiter.peek(ID).catch(() => ({ degraded: true }))).degraded;
  });
}

/** The limit as another process sees it. */
async function remaining(): Promise<number | undefined> {
  const limiter = new RateLimiter({
    redis: server.url,
    rate: 100,
    period: '100d',
    timeoutMs: 5_000,
  });
  const decision = await limiter.peek(ID);
  await limiter.close();
  return decision.remaining;
}

test('a reservation refused for a late answer is cancelled when the answer arrives', async () => {
  const limiter = await connected('closed');
  await proxy.delay(0, 2 * TIMEOUT_MS);
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  expect(handle).toMatchObject({ allowed: false, degraded: true, reason: 'store_timeout' });
  expect(await records()).toEqual([expect.stringMatching(/^held;\d+;60;/)]);
  await waitUntil('the reservation to be cancelled', async () => (await remaining()) === 100);
  expect(await records()).toEqual([expect.stringMatching(/^settled;\d+;0;0$/)]);
  expect(await handle.settle(10)).toEqual({ charged: 0, uncharged: 10, expired: false });
});

test('a reservation rejected for a late answer is cancelled when the answer arrives', async () => {
  const limiter = await connected('throw');
  await proxy.delay(0, 2 * TIMEOUT_MS);
  await expect(limiter.reserve(ID, { cost: 60, ttl: '1h' })).rejects.toBeInstanceOf(StoreError);
  await waitUntil('the reservation to be cancelled', async () => (await remaining()) === 100);
});

test('a reservation allowed before its late answer is kept and settled', async () => {
  const limiter = await connected('open');
  await proxy.delay(0, 2 * TIMEOUT_MS);
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  expect(handle).toMatchObject({ allowed: true, degraded: true, reason: 'store_timeout' });
  await proxy.pass();
  await answersAgain(limiter);
  expect(await records()).toEqual([expect.stringMatching(/^held;\d+;60;/)]);
  expect(await untilAnswered(handle, 25)).toEqual({ charged: 25, uncharged: 0, expired: false });
  expect(await remaining()).toBe(75);
});

test('a settlement finds the record of a reservation whose answer was lost, and charges once', async () => {
  const limiter = await connected('open');
  await proxy.dropReplies({ cut: true, times: 1 });
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  expect(handle).toMatchObject({ allowed: true, degraded: true });
  expect(await remaining()).toBe(40);
  await proxy.pass();
  expect(await untilAnswered(handle, 25)).toEqual({ charged: 25, uncharged: 0, expired: false });
  expect(await remaining()).toBe(75);
});

test('a settlement without a reservation charges the actual cost as far as it fits', async () => {
  const limiter = await connected('open');
  await proxy.refuse();
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  const second = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  expect(handle).toMatchObject({ allowed: true, degraded: true, reason: 'store_away' });
  expect(await remaining()).toBe(100);
  await proxy.pass();
  expect(await untilAnswered(handle, 70)).toEqual({ charged: 70, uncharged: 0, expired: false });
  expect(await handle.cancel()).toEqual({ charged: 70, uncharged: 0, expired: false });
  expect(await untilAnswered(second, 70)).toEqual({ charged: 30, uncharged: 40, expired: false });
  expect(await remaining()).toBe(0);
});

test('a direct charge whose answer was lost is charged once although it is retried', async () => {
  const limiter = await connected('open');
  await proxy.refuse();
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  await proxy.dropReplies({ cut: true, times: 1 });
  await waitUntil('the charge to be made', async () => {
    await handle.settle(25).catch(() => undefined);
    return (await remaining()) === 75;
  });
  await proxy.pass();
  expect(await untilAnswered(handle, 25)).toEqual({ charged: 25, uncharged: 0, expired: false });
  expect(await remaining()).toBe(75);
});

test('a settlement whose answer was lost gets the same answer when it is retried', async () => {
  const limiter = await connected('open');
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  await proxy.dropReplies({ cut: true, times: 1 });
  await expect(handle.settle(25)).rejects.toBeInstanceOf(StoreError);
  expect(await remaining()).toBe(75);
  await proxy.pass();
  expect(await untilAnswered(handle, 0)).toEqual({ charged: 25, uncharged: 0, expired: false });
  expect(await remaining()).toBe(75);
});

test('a settlement that never arrived is made when it is retried', async () => {
  const limiter = await connected('open');
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  await proxy.reply('-BUSY Redis is busy', { times: 1 });
  await expect(handle.settle(25)).rejects.toMatchObject({ reason: 'store_error' });
  await proxy.pass();
  expect(await handle.settle(30)).toEqual({ charged: 30, uncharged: 0, expired: false });
  expect(await remaining()).toBe(70);
});

test('a late refusal sends nothing', async () => {
  const limiter = await connected('closed');
  await limiter.allow(ID, { cost: 60 });
  await proxy.delay(0, 2 * TIMEOUT_MS);
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1h' });
  expect(handle).toMatchObject({ allowed: false, degraded: true });
  await proxy.pass();
  await answersAgain(limiter);
  expect(await records()).toEqual([]);
  expect(await remaining()).toBe(40);
});

test('late malformed replies and late errors send nothing and reject nothing', async () => {
  const answers: ((reply: unknown) => void)[] = [];
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  const port: RedisPort = {
    state: 'ready',
    onStateChange: () => {},
    isReply: () => false,
    send: (_command, args) =>
      new Promise((resolve, reject) => {
        answers.push((reply) => (reply instanceof Error ? reject(reply) : resolve(reply)));
        void args;
      }),
  };
  const limiter = new RateLimiter({
    redis: port,
    rate: 100,
    period: '100d',
    timeoutMs: 20,
    failStrategy: 'closed',
  });
  for (const reply of ['OK', [1, 2, 3, 4], [1, 'OOM'], null, new Error('lost')]) {
    expect(await limiter.reserve(ID, { cost: 1, ttl: '1h' })).toMatchObject({ degraded: true });
    const sent = answers.length;
    answers.at(-1)?.(reply);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(answers.length).toBe(sent);
  }
  process.off('unhandledRejection', note);
  expect(answers).toHaveLength(5);
  expect(unhandled).toEqual([]);
});

/** Settles repeatedly until an answer comes, as an application must. */
async function untilAnswered(
  handle: Reservation,
  actual: number,
): Promise<Awaited<ReturnType<Reservation['settle']>>> {
  const until = performance.now() + 9 * TIMEOUT_MS;
  for (;;) {
    try {
      return await handle.settle(actual);
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
