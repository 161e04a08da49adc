import {
  fixedWindow,
  MemoryStore,
  RateLimitExceeded,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit, RateLimiterOptions } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';
import { casesOf, check } from '../../kit/random.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

const KINDS = [
  ['token_bucket', tokenBucket],
  ['sliding_window', slidingWindow],
  ['sliding_window_log', slidingWindowLog],
  ['fixed_window', fixedWindow],
] as const;

function make(limits: readonly Limit[], options: Partial<RateLimiterOptions> = {}) {
  // A whole multiple of every period below, so that windows begin where the tests do.
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const limiter = new RateLimiter({ store, limits, ...options } as RateLimiterOptions);
  return { clock, store, limiter };
}

const remainingOf = ({ limits }: Decision) => limits.map(({ remaining }) => remaining);

describe('allowUpTo', () => {
  test.each(KINDS)(
    '%s: grants what is left, then refuses with the wait for one unit',
    async (_, of) => {
      const { limiter } = make([of({ rate: 4, period: '10s' })]);
      expect(await limiter.allowUpTo('a', 3)).toMatchObject({ allowed: true, granted: 3 });
      expect(await limiter.allowUpTo('a', 9)).toMatchObject({
        allowed: true,
        granted: 1,
        remaining: 0,
      });
      const one = await limiter.allow('a');
      const none = await limiter.allowUpTo('a', 9);
      expect(none).toEqual({ ...one, cost: 9, granted: 0 });
      expect(none).toMatchObject({ allowed: false, reason: 'limited', limitedBy: ['default'] });
    },
  );

  test('grants the least of several limits and charges it under all of them', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'a', rate: 9, period: '10s' }),
      slidingWindow({ name: 'b', rate: 5, period: '1m' }),
      fixedWindow({ name: 'c', rate: 7, period: '1m' }),
      fixedWindow({ name: 'd', rate: 2, period: '1m', shadow: true }),
    ]);
    const grant = await limiter.allowUpTo('x', 100);
    expect(grant).toMatchObject({ allowed: true, granted: 5, remaining: 0 });
    // The shadow would have refused five, so it is not charged.
    expect(remainingOf(grant)).toEqual([4, 0, 2, 2]);
    expect(await limiter.allowUpTo('x', 100)).toMatchObject({ granted: 0, limitedBy: ['b'] });
    expect(remainingOf(await limiter.peek('x'))).toEqual([4, 0, 2, 2]);
  });

  test.each(KINDS)(
    '%s: a shadow limit reports a wait only for what it can ever let pass',
    async (_, of) => {
      const real = fixedWindow({ name: 'real', rate: 9, period: '1m' });
      const { limiter } = make([real, of({ name: 'shadow', rate: 3, period: '1m', shadow: true })]);
      const [, shadow] = (await limiter.allowUpTo('x', 4)).limits;
      expect(shadow).toMatchObject({ refused: true, remaining: 3 });
      expect(shadow).not.toHaveProperty('retryAfterMs');
      expect((await limiter.allowUpTo('x', 3)).limits[1]).toMatchObject({ refused: false });
      expect((await limiter.allowUpTo('x', 2)).limits[1]).toMatchObject({
        refused: true,
        retryAfterMs: expect.any(Number),
      });
    },
  );
});

describe('refund', () => {
  test.each(KINDS)('%s: undoes its decision exactly, and only once', async (_, of) => {
    const { limiter, clock } = make([of({ rate: 9, period: '9s' })]);
    await limiter.allow('a', { cost: 2 });
    clock.advance('1s');
    const base = await limiter.peek('a');
    const charged = await limiter.allow('a', { cost: 3 });
    expect(await limiter.refund(charged)).toEqual(base);
    expect(await limiter.peek('a')).toEqual(base);
    const granted = await limiter.allowUpTo('a', 50);
    expect(granted.granted).toBe(base.remaining);
    expect(await limiter.refund(granted)).toEqual(base);
    await expect(limiter.refund(charged)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
    expect(await limiter.peek('a')).toEqual(base);
  });

  test('rejects for anything but a charge of this limiter', async () => {
    const { limiter, store } = make([fixedWindow({ rate: 1, period: '10s' })]);
    const other = new RateLimiter({ store, rate: 1, period: '1s' });
    const passed = await limiter.allow('a');
    const refused = await limiter.allow('a');
    const looked = await limiter.peek('b');
    const impossible = await limiter.allow('a', { cost: 2 });
    for (const decision of [refused, looked, impossible, { ...passed }, {} as Decision]) {
      await expect(limiter.refund(decision)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
    }
    await expect(other.refund(passed)).rejects.toMatchObject({ code: 'ERR_NOT_REFUNDABLE' });
    expect(await limiter.refund(passed)).toMatchObject({ remaining: 1 });
  });

  test.each(KINDS)('%s: refunds nothing into a newer window', async (_, of) => {
    const { limiter, clock } = make([of({ rate: 3, period: '10s' })]);
    const old = await limiter.allow('a', { cost: 3 });
    clock.advance('20s');
    await limiter.allow('a', { cost: 2 });
    const before = await limiter.peek('a');
    const after = await limiter.refund(old);
    // A bucket has no windows, but units that have recovered are not refunded.
    expect(before).toMatchObject({ remaining: 1 });
    expect(after).toEqual(before);
  });

  test('refunds what still counts of the previous sliding window', async () => {
    const { limiter, clock } = make([slidingWindow({ rate: 4, period: '10s' })]);
    const old = await limiter.allow('a', { cost: 4 });
    clock.advance('15s');
    expect(await limiter.peek('a')).toMatchObject({ remaining: 2 });
    expect(await limiter.refund(old)).toMatchObject({ remaining: 4, resetAfterMs: 0 });
  });
});

describe('penalize', () => {
  test('drives a token bucket into debt, up to maxDebt', async () => {
    const { limiter, clock } = make([tokenBucket({ rate: 2, period: '10s', maxDebt: 3 })]);
    // 2 units of the burst and 3 of debt at 5 s each; a unit passes when one has recovered beyond the debt.
    const deep = { allowed: false, remaining: 0, retryAfterMs: 20_000, resetAfterMs: 25_000 };
    expect(await limiter.penalize('a', 100)).toMatchObject(deep);
    expect(await limiter.penalize('a', 1)).toMatchObject(deep);
    clock.advance('19999ms');
    expect(await limiter.allow('a')).toMatchObject({ allowed: false, retryAfterMs: 1 });
    clock.advance('1ms');
    expect(await limiter.allow('a')).toMatchObject({ allowed: true });
  });

  test('drives a sliding window into debt, up to maxDebt', async () => {
    const { limiter, clock } = make([slidingWindow({ rate: 2, period: '10s', maxDebt: 3 })]);
    // 5 units fade from the end of the window on; one passes when at most one of them still counts.
    const deep = { allowed: false, remaining: 0, retryAfterMs: 18_000, resetAfterMs: 20_000 };
    expect(await limiter.penalize('a', 100)).toMatchObject(deep);
    expect(await limiter.penalize('a', 1)).toMatchObject(deep);
    clock.advance('17999ms');
    expect(await limiter.allow('a')).toMatchObject({ allowed: false, retryAfterMs: 1 });
    clock.advance('1ms');
    expect(await limiter.allow('a')).toMatchObject({ allowed: true });
  });

  test.each([0, 1, 3])('drives a fixed window into debt, up to maxDebt %i', async (maxDebt) => {
    const { limiter, clock } = make([fixedWindow({ rate: 2, period: '10s', maxDebt })]);
    const charged = await limiter.allow('a', { cost: 2 });
    expect(await limiter.penalize('a', 100)).toMatchObject({ remaining: 0, retryAfterMs: 10_000 });
    // The refund of 2 from 2 + maxDebt leaves maxDebt, which shows how deep the debt was.
    expect(await limiter.refund(charged)).toMatchObject({ remaining: Math.max(0, 2 - maxDebt) });
    clock.advance('10s');
    expect(await limiter.peek('a')).toMatchObject({ remaining: 2, resetAfterMs: 0 });
  });

  test('charges every limit, whatever each has left', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'a', rate: 9, period: '1h' }),
      fixedWindow({ name: 'b', rate: 2, period: '1h' }),
      slidingWindow({ name: 'c', rate: 8, period: '1h', shadow: true }),
    ]);
    const decision = await limiter.penalize('x', 5);
    expect(remainingOf(decision)).toEqual([4, 0, 3]);
    expect(decision).toMatchObject({ allowed: false, limitedBy: ['b'] });
  });
});

describe('block', () => {
  const bucket = tokenBucket({ rate: 5, period: '10s' });

  test('refuses until it ends, charges nothing, and is replaced by a later one', async () => {
    const { limiter, clock } = make([bucket], { blocks: true });
    await limiter.block('a', '1m');
    const blocked = { allowed: false, reason: 'blocked', remaining: 0 };
    expect(await limiter.allow('a')).toMatchObject({ ...blocked, retryAfterMs: 60_000 });
    expect(await limiter.peek('a')).toMatchObject(blocked);
    expect(await limiter.allowUpTo('a', 3)).toMatchObject({ ...blocked, granted: 0 });
    expect((await limiter.allow('b')).allowed).toBe(true);
    await limiter.reset('a');
    expect(await limiter.allow('a')).toMatchObject(blocked);
    await limiter.block('a', '2s');
    clock.advance('1999ms');
    expect(await limiter.allow('a')).toMatchObject({ ...blocked, retryAfterMs: 1 });
    clock.advance('1ms');
    expect(await limiter.allow('a')).toMatchObject({ allowed: true, remaining: 4 });
  });

  test('is lifted by unblock', async () => {
    const { limiter } = make([bucket], { blocks: true });
    await limiter.unblock('a');
    await limiter.block('a', '1h');
    await limiter.unblock('a');
    expect(await limiter.allow('a')).toMatchObject({ allowed: true, remaining: 4 });
  });

  test('is waited for together with the limits', async () => {
    const { limiter } = make([bucket], { blocks: true });
    await limiter.allow('a', { cost: 5 });
    await limiter.block('a', '1s');
    expect(await limiter.allow('a', { cost: 5 })).toMatchObject({
      reason: 'blocked',
      retryAfterMs: 10_000,
    });
  });

  test('is heeded and set only by limiters with `blocks: true`', async () => {
    const { limiter, store } = make([bucket], { blocks: true });
    const heedless = new RateLimiter({ store, limits: [bucket] });
    await limiter.block('a', '1h');
    expect((await heedless.allow('a')).allowed).toBe(true);
    for (const call of [heedless.block('a', '1h'), heedless.unblock('a')]) {
      await expect(call).rejects.toMatchObject({
        code: 'ERR_INVALID_OPTION',
        message: expect.stringContaining('`blocks`'),
      });
    }
    for (const duration of [60, '0s', '11y', 'soon']) {
      await expect(limiter.block('a', duration as '1h')).rejects.toMatchObject({
        code: 'ERR_INVALID_OPTION',
      });
    }
  });
});

describe('wait', () => {
  test('serves waiters first come, first served for each identity', async () => {
    const { limiter, clock } = make([tokenBucket({ rate: 1, period: '20ms' })]);
    const order: string[] = [];
    const waiting = ['a1', 'a2', 'a3', 'a4'].map(async (name) => {
      const decision = await limiter.wait('a');
      expect(decision.allowed).toBe(true);
      order.push(name);
    });
    await limiter.wait('b').then(() => order.push('b'));
    expect(order).toEqual(['a1', 'b']); // no other identity's queue delays it
    clock.advance('60ms');
    await Promise.all(waiting);
    expect(order).toEqual(['a1', 'b', 'a2', 'a3', 'a4']);
  });

  test('lets no cheap call overtake an expensive one', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      limits: [tokenBucket({ rate: 4, period: '80ms' })],
    });
    await limiter.allow('a', { cost: 3 });
    const order: string[] = [];
    await Promise.all([
      limiter.wait('a', { cost: 4 }).then(() => order.push('dear')),
      limiter.wait('a', { cost: 1 }).then(() => order.push('cheap')),
    ]);
    expect(order).toEqual(['dear', 'cheap']);
  });

  const hourly = () => make([tokenBucket({ rate: 1, period: '1h' })]).limiter;

  test('rejects with ERR_WAIT_TIMEOUT at once when the known wait is too long, else in time', async () => {
    const { limiter, clock } = make([tokenBucket({ rate: 1, period: '1h' })]);
    await limiter.allow('a');
    await expect(limiter.wait('a', { timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'ERR_WAIT_TIMEOUT',
    });
    const first = limiter.wait('a').catch((error: unknown) => error);
    const second = limiter.wait('a', { timeoutMs: 30 });
    clock.advance('30ms');
    await expect(second).rejects.toMatchObject({ code: 'ERR_WAIT_TIMEOUT' });
    await limiter.close();
    expect(await first).toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  });

  test('is ended by a signal before and while it waits, and the next waiter moves up', async () => {
    const limiter = hourly();
    await limiter.allow('a');
    const reason = new Error('enough');
    await expect(limiter.wait('a', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const [first, second] = [new AbortController(), new AbortController()];
    const waiting = [first, second].map(({ signal }) =>
      limiter.wait('a', { signal }).catch((error: unknown) => error),
    );
    first.abort(reason);
    expect(await waiting[0]).toBe(reason);
    await limiter.reset('a');
    second.abort('later');
    expect(await waiting[1]).toBe('later');
    expect(await limiter.wait('a')).toMatchObject({ allowed: true });
  });

  test('bounds the waiters behind the first with maxQueue, for each identity', async () => {
    const limiter = hourly();
    await limiter.allow('a');
    const waiting = [1, 2, 3].map(() =>
      limiter.wait('a', { maxQueue: 2 }).catch((error: unknown) => error),
    );
    await expect(limiter.wait('a', { maxQueue: 2 })).rejects.toMatchObject({
      code: 'ERR_WAIT_QUEUE_FULL',
    });
    expect((await limiter.wait('b', { maxQueue: 0 })).allowed).toBe(true);
    await limiter.close();
    for (const ended of waiting) {
      expect(await ended).toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
    }
    await expect(limiter.wait('a')).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  });

  test('rejects at once when waiting does not help', async () => {
    const limiter = hourly();
    const error = await limiter.wait('a', { cost: 2 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RateLimitExceeded);
    expect(error).toMatchObject({ decision: { reason: 'impossible', maxCost: 1 } });
  });
});

describe('shadow', () => {
  test('never refuses, and is charged only when it and every enforced limit pass', async () => {
    const { limiter } = make([
      fixedWindow({ name: 'real', rate: 5, period: '1h' }),
      fixedWindow({ name: 'dark', rate: 3, period: '1h', shadow: true }),
    ]);
    expect(remainingOf(await limiter.allow('a', { cost: 2 }))).toEqual([3, 1]);
    const over = await limiter.allow('a', { cost: 2 });
    expect(over).toMatchObject({ allowed: true, reason: 'within_limit', remaining: 1 });
    expect(over.limits[1]).toMatchObject({ refused: true, shadow: true, remaining: 1 });
    // The shadow alone would pass one, but the call asks the enforced limit for two.
    expect(await limiter.allow('a', { cost: 2 })).toMatchObject({ limitedBy: ['real'] });
    expect(remainingOf(await limiter.peek('a'))).toEqual([1, 1]);
    expect(remainingOf(await limiter.allow('a'))).toEqual([0, 0]);
    // Beyond the shadow's capacity: only enforced limits make a cost impossible.
    await limiter.reset('a');
    expect(await limiter.allow('a', { cost: 4 })).toMatchObject({ allowed: true });
  });

  test.each(KINDS)('%s: a limiter of shadow limits alone lets everything pass', async (_, of) => {
    const { limiter } = make([of({ rate: 1, period: '1h', shadow: true })]);
    for (const refused of [false, true, true]) {
      const decision = await limiter.allow('a');
      expect(decision).toMatchObject({ allowed: true, remaining: Number.POSITIVE_INFINITY });
      expect(decision.limits[0]).toMatchObject({ refused, remaining: 0 });
    }
    expect(await limiter.allow('a', { cost: 1_000 })).toMatchObject({ allowed: true });
    expect(await limiter.allowUpTo('a', 7)).toMatchObject({ allowed: true, granted: 7 });
  });
});

describe('limits of a call', () => {
  test.each([
    ['token_bucket', tokenBucket],
    ['sliding_window', slidingWindow],
    ['sliding_window_log', slidingWindowLog],
    ['fixed_window', fixedWindow],
  ] as const)('%s: limits of a call keep the units that were consumed', async (_, of) => {
    const { limiter } = make([of({ rate: 10, period: '10s' })]);
    expect(await limiter.allow('a', { cost: 3 })).toMatchObject({ remaining: 7 });
    const more = [of({ rate: 20, period: '10s' })];
    expect(await limiter.peek('a', { limits: more })).toMatchObject({ remaining: 17 });
    await limiter.allow('a', { cost: 2, limits: more });
    expect(await limiter.peek('a')).toMatchObject({ remaining: 5 });
    expect(await limiter.penalize('a', 20, { limits: more })).toMatchObject({ remaining: 0 });
    await limiter.reset('a', { limits: more });
    expect(await limiter.peek('a')).toMatchObject({ remaining: 10 });
  });
});

test('give the same decisions in any order, and a refusal charges nothing', async () => {
  const cases = casesOf(150);
  let [refusals, passes] = [0, 0];
  await check(cases, async (random) => {
    const limits = random.list(1, 8, (i) => {
      const rate = random.magnitude(2, 50);
      const period = `${random.magnitude(10, 100_000)}ms` as const;
      const maxDebt = random.chance(30) ? random.int(1, 20) : 0;
      const [name, of] = random.pick(KINDS);
      const common = { name: `l${i}`, rate, period, shadow: random.chance(20) };
      return name === 'sliding_window_log' ? slidingWindowLog(common) : of({ ...common, maxDebt });
    });
    const turned = random.shuffle(limits);
    random.note('limits', limits);
    random.note(
      'the other order',
      turned.map(({ name }) => name),
    );
    const clock = new ManualClock();
    const [one, two] = [limits, turned].map(
      (order) => new RateLimiter({ store: new MemoryStore({ clock }), limits: order }),
    ) as [RateLimiter, RateLimiter];
    const sorted = (decision: Decision) => ({
      ...decision,
      limits: [...decision.limits].sort((a, b) => (a.name < b.name ? -1 : 1)),
      limitedBy: decision.reason === 'limited' ? [...decision.limitedBy].sort() : [],
    });
    for (const _ of random.steps(40)) {
      const ms = random.chance(50) ? 0 : random.magnitude(1, 50_000);
      clock.advance(`${ms}ms`);
      const cost = random.magnitude(1, 12);
      const what = random.pick(['allow', 'allow', 'allow', 'upTo', 'penalize', 'refund'] as const);
      random.note('call', { afterMs: ms, what, cost });
      const before = await one.peek('a');
      const ask = async (limiter: RateLimiter): Promise<Decision> => {
        if (what === 'upTo') return limiter.allowUpTo('a', cost);
        if (what === 'penalize') return limiter.penalize('a', cost);
        const decision = await limiter.allow('a', { cost });
        return what === 'refund' && decision.allowed ? limiter.refund(decision) : decision;
      };
      const [mine, theirs] = [await ask(one), await ask(two)];
      expect(sorted(theirs)).toEqual(sorted(mine));
      if (what === 'refund' && mine.reason === 'within_limit') {
        expect(await one.peek('a')).toEqual(before);
      }
      if (mine.reason === 'limited' && what !== 'penalize') {
        refusals += 1;
        expect(await one.peek('a')).toEqual(before);
      } else {
        passes += 1;
      }
    }
  });
  expect(refusals).toBeGreaterThan((10 / 3) * cases);
  expect(passes).toBeGreaterThan((10 / 3) * cases);
});

describe('warnings and details of refusals', () => {
  const warnings = collectWarnings();

  test('penalize warns once when no limit has `maxDebt`, with the cure', async () => {
    const before = (await warnings()).length;
    const { limiter } = make([tokenBucket({ rate: 1, period: '1h' })]);
    const owing = make([tokenBucket({ rate: 1, period: '1h', maxDebt: 5 })]).limiter;
    await limiter.allow('a');
    await limiter.penalize('a', 3);
    await limiter.penalize('a', 3);
    await owing.penalize('a', 3);
    const told = (await warnings())
      .slice(before)
      .filter(({ code }) => code === 'DRL_PENALTY_WITHOUT_DEBT');
    expect(told.map(({ message }) => message)).toEqual([expect.stringContaining('`maxDebt`')]);
  });
});

test('an impossible decision names the limits that refused, and lists all without their state', async () => {
  const { limiter } = make([
    tokenBucket({ name: 'small', rate: 3, period: '1h' }),
    tokenBucket({ name: 'large', rate: 10, period: '1h' }),
    tokenBucket({ name: 'dark', rate: 1, period: '1h', shadow: true }),
  ]);
  const expected = {
    reason: 'impossible',
    source: 'none',
    maxCost: 3,
    limitedBy: ['small'],
    limits: [
      { name: 'small', algorithm: 'token_bucket', limit: 3, refused: true, shadow: false },
      { name: 'large', algorithm: 'token_bucket', limit: 10, refused: false, shadow: false },
      { name: 'dark', algorithm: 'token_bucket', limit: 1, refused: true, shadow: true },
    ],
  };
  expect(await limiter.allow('a', { cost: 4 })).toEqual({
    allowed: false,
    degraded: false,
    cost: 4,
    ...expected,
  });
  expect(await limiter.peek('a', { cost: 4 })).toMatchObject(expected);
  expect(await limiter.reserve('a', { cost: 4, ttl: '1m' })).toMatchObject(expected);
});
