import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Random, seed } from '../../kit/random.mjs';

afterEach(() => {
  vi.restoreAllMocks();
});

const month = (name?: string): Limit =>
  fixedWindow({
    ...(name === undefined ? {} : { name }),
    rate: 1_000_000,
    period: 'month',
    timeZone: 'America/Sao_Paulo',
  });

/** How often the time zone's data is read: the cost of planning a calendar window. */
function countLookups(): () => number {
  const spy = vi.spyOn(Intl.DateTimeFormat.prototype, 'formatToParts');
  return () => {
    const calls = spy.mock.calls.length;
    spy.mockClear();
    return calls;
  };
}

/** Each test has its own month, because months computed earlier are cached. */
const random = new Random(seed);

describe('the time zone is computed once per window', () => {
  test.each<[string, (limiter: RateLimiter, i: number) => Promise<unknown>]>([
    ['calls of different costs', (limiter, i) => limiter.allow('id', { cost: 1 + i })],
    ['peeks of different costs', (limiter, i) => limiter.peek('id', { cost: 1 + i })],
    ['penalties of different units', (limiter, i) => limiter.penalize('id', 1 + i)],
    ['partial charges of different units', (limiter, i) => limiter.allowUpTo('id', 1 + i)],
    [
      'reservations of different costs',
      (limiter, i) => limiter.reserve('id', { cost: 1 + i, ttl: '1m' }),
    ],
    ['limits made for each call', (limiter) => limiter.allow('id', { limits: [month()] })],
    [
      'limits of different names made for each call',
      (limiter, i) => limiter.allow(`id-${i}`, { limits: [month(`plan-${i}`)] }),
    ],
  ])('for any number of %s', async (_, call) => {
    const clock = new ManualClock(Date.UTC(2031, random.int(0, 999), 15));
    const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits: [month()] });
    await call(limiter, 0);
    const lookups = countLookups();
    for (let i = 1; i <= 300; i++) await call(limiter, i);
    expect(lookups()).toBe(0);
    clock.advance('32d');
    await call(limiter, 301);
    const again = lookups();
    expect(again).toBeGreaterThan(0);
    await call(limiter, 302);
    expect(lookups()).toBe(0);
  });
});

describe('limits made anew for each call', () => {
  const limiter = () =>
    new RateLimiter({
      store: new MemoryStore({ clock: new ManualClock() }),
      rate: 1_000,
      period: '1h',
    });

  test('differ by each of their numbers and by their names', async () => {
    const own = limiter();
    const of = async (...limits: Limit[]) => {
      const { remaining, limits: states } = await own.peek('id', { limits });
      return `${remaining}: ${states.map(({ name, algorithm }) => `${name} ${algorithm}`).join()}`;
    };
    const rate = 5;
    const period = '1h';
    const named = tokenBucket({ name: 'x', rate, period });
    expect(await of(tokenBucket({ rate, period }))).toBe('5: default token_bucket');
    expect(await of(tokenBucket({ rate: 6, period }))).toBe('6: default token_bucket');
    expect(await of(tokenBucket({ rate, period, burst: 3 }))).toBe('3: default token_bucket');
    expect(await of(slidingWindow({ rate, period }))).toBe('5: default sliding_window');
    expect(await of(named)).toBe('5: x token_bucket');
    expect(await of(tokenBucket({ rate, period, shadow: true }))).toBe(
      'Infinity: default token_bucket',
    );
    expect(await of(tokenBucket({ rate, period }), named)).toBe(
      '5: default token_bucket,x token_bucket',
    );
    await own.allow('id', { limits: [tokenBucket({ rate, period })] });
    expect(await of(tokenBucket({ rate, period }))).toBe('4: default token_bucket');
  });

  test('are evicted beyond a bound and still decide right', async () => {
    const own = limiter();
    for (let round = 0; round < 2; round++) {
      for (let rate = 1; rate <= 400; rate++) {
        const { remaining } = await own.peek('id', {
          limits: [tokenBucket({ rate, period: '1h' })],
        });
        expect(remaining).toBe(rate);
      }
    }
  });
});
