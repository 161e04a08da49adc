import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Duration, Limit, Reservation, Settlement } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterEach, expect, test, vi } from 'vitest';

/** Events while a reservation is open. */
interface Meanwhile {
  readonly limiter: RateLimiter;
  /** Advances the clock. */
  readonly advance: (duration: Duration) => void;
  /** A limiter on the same state, with other numbers. */
  readonly other: RateLimiter;
  readonly handle: Reservation;
}

interface Case {
  readonly limits: readonly Limit[];
  /** Numbers of another limiter on the same state, as while new numbers are rolled out. */
  readonly others?: readonly Limit[];
  readonly before?: (limiter: RateLimiter, other: RateLimiter) => Promise<unknown>;
  readonly cost: number;
  readonly ttl?: Duration;
  readonly meanwhile?: (world: Meanwhile) => unknown;
  /** Settlements, one after the other. */
  readonly settle: readonly number[];
  readonly settled: readonly Settlement[];
  /** Units that could then pass at once under each limit of the limiter, and of the other one. */
  readonly left: readonly number[];
  readonly othersLeft?: readonly number[];
  /** Milliseconds until one more unit could pass. */
  readonly wait?: number;
}

const ID = 'user:12345';
const done = (charged: number, uncharged = 0, expired = false): Settlement => ({
  charged,
  uncharged,
  expired,
});
/** 100 at once, and one more each second. */
const bucket = (maxDebt = 0): Limit => tokenBucket({ rate: 100, period: '100s', maxDebt });
/** The clock starts at the first instant of a window. */
const sliding = (maxDebt = 0): Limit => slidingWindow({ rate: 100, period: '100s', maxDebt });
const fixed = (maxDebt = 0): Limit => fixedWindow({ rate: 100, period: '100s', maxDebt });

const CASES: Readonly<Record<string, Case>> = {
  'a right estimate stays charged': {
    limits: [bucket()],
    cost: 60,
    settle: [60],
    settled: [done(60)],
    left: [40],
  },
  'too high an estimate refunds the rest': {
    limits: [bucket()],
    cost: 60,
    settle: [25],
    settled: [done(25)],
    left: [75],
  },
  'too low an estimate charges the rest': {
    limits: [bucket()],
    cost: 20,
    settle: [50],
    settled: [done(50)],
    left: [50],
  },
  'an overrun goes into debt, which recovers first': {
    limits: [bucket(50)],
    cost: 90,
    settle: [130],
    settled: [done(130)],
    left: [0],
    wait: 31_000,
  },
  'debt ends at maxDebt, and the rest is uncharged': {
    limits: [bucket(50)],
    cost: 90,
    settle: [200],
    settled: [done(150, 50)],
    left: [0],
    wait: 51_000,
  },
  'without maxDebt no more is taken than is left': {
    limits: [bucket()],
    cost: 90,
    settle: [130],
    settled: [done(100, 30)],
    left: [0],
    wait: 1_000,
  },
  'the greatest actual cost is charged as far as it fits': {
    limits: [bucket(50)],
    cost: 1,
    settle: [1_000_000_000],
    settled: [done(150, 999_999_850)],
    left: [0],
    wait: 51_000,
  },
  'a cancelled reservation is refunded': {
    limits: [bucket()],
    cost: 60,
    settle: [0],
    settled: [done(0)],
    left: [100],
  },
  'the first settlement counts, and later ones get its result': {
    limits: [bucket()],
    cost: 60,
    settle: [25, 90, 0],
    settled: [done(25), done(25), done(25)],
    left: [75],
  },
  'charges made meanwhile stay': {
    limits: [bucket()],
    cost: 60,
    meanwhile: ({ limiter }) => limiter.allow(ID, { cost: 30 }),
    settle: [0],
    settled: [done(0)],
    left: [70],
  },
  'no more is refunded than is still charged': {
    limits: [bucket()],
    cost: 60,
    meanwhile: ({ advance }) => advance('50s'),
    settle: [0],
    settled: [done(0)],
    left: [100],
  },
  'a reservation can be settled until its ttl': {
    limits: [bucket()],
    cost: 60,
    ttl: '30s',
    meanwhile: ({ advance }) => advance('29999ms'),
    settle: [20],
    settled: [done(20)],
    left: [100],
  },
  'a reservation expires at its ttl, and the estimate stays charged': {
    limits: [bucket()],
    cost: 60,
    ttl: '30s',
    meanwhile: ({ advance }) => advance('30s'),
    settle: [20],
    settled: [done(60, 0, true)],
    left: [70],
  },
  'an overrun of an expired reservation is uncharged': {
    limits: [bucket(50)],
    cost: 60,
    ttl: '30s',
    meanwhile: ({ advance }) => advance('30s'),
    settle: [80],
    settled: [done(60, 20, true)],
    left: [70],
  },
  'a recovery that is no whole number of microseconds is given back to the last fraction': {
    limits: [tokenBucket({ rate: 7, period: '1s', burst: 10 })],
    cost: 5,
    settle: [4],
    settled: [done(4)],
    left: [6],
  },
  'a bucket that refills faster meanwhile gets back the time that was charged': {
    limits: [bucket()],
    others: [tokenBucket({ rate: 200, period: '100s', burst: 100 })],
    cost: 40,
    meanwhile: ({ other }) => other.allow(ID, { cost: 10 }), // 5 s
    settle: [0],
    settled: [done(0)],
    left: [95],
    othersLeft: [90],
  },
  'a bucket that refills more slowly meanwhile gets back the time that was charged': {
    limits: [tokenBucket({ rate: 200, period: '100s', burst: 100 })],
    others: [bucket()],
    cost: 60, // 30 s
    meanwhile: ({ other }) => other.allow(ID, { cost: 10 }), // 10 s
    settle: [20],
    settled: [done(20)],
    left: [60],
    othersLeft: [80],
  },
  'where recovery is counted in other fractions by now, less than a microsecond is lost': {
    limits: [tokenBucket({ rate: 7, period: '1s', burst: 10 })],
    others: [tokenBucket({ rate: 11, period: '1s', burst: 10 })],
    cost: 5,
    meanwhile: ({ other }) => other.allow(ID),
    settle: [0],
    settled: [done(0)],
    left: [9],
    othersLeft: [8],
  },
  'a bucket that became smaller elsewhere still counts the charge, and gives it back': {
    limits: [bucket()],
    others: [tokenBucket({ rate: 100, period: '100s', burst: 20 })],
    cost: 60,
    meanwhile: ({ other }) => other.peek(ID),
    settle: [50],
    settled: [done(50)],
    left: [50],
    othersLeft: [0],
  },
  'a sliding window gives back to the window of the charge': {
    limits: [sliding()],
    cost: 60,
    settle: [10],
    settled: [done(10)],
    left: [90],
  },
  'a sliding window gives back while the charge still counts in part': {
    limits: [sliding()],
    cost: 60,
    meanwhile: ({ advance }) => advance('150s'), // half of it
    settle: [20],
    settled: [done(20)],
    left: [90],
  },
  'a sliding window that has passed is not touched': {
    limits: [sliding()],
    cost: 60,
    meanwhile: async ({ advance, limiter }) => {
      advance('200s');
      await limiter.allow(ID, { cost: 30 });
    },
    settle: [0],
    settled: [done(0)],
    left: [70],
  },
  'an overrun goes to the current sliding window': {
    limits: [sliding()],
    cost: 60,
    meanwhile: ({ advance }) => advance('200s'),
    settle: [80],
    settled: [done(80)],
    left: [80],
  },
  'debt of a sliding window counts what is left of the window before': {
    limits: [sliding(20)],
    cost: 100,
    meanwhile: ({ advance }) => advance('150s'), // 50 of it count
    settle: [200],
    settled: [done(170, 30)],
    left: [0],
    wait: 21_000, // 29 of the 100 count then
  },
  'a sliding window whose period is new on the key keeps what it took over': {
    limits: [sliding()],
    others: [slidingWindow({ rate: 100, period: '50s' })],
    cost: 60,
    meanwhile: ({ other }) => other.allow(ID, { cost: 10 }), // took over 30 of 60
    settle: [0],
    settled: [done(0)],
    left: [90],
    othersLeft: [60],
  },
  'all sliding windows that were charged get it back': {
    limits: [sliding()],
    others: [slidingWindow({ rate: 100, period: '50s' })],
    before: (limiter, other) => Promise.all([limiter.allow(ID), other.allow(ID)]),
    cost: 60,
    settle: [0],
    settled: [done(0)],
    left: [98],
    othersLeft: [98],
  },
  'a fixed window gives back to the window of the charge': {
    limits: [fixed()],
    cost: 60,
    settle: [10],
    settled: [done(10)],
    left: [90],
  },
  'a fixed window that has passed is not touched': {
    limits: [fixed()],
    cost: 60,
    meanwhile: async ({ advance, limiter }) => {
      advance('100s');
      await limiter.allow(ID, { cost: 30 });
    },
    settle: [10],
    settled: [done(10)],
    left: [70],
  },
  'an overrun goes to the current fixed window': {
    limits: [fixed()],
    cost: 60,
    meanwhile: ({ advance }) => advance('100s'),
    settle: [80],
    settled: [done(80)],
    left: [80],
  },
  'debt of a fixed window ends at maxDebt': {
    limits: [fixed(20)],
    cost: 90,
    settle: [200],
    settled: [done(120, 80)],
    left: [0],
    wait: 100_000,
  },
  'all fixed windows that were charged get it back': {
    limits: [fixed()],
    others: [fixedWindow({ rate: 100, period: '200s' })],
    before: (limiter, other) => Promise.all([limiter.allow(ID), other.allow(ID)]),
    cost: 60,
    settle: [0],
    settled: [done(0)],
    left: [98],
    othersLeft: [98],
  },
  'a month in its time zone gives back until it ends': {
    limits: [fixedWindow({ rate: 100, period: 'month', timeZone: 'Asia/Tokyo' })],
    cost: 60,
    ttl: '31d',
    meanwhile: async ({ advance, limiter }) => {
      advance('734h'); // 31 January, 23:00
      await limiter.allow(ID, { cost: 5 });
    },
    settle: [20],
    settled: [done(20)],
    left: [75],
  },
  'a month that has ended is not touched': {
    limits: [fixedWindow({ rate: 100, period: 'month', timeZone: 'Asia/Tokyo' })],
    cost: 60,
    ttl: '31d',
    meanwhile: async ({ advance, limiter }) => {
      advance('736h'); // 1 February, 01:00
      await limiter.allow(ID, { cost: 5 });
    },
    settle: [20],
    settled: [done(20)],
    left: [95],
  },
  'an overrun goes to the current month': {
    limits: [fixedWindow({ rate: 100, period: 'month', timeZone: 'Asia/Tokyo' })],
    cost: 60,
    ttl: '31d',
    meanwhile: async ({ advance, limiter }) => {
      advance('736h');
      await limiter.allow(ID, { cost: 5 });
    },
    settle: [70],
    settled: [done(70)],
    left: [85],
  },
  'several limits each get back what they were charged': {
    limits: [
      bucket(),
      slidingWindow({ name: 'window', rate: 50, period: '100s' }),
      fixedWindow({ name: 'day', rate: 1_000, period: 'day' }),
    ],
    cost: 40,
    settle: [10],
    settled: [done(10)],
    left: [90, 40, 990],
  },
  'of several limits each takes what fits, and the most that did not is uncharged': {
    limits: [
      bucket(),
      slidingWindow({ name: 'window', rate: 50, period: '100s', maxDebt: 5 }),
      fixedWindow({ name: 'day', rate: 1_000, period: 'day' }),
    ],
    cost: 40,
    settle: [120],
    settled: [done(55, 65)],
    left: [0, 0, 880],
    wait: 110_910, // 49 of the window's 55 count then
  },
  'of several limits those whose windows have passed are left out': {
    limits: [
      tokenBucket({ rate: 100, period: '1000s' }),
      fixedWindow({ name: 'short', rate: 100, period: '100s' }),
    ],
    cost: 40,
    meanwhile: async ({ advance, limiter }) => {
      advance('100s'); // 10 have recovered
      await limiter.allow(ID, { cost: 20 });
    },
    settle: [10],
    settled: [done(10)],
    left: [80, 80],
  },
  'a shadow limit that was charged follows, and is not reported': {
    limits: [bucket(), tokenBucket({ name: 'trial', rate: 50, period: '100s', shadow: true })],
    cost: 40,
    settle: [80],
    settled: [done(80)],
    left: [20, 0],
  },
  'a shadow limit gives back, too': {
    limits: [bucket(), tokenBucket({ name: 'trial', rate: 50, period: '100s', shadow: true })],
    cost: 40,
    settle: [10],
    settled: [done(10)],
    left: [90, 40],
  },
  'a shadow limit that would have refused was not charged, and is not concerned by too much': {
    limits: [bucket(), tokenBucket({ name: 'trial', rate: 10, period: '100s', shadow: true })],
    before: (limiter) => limiter.allow(ID, { cost: 5 }),
    cost: 40,
    settle: [0],
    settled: [done(0)],
    left: [95, 5],
  },
  'a shadow limit that would have refused was not charged, and is not concerned by too little': {
    limits: [bucket(), tokenBucket({ name: 'trial', rate: 10, period: '100s', shadow: true })],
    before: (limiter) => limiter.allow(ID, { cost: 5 }),
    cost: 40,
    settle: [60],
    settled: [done(60)],
    left: [35, 5],
  },
  'after a reset nothing is left to give back': {
    limits: [bucket(), slidingWindow({ name: 'window', rate: 100, period: '100s' })],
    cost: 60,
    meanwhile: ({ limiter }) => limiter.reset(ID),
    settle: [0],
    settled: [done(0)],
    left: [100, 100],
  },
  'after a reset nothing is given back of what was charged before': {
    limits: [bucket()],
    cost: 20,
    meanwhile: async ({ limiter }) => {
      await limiter.reset(ID);
      await limiter.allow(ID, { cost: 50 });
    },
    settle: [0],
    settled: [done(0)],
    left: [50],
  },
  'an overrun is charged after a reset': {
    limits: [bucket()],
    cost: 20,
    meanwhile: ({ limiter }) => limiter.reset(ID),
    settle: [50],
    settled: [done(50)],
    left: [70],
  },
  'an identity that is blocked meanwhile is settled all the same': {
    limits: [bucket()],
    cost: 60,
    meanwhile: async ({ limiter, handle }) => {
      await limiter.block(ID, '1h');
      await handle.settle(10);
      await limiter.unblock(ID);
    },
    settle: [10],
    settled: [done(10)],
    left: [90],
  },
};

afterEach(() => {
  vi.useRealTimers();
});

test.each(Object.entries(CASES))('settles the case: %s', async (_says, given) => {
  const clock = new ManualClock();
  // The calendar is read at this process's own time.
  vi.useFakeTimers({ toFake: ['Date'], now: clock.nowMicros() / 1_000 });
  const advance = (duration: Duration): void => {
    clock.advance(duration);
    vi.setSystemTime(clock.nowMicros() / 1_000);
  };
  const store = new MemoryStore({ clock });
  const make = (limits: readonly Limit[]): RateLimiter =>
    new RateLimiter({ store, limits, blocks: true });
  const limiter = make(given.limits);
  const other = make(given.others ?? given.limits);
  await given.before?.(limiter, other);
  const handle = await limiter.reserve(ID, { cost: given.cost, ttl: given.ttl ?? '1d' });
  expect(handle).toMatchObject({ allowed: true, reason: 'within_limit' });
  await given.meanwhile?.({ limiter, advance, other, handle });
  const settled = [];
  for (const actual of given.settle) {
    settled.push(await handle.settle(actual));
  }
  expect(settled).toEqual(given.settled);
  const left = await limiter.peek(ID);
  expect(left.limits.map(({ remaining }) => remaining)).toEqual(given.left);
  const othersLeft = (await other.peek(ID)).limits.map(({ remaining }) => remaining);
  expect(othersLeft).toEqual(given.othersLeft ?? given.left);
  expect(left.retryAfterMs).toBe(given.wait);
});

test('a refused reservation is not recorded, and its methods do nothing', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
  await limiter.allow(ID, { cost: 50 });
  const size = store.size;
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1m' });
  expect(handle).toMatchObject({ allowed: false, reason: 'limited', retryAfterMs: 10_000 });
  expect(await handle.settle(30)).toEqual(done(0, 30));
  expect(await handle.cancel()).toEqual(done(0));
  expect(store.size).toBe(size);
  expect((await limiter.peek(ID)).remaining).toBe(50);
});

test('a blocked identity reserves nothing', async () => {
  const store = new MemoryStore({ clock: new ManualClock() });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s', blocks: true });
  await limiter.block(ID, '1m');
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1m' });
  expect(handle).toMatchObject({ allowed: false, reason: 'blocked' });
  expect(await handle.cancel()).toEqual(done(0));
  expect(store.size).toBe(1);
});

test('an estimate that can never pass is impossible, and nothing is sent', async () => {
  const store = new MemoryStore({ clock: new ManualClock() });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
  const handle = await limiter.reserve(ID, { cost: 101, ttl: '1m' });
  expect(handle).toMatchObject({ allowed: false, reason: 'impossible', maxCost: 100 });
  expect(await handle.settle(5)).toEqual(done(0, 5));
  expect(store.size).toBe(0);
});

test('a reservation under limits of its call settles under the same limits', async () => {
  const store = new MemoryStore({ clock: new ManualClock() });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
  const limits = [tokenBucket({ name: 'plan', rate: 10, period: '100s', maxDebt: 5 })];
  const handle = await limiter.reserve(ID, { cost: 8, ttl: '1m', limits });
  expect(await handle.settle(20)).toEqual(done(15, 5));
  expect((await limiter.peek(ID)).remaining).toBe(100);
});

test('the methods of a reservation need no receiver, and its decision is a plain object', async () => {
  const store = new MemoryStore({ clock: new ManualClock() });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
  const {
    add: _,
    settle,
    cancel,
    ...decision
  } = await limiter.reserve(ID, { cost: 60, ttl: '1m' });
  expect(decision).toEqual({ ...(await limiter.peek(ID, { cost: 40 })), cost: 60 });
  expect(await settle(10)).toEqual(done(10));
  expect(await cancel()).toEqual(done(10));
});

test('a reservation is settled and cannot be refunded', async () => {
  const store = new MemoryStore({ clock: new ManualClock() });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1m' });
  await expect(limiter.refund(handle)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
});

test('every reservation calls one hook, and its settlement none', async () => {
  const told: string[] = [];
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock: new ManualClock() }),
    rate: 100,
    period: '100s',
    onAllow: (_identity, { reason }) => void told.push(`allow ${reason}`),
    onBlock: (_identity, { reason }) => void told.push(`block ${reason}`),
  });
  const handle = await limiter.reserve(ID, { cost: 60, ttl: '1m' });
  await limiter.reserve(ID, { cost: 60, ttl: '1m' });
  await limiter.reserve(ID, { cost: 600, ttl: '1m' });
  await handle.settle(10);
  expect(told).toEqual(['allow within_limit', 'block limited', 'block impossible']);
});

test.each([-1, 0.5, 1_000_000_001, Number.NaN, Number.POSITIVE_INFINITY, '5', undefined, null, 5n])(
  'settle(%s) rejects as invalid, whether the reservation was granted or not',
  async (actual) => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
    for (const cost of [60, 101]) {
      const handle = await limiter.reserve(ID, { cost, ttl: '1m' });
      await expect(handle.settle(actual as number)).rejects.toMatchObject({
        code: 'ERR_INVALID_COST',
        message: expect.stringMatching(
          /^`actual` must be a whole number from 0 to 1000000000, got /,
        ),
      });
    }
    expect((await limiter.peek(ID)).remaining).toBe(40);
  },
);

test.each([
  [{ cost: 1 }, "`ttl` must be a duration such as '2m', got undefined"],
  [{ cost: 1, ttl: 60 }, "`ttl` must be a duration such as '2m', got 60"],
  [{ cost: 1, ttl: '0s' }, '`ttl` must be between 1 ms'],
  [{ cost: 1, ttl: '367d' }, '`ttl` must be between 1 ms'],
  [{ cost: 1, ttl: '1x' }, '`ttl` must be a duration'],
  [{ cost: -1, ttl: '1m' }, '`cost` must be a whole number from 0'],
  [{ estimate: 1, ttl: '1m' }, 'Did you mean `cost`?'],
  [{ cost: 1, ttlMs: 60_000 }, 'Did you mean `ttl`?'],
  [undefined, '`reserve options` must be an object, got undefined'],
])('reserve with %j rejects and names what is wrong', async (options, message) => {
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 100, period: '100s' });
  await expect(limiter.reserve(ID, options as never)).rejects.toMatchObject({
    code: expect.stringMatching(/^ERR_INVALID_(OPTION|COST)$/),
    message: expect.stringContaining(message),
  });
});

test('reserve and settle reject after close()', async () => {
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 100, period: '100s' });
  const handle = await limiter.reserve(ID, { cost: 1, ttl: '1m' });
  await limiter.close();
  await expect(handle.cancel()).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  await expect(limiter.reserve(ID, { cost: 1, ttl: '1m' })).rejects.toMatchObject({
    code: 'ERR_LIMITER_CLOSED',
  });
});

test('a full memory store refuses a reservation and keeps its records', async () => {
  const store = new MemoryStore({ clock: new ManualClock(), maxKeys: 1 });
  const limiter = new RateLimiter({ store, rate: 100, period: '100s', failStrategy: 'closed' });
  expect(await limiter.reserve(ID, { cost: 1, ttl: '1m' })).toMatchObject({
    allowed: false,
    reason: 'overloaded',
  });
  expect(store.size).toBe(0);
});
