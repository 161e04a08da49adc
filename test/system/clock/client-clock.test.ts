import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  runWorkers,
  startFaultProxy,
  startRedis,
  startSteppedRedis,
  steppedClockMissing,
} from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import type { Task } from './client-clock.worker.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const realNow = Date.now.bind(Date);
const limiters: RateLimiter[] = [];
let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());
beforeEach(() => server.command('FLUSHALL'));
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()));
});

function wallClockIs(offsetMs: number): void {
  vi.spyOn(Date, 'now').mockImplementation(() => realNow() + offsetMs);
}

const month = () => fixedWindow({ rate: 5, period: 'month', timeZone: 'Europe/Berlin' });

function make(limits: readonly Limit[] = [month()], redis = server.url): RateLimiter {
  // A long deadline, so that a busy machine answers, too: the test is about the answer.
  const limiter = new RateLimiter({ redis, limits, blocks: true, timeoutMs: 5_000 });
  limiters.push(limiter);
  return limiter;
}

const reasonsOf = (decisions: readonly Decision[]) => decisions.map(({ reason }) => reason);
const many = (limiter: RateLimiter, calls: number, id = 'id') =>
  Promise.all(Array.from({ length: calls }, () => limiter.allow(id)));

const PASS_5_OF_8 = [...Array(5).fill('within_limit'), ...Array(3).fill('limited')];

describe.each([
  ['400 days ahead', 400 * DAY],
  ['400 days behind', -400 * DAY],
  ['26 hours ahead', 26 * HOUR],
  ['26 hours behind', -26 * HOUR],
  ['3 minutes ahead', 3 * MINUTE],
  ['3 minutes behind', -3 * MINUTE],
  ['in the year 10000', 254_000_000_000_000],
  ['at the epoch', -realNow()],
])("where this process's clock is %s", (_, offsetMs) => {
  test.each(['minute', 'hour', 'day', 'week', 'month', 'year'] as const)(
    'a window of one %s limits as usual from the first call on',
    async (period) => {
      wallClockIs(offsetMs);
      const limiter = make([fixedWindow({ rate: 5, period })]);
      const decisions = [...(await many(limiter, 4)), ...(await many(limiter, 4))];
      expect(decisions.filter(({ degraded }) => degraded)).toEqual([]);
      for (const windowEnd of new Set(decisions.map(({ resetAtMs }) => resetAtMs))) {
        const mine = decisions.filter(({ resetAtMs }) => resetAtMs === windowEnd);
        expect(reasonsOf(mine)).toEqual(PASS_5_OF_8.slice(0, mine.length));
      }
    },
  );

  test('every verb works', async () => {
    wallClockIs(offsetMs);
    const names = { name: 'bucket', rate: 1_000, period: '1h' } as const;
    const fresh = (): RateLimiter => make([month(), tokenBucket(names)]);
    expect((await fresh().peek('a')).remaining).toBe(5);
    expect((await fresh().allowUpTo('a', 9)).granted).toBe(5);
    expect((await fresh().allow('a')).reason).toBe('limited');
    await fresh().reset('a');
    const reservation = await fresh().reserve('a', { cost: 3, ttl: '1m' });
    expect(await reservation.settle(1)).toEqual({ charged: 1, uncharged: 0, expired: false });
    const limiter = fresh();
    const waited = await limiter.wait('a');
    expect(waited.remaining).toBe(3);
    expect((await limiter.refund(waited)).remaining).toBe(4);
    expect((await fresh().penalize('a', 2)).remaining).toBe(2);
    const lease = await make([month(), concurrency({ name: 'places', max: 1, ttl: '1m' })]).acquire(
      'a',
    );
    expect([lease.allowed, lease.limits[0]?.remaining]).toEqual([true, 1]);
    expect(await lease.release()).toBe(true);
  });
});

test('a client clock that jumps either way changes no decision', async () => {
  const limiter = make();
  const decisions: Decision[] = [];
  for (const offsetMs of [0, 400 * DAY, -400 * DAY, 26 * HOUR, 0]) {
    wallClockIs(offsetMs);
    decisions.push(...(await many(limiter, 2)));
  }
  expect(reasonsOf(decisions)).toEqual([...PASS_5_OF_8, 'limited', 'limited']);
});

test('a call planned on a wrong clock is resent once, and later calls are planned right', async () => {
  const proxy = await startFaultProxy(server);
  wallClockIs(400 * DAY);
  const limiter = make([month()], proxy.url);
  await many(limiter, 3);
  const { EVALSHA = 0 } = proxy.counts.commands;
  expect(EVALSHA).toBe(2); // One call with a skewed clock, one with the right clock
  await many(limiter, 3);
  expect(proxy.counts.commands['EVALSHA']).toBe(EVALSHA + 1);
  await proxy.close();
});

test('a reply that never matches the plan is a store_error within the deadline', async () => {
  const proxy = await startFaultProxy(server);
  const limiter = make([month()], proxy.url);
  await limiter.ready();
  await proxy.reply(`*3\r\n:${realNow() * 1_000}\r\n+SKEWED\r\n+SKEWED`);
  wallClockIs(0);
  expect(await limiter.allow('id')).toMatchObject({ degraded: true, reason: 'store_error' });
  await proxy.close();
});

test('processes with different clocks share one limit exactly', async () => {
  const offsetsMs = [0, 400 * DAY, -400 * DAY, 26 * HOUR, -3 * MINUTE];
  const task: Task = { port: server.port, offsetsMs, calls: 60 };
  const reasons = (await runWorkers(
    new URL('client-clock.worker.mjs', import.meta.url),
    offsetsMs.length,
    task,
    { timeoutMs: 100_000 },
  )) as Record<string, number>[];
  const sum = (reason: string) => reasons.reduce((all, each) => all + (each[reason] ?? 0), 0);
  expect([sum('within_limit'), sum('limited')]).toEqual([100, 200]);
});

describe.skipIf(steppedClockMissing() !== undefined)("when the server's clock steps", () => {
  test.each([400 * DAY, -26 * HOUR])('the windows follow a step of %i ms', async (stepMs) => {
    const { redis: stepped, clock, close } = await startSteppedRedis();
    const limiter = make([fixedWindow({ rate: 5, period: 'hour' })], stepped.url);
    expect(reasonsOf(await many(limiter, 6)).at(-1)).toBe('limited');
    clock.step(stepMs);
    const after = await limiter.allow('other');
    expect(after).toMatchObject({ reason: 'within_limit', remaining: 4 });
    await limiter.close();
    await close();
  });

  test.each([
    ['a day of 23 hours', '2026-03-29T22:00Z', { period: 'day' }],
    ['a day of 25 hours', '2026-10-25T23:00Z', { period: 'day' }],
    ['an hour before the clock is set back', '2026-10-25T01:00Z', { period: 'hour' }],
    ['an hour before the clock is set forward', '2026-03-29T01:00Z', { period: 'hour' }],
    ['a week until Sunday', '2026-03-28T23:00Z', { period: 'week', weekStart: 'sunday' }],
    ['a month until the 31st', '2026-02-27T23:00Z', { period: 'month', anchor: '2026-01-31' }],
    ['a year until 29 February', '2028-02-28T23:00Z', { period: 'year', anchor: '2024-02-29' }],
  ] as const)('%s ends at its own instant, whatever the client says', async (_, text, window) => {
    const { redis: stepped, clock, close } = await startSteppedRedis();
    const end = Date.parse(text);
    const limits = [fixedWindow({ rate: 5, timeZone: 'Europe/Berlin', ...window })];

    /** Calls from some time before the end until after it, by a process whose clock is wrong. */
    const callAcross = async (hours: number, beforeMs: number): Promise<Decision[]> => {
      clock.step(end - beforeMs - (await timeOf(stepped)));
      wallClockIs(end - realNow() + hours * HOUR);
      const limiter = make(limits, stepped.url);
      const id = `${hours} hours, ${beforeMs} ms`;
      const decisions = await many(limiter, 8, id);
      while (decisions[0]?.resetAtMs === end && decisions.at(-1)?.resetAtMs === end) {
        decisions.push(...(await many(limiter, 8, id)));
      }
      await limiter.close();
      // A process that was too slow to connect before the end tries again from earlier on.
      return decisions[0]?.resetAtMs === end || beforeMs > 5_000
        ? decisions
        : callAcross(hours, 4 * beforeMs);
    };

    for (const hours of [0, 5, -5, 30, -30]) {
      const decisions = await callAcross(hours, 250);
      expect(decisions.filter(({ degraded }) => degraded)).toEqual([]);
      const ends = [...new Set(decisions.map(({ resetAtMs }) => resetAtMs))];
      expect([ends.length, ends[0]]).toEqual([2, end]);
      for (const windowEnd of ends) {
        const mine = decisions.filter(({ resetAtMs }) => resetAtMs === windowEnd);
        expect(reasonsOf(mine).filter((reason) => reason === 'within_limit')).toHaveLength(5);
      }
    }
    await close();
  });
});

/** The server's clock in Unix milliseconds. */
async function timeOf(redis: RedisServer): Promise<number> {
  const [seconds, micros] = (await redis.command('TIME')) as [string, string];
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

test('a refund in memory for a past window gives nothing back and resolves', async () => {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits: [month()] });
  const decision = await limiter.allow('id', { cost: 3 });
  clock.advance('100d');
  await limiter.allow('id');
  expect((await limiter.refund(decision)).remaining).toBe(4);
});
