import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { expect, test } from 'vitest';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

const CASES = casesOf(1_000);
const ID = 'user:12345';

interface Numbers {
  readonly rate: number;
  readonly periodMs: number;
}

function numbersOf(random: Random): readonly Numbers[] {
  return random.list(1, 4, () => ({
    rate: random.magnitude(10, 10_000),
    periodMs: random.magnitude(1_000, 1_000_000),
  }));
}

function limitsOf(random: Random, numbers = numbersOf(random)): readonly Limit[] {
  const limits = numbers.map(({ rate, periodMs }, i) =>
    random.pick([tokenBucket, slidingWindow, fixedWindow])({
      name: `n${i}`,
      rate,
      period: `${periodMs}ms`,
      maxDebt: random.chance(50) ? random.int(0, 100) : 0,
    }),
  );
  random.note(
    'limits',
    limits.map(({ algorithm, capacity, maxDebt }, i) => ({
      algorithm,
      capacity,
      maxDebt,
      ...numbers[i],
    })),
  );
  return limits;
}

/** A decision without the fields that repeat the call. */
function facts(decision: Decision): unknown {
  return decision.limits.map(({ name, remaining, resetAfterMs }) => ({
    name,
    remaining,
    resetAfterMs,
  }));
}

/** Two worlds at one time: they must stay equal. */
function worlds(random: Random): {
  a: RateLimiter;
  b: RateLimiter;
  advance: (ms: number) => void;
  least: number;
  numbers: readonly Numbers[];
} {
  const numbers = numbersOf(random);
  const limits = limitsOf(random, numbers);
  const clocks = [new ManualClock(), new ManualClock()];
  const [a, b] = clocks.map(
    (clock) => new RateLimiter({ store: new MemoryStore({ clock }), limits }),
  );
  const advance = (ms: number): void => clocks.forEach((clock) => clock.advance(`${ms}ms`));
  advance(random.int(0, 1_000_000_000));
  const least = Math.min(...limits.map(({ capacity }) => capacity));
  return { a: a!, b: b!, advance, least, numbers };
}

test('reserving and settling at once equals charging the actual cost, now and later', async () => {
  await check(CASES, async (random) => {
    const { a, b, advance, least } = worlds(random);
    const before = random.int(1, Math.max(1, Math.floor(least / 4)));
    await Promise.all([a.allow(ID, { cost: before }), b.allow(ID, { cost: before })]);
    const cost = random.int(1, Math.ceil(least / 4));
    const actual = random.int(1, Math.ceil(least / 4));
    random.note('calls', { before, cost, actual });
    const handle = await a.reserve(ID, { cost, ttl: '1d' });
    // Others call in between; they see different room, and there is enough of it for them.
    const between = random.int(1, Math.ceil(least / 8));
    expect((await a.allow(ID, { cost: between })).allowed).toBe(true);
    expect(await handle.settle(actual)).toEqual({ charged: actual, uncharged: 0, expired: false });
    await b.allow(ID, { cost: actual });
    await b.allow(ID, { cost: between });
    for (const _ of random.steps(4)) {
      expect(facts(await a.peek(ID))).toEqual(facts(await b.peek(ID)));
      advance(random.magnitude(1, 1_000_000));
    }
  });
});

test('cancelling at once equals not reserving', async () => {
  await check(CASES, async (random) => {
    const { a, b, advance, least } = worlds(random);
    const before = random.int(1, Math.ceil(least / 2));
    await Promise.all([a.allow(ID, { cost: before }), b.allow(ID, { cost: before })]);
    const cost = random.int(1, Math.floor(least / 2));
    random.note('calls', { before, cost });
    const handle = await a.reserve(ID, { cost, ttl: '1d' });
    await handle.cancel();
    for (const _ of random.steps(4)) {
      expect(facts(await a.peek(ID))).toEqual(facts(await b.peek(ID)));
      advance(random.magnitude(1, 1_000_000));
    }
  });
});

test('after any settlement every limit allows at least as much as before, and never more than its bound', async () => {
  await check(CASES, async (random) => {
    const { a, b, advance, least, numbers } = worlds(random);
    const cost = random.int(1, Math.ceil(least / 2));
    const handle = await a.reserve(ID, { cost, ttl: '366d' });
    let used = 0;
    let elapsedMs = 0;
    for (const _ of random.steps(0, 3)) {
      const ms = random.magnitude(1, 1_000_000);
      advance(ms);
      elapsedMs += ms;
      const units = random.int(1, Math.ceil(least / 8));
      // Only if both passed are the worlds comparable.
      const [inA, inB] = await Promise.all([a.allowUpTo(ID, units), b.allowUpTo(ID, units)]);
      if (inA.granted !== inB.granted) {
        return;
      }
      used += inA.granted;
    }
    const last = random.magnitude(1, 1_000_000);
    advance(last);
    elapsedMs += last;
    const before = await a.peek(ID);
    const actual = random.int(0, cost);
    random.note('calls', { cost, used, elapsedMs, actual });
    await handle.settle(actual);
    const after = await a.peek(ID);
    const never = await b.peek(ID);
    after.limits.forEach(({ remaining }, i) => {
      expect(remaining).toBeGreaterThanOrEqual(before.limits[i]!.remaining!);
      const { algorithm, limit, remaining: most } = never.limits[i]!;
      // A full bucket wastes refill, and a bucket kept below full by the reservation does not. So after the units were
      // given back, more can pass than without the reservation, within burst and refill.
      const { rate, periodMs } = numbers[i]!;
      const bound = limit + Math.floor((rate * elapsedMs) / periodMs) - used;
      expect(remaining).toBeLessThanOrEqual(algorithm === 'token_bucket' ? bound : most!);
    });
  });
});

test('a settlement drives no limit beyond its maxDebt, and reports all that did not fit', async () => {
  await check(CASES, async (random) => {
    const limits = limitsOf(random);
    const clock = new ManualClock();
    const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits });
    clock.advance(`${random.int(0, 1_000_000_000)}ms`);
    const least = Math.min(...limits.map(({ capacity }) => capacity));
    const cost = random.int(1, least);
    const handle = await limiter.reserve(ID, { cost, ttl: '1d' });
    const actual = random.int(0, 3 * least);
    random.note('calls', { cost, actual });
    const { charged, uncharged } = await handle.settle(actual);
    const fits = Math.min(...limits.map(({ capacity, maxDebt }) => capacity + maxDebt));
    expect(charged).toBe(Math.min(actual, fits));
    expect(uncharged).toBe(actual - charged);
  });
});
