import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { BanOptions, Decision, Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';

const MINUTE = 60_000;
const BAN: BanOptions = { after: 3, within: '10m', for: '15m', growth: 2, max: '40m' };
/** A limit that refuses every call after the first for an hour. */
const RATE = { rate: 1, period: '1h' } as const;

function setUp(limits: readonly Limit[], clock = new ManualClock(0)) {
  const store = new MemoryStore({ clock });
  return { clock, store, limiter: new RateLimiter({ store, limits, blocks: true }) };
}

/** Calls until the limit bans the identity, and returns the refusal that does. */
async function provoke(limiter: RateLimiter, identity = 'id', calls = 10): Promise<Decision> {
  for (let i = 0; i < calls; i++) {
    const decision = await limiter.allow(identity);
    if (decision.limits.some((state) => 'bannedForMs' in state)) {
      return decision;
    }
  }
  throw new Error('no ban');
}

const reasons = async (limiter: RateLimiter, calls: number): Promise<readonly string[]> => {
  const seen = [];
  for (let i = 0; i < calls; i++) seen.push((await limiter.allow('id')).reason);
  return seen;
};

describe('a ban', () => {
  test('starts with the refusal that is one too many, which says so, and blocks until it ends', async () => {
    const { clock, limiter } = setUp([tokenBucket({ ...RATE, ban: BAN })]);
    expect(await reasons(limiter, 3)).toEqual(['within_limit', 'limited', 'limited']);
    const last = await limiter.allow('id');
    expect(last).toMatchObject({
      reason: 'limited',
      limitedBy: ['default'],
      bannedForMs: 15 * MINUTE,
      retryAfterMs: 60 * MINUTE,
    });
    expect(last.limits[0]).toMatchObject({ bannedForMs: 15 * MINUTE, retryAfterMs: 60 * MINUTE });
    clock.advance('5m');
    const blocked = await limiter.allow('id');
    expect(blocked).toMatchObject({ reason: 'blocked', remaining: 0, retryAfterMs: 55 * MINUTE });
    expect(blocked).not.toHaveProperty('bannedForMs');
    expect((await limiter.allow('other')).allowed).toBe(true);
    clock.advance('10m');
    expect((await limiter.allow('id')).reason).toBe('limited');
  });

  test('is longer than the wait of a quick limit, and `retryAfterMs` says so', async () => {
    const { limiter } = setUp([tokenBucket({ rate: 1, period: '1s', ban: BAN })]);
    expect(await provoke(limiter)).toMatchObject({ retryAfterMs: 15 * MINUTE });
    expect(await limiter.allow('id')).toMatchObject({ retryAfterMs: 15 * MINUTE });
  });

  test('counts only refusals within `within`', async () => {
    const { clock, limiter } = setUp([tokenBucket({ rate: 1, period: '1d', ban: BAN })]);
    await reasons(limiter, 3);
    clock.advance('10m');
    expect(await limiter.allow('id')).not.toHaveProperty('bannedForMs');
    clock.advance('599999ms');
    expect(await limiter.allow('id')).not.toHaveProperty('bannedForMs');
    expect(await limiter.allow('id')).toHaveProperty('bannedForMs');
  });

  test('grows until `max`, and is forgotten after its own length and `within`', async () => {
    const { clock, limiter } = setUp([fixedWindow({ rate: 1, period: '1d', ban: BAN })]);
    const lengths = [];
    for (let i = 0; i < 4; i++) {
      const { limits } = await provoke(limiter);
      const { bannedForMs = 0 } = limits[0] as { bannedForMs?: number };
      lengths.push(bannedForMs / MINUTE);
      clock.advance(`${bannedForMs}ms`);
    }
    expect(lengths).toEqual([15, 30, 40, 40]);
    // Remembered for 40 and 10 minutes from its end.
    clock.advance('50m');
    expect(await provoke(limiter)).toMatchObject({ bannedForMs: 15 * MINUTE });
    clock.advance('15m');
    clock.advance('1499999ms');
    expect(await provoke(limiter)).toMatchObject({ bannedForMs: 30 * MINUTE });
  });

  test('leaves nothing behind once it is forgotten', async () => {
    const { clock, store, limiter } = setUp([fixedWindow({ rate: 1, period: '1m', ban: BAN })]);
    await provoke(limiter);
    clock.advance('41m');
    await limiter.allow('someone else');
    await limiter.allow('and another');
    expect(store.size).toBe(2);
  });

  test('of equal length needs no `growth`', async () => {
    const { clock, limiter } = setUp([
      fixedWindow({ rate: 1, period: '1d', ban: { after: 1, within: '1m', for: '1m' } }),
    ]);
    await limiter.allow('id');
    for (let i = 0; i < 3; i++) {
      expect(await limiter.allow('id')).toMatchObject({ bannedForMs: MINUTE });
      clock.advance('1m');
    }
  });

  test.each([
    ['token bucket', tokenBucket({ ...RATE, ban: BAN })],
    ['sliding window', slidingWindow({ ...RATE, ban: BAN })],
    ['log', slidingWindowLog({ ...RATE, ban: BAN })],
    ['fixed window', fixedWindow({ rate: 1, period: 'year', ban: BAN })],
  ])('may belong to a %s', async (_, limit) => {
    const { limiter } = setUp([limit]);
    await provoke(limiter);
    expect(await reasons(limiter, 1)).toEqual(['blocked']);
  });

  test('may belong to a concurrency limit, and lets a held lease be renewed and released', async () => {
    const { limiter } = setUp([concurrency({ max: 1, ttl: '1m', ban: BAN })]);
    const lease = await limiter.acquire('id');
    await limiter.acquire('id', { cost: 0 });
    await limiter.acquire('id');
    expect(await limiter.acquire('id')).toMatchObject({ bannedForMs: 15 * MINUTE });
    expect((await limiter.acquire('id')).reason).toBe('blocked');
    expect(await lease.renew()).toBe(true);
    await lease.release();
    expect((await limiter.acquire('id')).reason).toBe('blocked');
  });
});

describe('for a ban', () => {
  test('refusals of `allow`, `allowUpTo` and `reserve` count, those of a cost of 0, `peek` and `penalize` do not', async () => {
    const { limiter } = setUp([tokenBucket({ ...RATE, ban: BAN, maxDebt: 5 })]);
    await limiter.allow('id');
    await limiter.penalize('id', 2);
    for (let i = 0; i < 4; i++) {
      expect((await limiter.peek('id')).reason).toBe('limited');
      expect((await limiter.allow('id', { cost: 0 })).reason).toBe('limited');
      expect((await limiter.allow('id', { cost: 2 })).reason).toBe('impossible');
      await limiter.penalize('id', 1);
    }
    expect(await limiter.allow('id')).not.toHaveProperty('bannedForMs');
    expect(await limiter.allowUpTo('id', 2)).toMatchObject({ granted: 0 });
    const reserved = await limiter.reserve('id', { cost: 1, ttl: '1m' });
    expect(reserved).toMatchObject({ reason: 'limited', bannedForMs: 15 * MINUTE });
  });

  test('an `add` that is refused does not count, for its work is under way', async () => {
    const { limiter } = setUp([tokenBucket({ ...RATE, ban: { ...BAN, after: 1 } })]);
    const reservation = await limiter.reserve('id', { cost: 1, ttl: '1m' });
    for (let i = 0; i < 3; i++) expect((await reservation.add(1)).reason).toBe('limited');
    expect((await limiter.peek('id')).reason).toBe('limited');
  });

  test('calls that wait for their turn do not count', async () => {
    const { clock, limiter } = setUp([
      tokenBucket({ rate: 1, period: '1s', ban: { ...BAN, after: 1 } }),
    ]);
    await limiter.allow('id');
    const waiting = [1, 2, 3].map(() => limiter.wait('id', { timeoutMs: 10_000 }));
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance('1s');
    }
    expect((await Promise.all(waiting)).map(({ reason }) => reason)).toEqual(
      waiting.map(() => 'within_limit'),
    );
    expect(await limiter.allow('id')).toHaveProperty('bannedForMs');
  });

  test('calls under a block do not count', async () => {
    const { clock, limiter } = setUp([tokenBucket({ ...RATE, ban: BAN })]);
    await limiter.block('id', '1m');
    expect(await reasons(limiter, 5)).toEqual(Array(5).fill('blocked'));
    clock.advance('1m');
    await limiter.allow('id');
    expect(await reasons(limiter, 3)).toEqual(['limited', 'limited', 'limited']);
    expect(await reasons(limiter, 1)).toEqual(['blocked']);
  });

  test('each of several limits counts what it refuses itself', async () => {
    const { limiter } = setUp([
      fixedWindow({ name: 'tight', rate: 1, period: '1d' }),
      fixedWindow({ name: 'wide', rate: 5, period: '1d', ban: { ...BAN, after: 1 } }),
    ]);
    expect(await reasons(limiter, 9)).not.toContain('blocked');
    expect(await limiter.allow('id', { cost: 5 })).toMatchObject({
      limitedBy: ['tight'],
      reason: 'impossible',
    });
    const { limiter: both } = setUp([
      fixedWindow({ name: 'tight', rate: 2, period: '1d' }),
      fixedWindow({ name: 'wide', rate: 2, period: '1d', ban: { ...BAN, after: 1 } }),
    ]);
    await both.allow('id', { cost: 2 });
    expect(await both.allow('id')).toMatchObject({
      limitedBy: ['tight', 'wide'],
      bannedForMs: 15 * MINUTE,
      limits: [{ name: 'tight' }, { name: 'wide', bannedForMs: 15 * MINUTE }],
    });
  });

  test('of two that start at once the longer one holds', async () => {
    const { limiter } = setUp([
      fixedWindow({ name: 'a', rate: 1, period: '1d', ban: { after: 1, within: '1m', for: '2h' } }),
      fixedWindow({ name: 'b', rate: 1, period: '1d', ban: { after: 1, within: '1m', for: '1h' } }),
    ]);
    await limiter.allow('id');
    expect(await limiter.allow('id')).toMatchObject({ bannedForMs: 120 * MINUTE });
    await limiter.reset('id');
    expect(await limiter.allow('id')).toMatchObject({ retryAfterMs: 120 * MINUTE });
  });

  test('a shadow counts, tells of its bans, and never blocks', async () => {
    const { clock, limiter } = setUp([
      tokenBucket({ rate: 100, period: '1s' }),
      fixedWindow({ name: 'tried', rate: 1, period: '1d', shadow: true, ban: BAN }),
    ]);
    await limiter.allow('id');
    const bans = [];
    for (let i = 0; i < 9; i++) {
      const { allowed, limits } = await limiter.allow('id');
      expect(allowed).toBe(true);
      bans.push('bannedForMs' in limits[1]!);
    }
    // Refusals during the ban would not have been refusals of this limit.
    expect(bans.filter(Boolean)).toHaveLength(1);
    clock.advance('15m');
    for (let i = 0; i < 3; i++) await limiter.allow('id');
    expect(limiter.stats().limits['tried']).toMatchObject({ bans: 0, shadowBans: 2 });
  });
});

describe('the block of a ban', () => {
  test('is that of `limiter.block`: `unblock` lifts it, and the next one is longer nevertheless', async () => {
    const { limiter } = setUp([fixedWindow({ rate: 1, period: '1d', ban: BAN })]);
    await provoke(limiter);
    await limiter.unblock('id');
    expect(await provoke(limiter)).toMatchObject({ bannedForMs: 30 * MINUTE });
  });

  test('stays after `reset`, which forgets count and growth', async () => {
    const { clock, limiter } = setUp([fixedWindow({ rate: 1, period: '1d', ban: BAN })]);
    await provoke(limiter);
    await limiter.reset('id');
    expect(await reasons(limiter, 1)).toEqual(['blocked']);
    clock.advance('15m');
    expect(await reasons(limiter, 3)).toEqual(['within_limit', 'limited', 'limited']);
    await limiter.reset('id');
    expect(await reasons(limiter, 3)).toEqual(['within_limit', 'limited', 'limited']);
    expect(await limiter.allow('id')).toMatchObject({ bannedForMs: 15 * MINUTE });
  });

  test('is replaced by a block by hand, whether it ends earlier or later', async () => {
    const { clock, limiter } = setUp([fixedWindow({ rate: 1, period: '1d', ban: BAN })]);
    await provoke(limiter);
    await limiter.block('id', '1h');
    expect(await limiter.allow('id')).toMatchObject({ reason: 'blocked' });
    clock.advance('15m');
    expect((await limiter.allow('id')).reason).toBe('blocked');
    await limiter.block('id', '1m');
    clock.advance('1m');
    expect((await limiter.allow('id')).reason).toBe('limited');
  });

  test('is heeded by every limiter with the same key and `blocks: true`', async () => {
    const { store, limiter } = setUp([tokenBucket({ ...RATE, ban: BAN })]);
    await provoke(limiter);
    const heeds = new RateLimiter({ store, ...RATE, blocks: true });
    expect((await heeds.allow('id', { limits: [] })).reason).toBe('blocked');
    expect((await limiter.allow('id', { limits: [] })).reason).toBe('blocked');
  });

  test('blocks the home of the limit that refused, and no other', async () => {
    const store = new MemoryStore({ clock: new ManualClock(0) });
    const limiter = new RateLimiter({
      store,
      blocks: true,
      limits: [
        tokenBucket({ name: 'address', by: 'ip', ...RATE, rate: 2, ban: { ...BAN, after: 1 } }),
        tokenBucket({ name: 'account', by: ['ip', 'user'], ...RATE, rate: 9 }),
      ],
    });
    const call = (ip: string, user: string | null) => limiter.allow({ ip, user });
    await call('a', 'x');
    await call('a', 'y');
    expect(await call('a', 'z')).toMatchObject({ limitedBy: ['address'], bannedForMs: 900_000 });
    expect((await call('a', 'new')).reason).toBe('blocked');
    expect((await call('a', null)).reason).toBe('blocked');
    expect((await call('b', 'x')).allowed).toBe(true);
    await limiter.unblock({ ip: 'a' });
    expect((await call('a', 'x')).reason).toBe('limited');
  });

  test('may be started by a limit given with a call', async () => {
    const { limiter } = setUp([tokenBucket({ ...RATE, rate: 100 })]);
    const limits = [tokenBucket({ ...RATE, ban: { ...BAN, after: 2 } })];
    for (let i = 0; i < 3; i++) await limiter.allow('id', { limits });
    expect((await limiter.allow('id')).reason).toBe('blocked');
  });

  test('lasts longer where the clock steps back, and refusals count from then on', async () => {
    const { clock, limiter } = setUp(
      [fixedWindow({ rate: 1, period: '1d', ban: BAN })],
      new ManualClock(Date.UTC(2026, 0, 1, 12)),
    );
    await reasons(limiter, 3);
    clock.set(Date.UTC(2026, 0, 1, 11));
    expect(await limiter.allow('id')).toMatchObject({ bannedForMs: 15 * MINUTE });
    clock.set(Date.UTC(2026, 0, 1, 10));
    clock.advance('1h');
    expect((await limiter.allow('id')).reason).toBe('blocked');
    clock.advance('15m');
    expect((await limiter.allow('id')).reason).toBe('limited');
  });
});

test('counts and hooks tell of bans', async () => {
  const heard: unknown[] = [];
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock: new ManualClock(0) }),
    blocks: true,
    limits: [
      tokenBucket({ ...RATE, ban: BAN }),
      tokenBucket({ name: 'plain', rate: 9, period: 60 }),
    ],
    onBlock: (_, decision) => {
      heard.push([
        decision.reason,
        decision.reason === 'limited' ? decision.bannedForMs : undefined,
        decision.repeated,
      ]);
    },
  });
  await provoke(limiter);
  await limiter.allow('id');
  expect(heard).toEqual([
    ['limited', undefined, false],
    ['limited', undefined, true],
    // A log that leaves out what is repeated still writes that a ban has started.
    ['limited', 15 * MINUTE, false],
    ['blocked', undefined, true],
  ]);
  const { limits } = limiter.stats();
  expect(limits['default']).toMatchObject({ bans: 1, shadowBans: 0 });
  expect(limits['plain']).not.toHaveProperty('bans');
});
