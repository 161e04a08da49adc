import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';
import { casesOf, check } from '../../kit/random.mjs';

const KINDS = [
  ['token_bucket', tokenBucket],
  ['sliding_window', slidingWindow],
  ['fixed_window', fixedWindow],
] as const;

function make(limits: readonly Limit[]) {
  const clock = new ManualClock();
  return { clock, limiter: new RateLimiter({ store: new MemoryStore({ clock }), limits }) };
}

const remainingOf = ({ limits }: Decision) => limits.map(({ remaining }) => remaining);

describe('credit', () => {
  test.each(KINDS)('%s: gives units, and never more than the full limit', async (_, of) => {
    const { limiter } = make([of({ rate: 10, period: '1h' })]);
    await limiter.allow('a', { cost: 7 });
    expect(await limiter.credit('a', 2)).toMatchObject({ allowed: true, remaining: 5, cost: 1 });
    expect(await limiter.credit('a', 1_000)).toMatchObject({ remaining: 10, resetAfterMs: 0 });
    expect(await limiter.credit('new', 5)).toMatchObject({ remaining: 10, resetAfterMs: 0 });
    expect(await limiter.allow('a', { cost: 11 })).toMatchObject({ reason: 'impossible' });
  });

  test.each(KINDS)('%s: pays debts first', async (_, of) => {
    const { limiter } = make([of({ rate: 4, period: '1h', maxDebt: 10 })]);
    await limiter.penalize('a', 12);
    expect(await limiter.credit('a', 7)).toMatchObject({ allowed: false, remaining: 0 });
    expect(await limiter.credit('a', 3)).toMatchObject({ allowed: true, remaining: 2 });
  });

  test.each([false, true])(
    'a refund gives no units of a token bucket that a gift has given before; reset between: %s',
    async (resets) => {
      const { clock, limiter } = make([tokenBucket({ rate: 20, period: '20s' })]);
      const first = await limiter.allow('a', { cost: 20 });
      await limiter.credit('a', 20);
      clock.advance('1s');
      if (resets) {
        await limiter.reset('a');
      }
      await limiter.allow('a', { cost: 20 });
      expect(await limiter.refund(first)).toMatchObject({ remaining: 0, allowed: false });
      clock.advance('20s');
      expect(await limiter.peek('a')).toMatchObject({ remaining: 20, resetAfterMs: 0 });
    },
  );

  test('gives to each limit of a home, and changes neither logs nor places', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'a', rate: 9, period: '1h' }),
      fixedWindow({ name: 'b', rate: 8, period: '1h', shadow: true }),
      slidingWindowLog({ name: 'c', rate: 7, period: '1h' }),
      concurrency({ name: 'd', max: 2, ttl: '1h' }),
    ]);
    await limiter.acquire('x', { cost: 5 });
    expect(remainingOf(await limiter.credit('x', 2))).toEqual([6, 5, 2, 1]);
  });

  test('is refused where a limit is a log or lends places, and none can be credited', async () => {
    const { limiter } = make([
      slidingWindowLog({ name: 'c', rate: 7, period: '1h' }),
      concurrency({ name: 'd', max: 2, ttl: '1h' }),
    ]);
    await expect(limiter.credit('x', 2)).rejects.toThrow(
      '`limits` must be with a token bucket or a window among them, for `credit`',
    );
  });

  test.each([-1, 1.5, Number.NaN, '2', undefined, { tokens: 1 }])(
    'refuses a cost of %s',
    async (cost) => {
      const { limiter } = make([tokenBucket({ rate: 5, period: '1h' })]);
      await expect(limiter.credit('a', cost as never)).rejects.toMatchObject({
        code: 'ERR_INVALID_COST',
      });
    },
  );

  test('gives the units that it names, to the counters of exactly the given parts', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock: new ManualClock() }),
      limits: [
        tokenBucket({ name: 'rpm', by: ['org', 'key'], rate: 10, period: '1h' }),
        tokenBucket({ name: 'tpm', by: ['org', 'key'], unit: 'tokens', rate: 100, period: '1h' }),
        fixedWindow({ name: 'budget', by: 'org', unit: 'tokens', rate: 1_000, period: '1h' }),
      ],
    });
    const user = { org: 'acme', key: 'k' };
    await limiter.allow(user, { cost: { tokens: 50 } });
    await limiter.credit(user, { tokens: 20 });
    expect(remainingOf(await limiter.peek(user, { cost: { tokens: 1 } }))).toEqual([9, 70, 950]);
    await limiter.credit({ org: 'acme' }, { tokens: 30 });
    expect(remainingOf(await limiter.peek(user, { cost: { tokens: 1 } }))).toEqual([9, 70, 980]);
  });

  test('changes no block, and gives nothing for a cost of 0', async () => {
    const { limiter } = make([tokenBucket({ rate: 5, period: '1h' })]);
    const before = await limiter.allow('a');
    expect(await limiter.credit('a', 0)).toMatchObject({ remaining: before.remaining });
  });

  test('what passes at one instant is at most the limit, the gifts, and what was refunded', async () => {
    await check(casesOf(100), async (random) => {
      const rate = random.int(1, 12);
      const [, of] = random.pick(KINDS);
      const { limiter, clock } = make([of({ rate, period: '1h' })]);
      const passed: Decision[] = [];
      let [units, gifts] = [0, 0];
      for (const _ of random.steps(30)) {
        const what = random.pick(['allow', 'allow', 'credit', 'refund'] as const);
        const cost = random.int(1, rate);
        random.note('call', { what, cost });
        if (what === 'allow') {
          const decision = await limiter.allow('a', { cost });
          if (decision.allowed) {
            units += cost;
            passed.push(decision);
          }
        } else if (what === 'credit') {
          const { remaining: before } = await limiter.peek('a');
          const { remaining: after } = await limiter.credit('a', cost);
          expect(after).toBe(Math.min(rate, before! + cost));
          gifts += after! - before!;
        } else if (passed.length > 0) {
          const [decision] = passed.splice(random.int(0, passed.length - 1), 1);
          const { remaining: before } = await limiter.peek('a');
          const { remaining: after } = await limiter.refund(decision!);
          expect(after! - before!).toBeLessThanOrEqual(decision!.cost as number);
          units -= after! - before!;
        }
        expect(units).toBeLessThanOrEqual(rate + gifts);
        expect((await limiter.peek('a')).remaining).toBe(rate + gifts - units);
      }
      clock.advance('3h');
      expect(await limiter.peek('a')).toMatchObject({ remaining: rate, resetAfterMs: 0 });
    });
  });
});
