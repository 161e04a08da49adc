import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Cost, Decision, GivenCost } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';

const RPM = tokenBucket({ name: 'rpm', rate: 60, period: '1m' });
const TPM = tokenBucket({
  name: 'tpm',
  unit: 'tokens',
  rate: 1_000,
  period: '1000s',
  maxDebt: 500,
});
const BUDGET = fixedWindow({ name: 'budget', unit: 'micros', rate: 10_000, period: '1h' });

function make() {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  return { clock, store, llm: new RateLimiter({ store, limits: [RPM, TPM, BUDGET] }) };
}

/** What is left under each limit that a decision speaks of. */
function left({ limits }: Decision): Record<string, number | undefined> {
  return Object.fromEntries(limits.map(({ name, remaining }) => [name, remaining]));
}

const all = async (llm: ReturnType<typeof make>['llm'], id = 'a') =>
  left(await llm.peek(id, { cost: 0 }));

const INVALID = { code: 'ERR_INVALID_COST' };

describe('cost by name', () => {
  test('charges each limit the units that it counts, and one call', async () => {
    const { llm } = make();
    const decision = await llm.allow('a', { cost: { tokens: 300, micros: 1_000 } });
    expect(left(decision)).toEqual({ rpm: 59, tpm: 700, budget: 9_000 });
    expect(decision.cost).toEqual({ calls: 1, tokens: 300, micros: 1_000 });
  });

  test('asks one call of a call that gives no cost', async () => {
    const { llm } = make();
    expect(left(await llm.allow('a'))).toEqual({ rpm: 59 });
    expect(left(await llm.allow('a', { cost: {} }))).toEqual({ rpm: 58 });
    expect(await llm.wait('a')).toMatchObject({ cost: { calls: 1 } });
  });

  test('asks no limit whose unit is not named, not even in debt', async () => {
    const { llm } = make();
    await llm.penalize('a', { tokens: 1_500 });
    expect(left(await llm.allow('a'))).toEqual({ rpm: 59 });
    expect(await llm.allow('a', { cost: { tokens: 0 } })).toMatchObject({
      allowed: false,
      limitedBy: ['tpm'],
    });
  });

  test('asks limits whose unit is named with 0, and charges nothing', async () => {
    const { llm } = make();
    const decision = await llm.allow('a', { cost: { calls: 0, tokens: 0 } });
    expect(left(decision)).toEqual({ rpm: 60, tpm: 1_000 });
    expect(await all(llm)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
  });

  test('charges nothing under any limit if one refuses', async () => {
    const { llm, clock } = make();
    await llm.allow('a', { cost: { tokens: 900, micros: 10 } });
    const refused = await llm.allow('a', { cost: { calls: 3, tokens: 101, micros: 10 } });
    expect(refused).toMatchObject({ reason: 'limited', limitedBy: ['tpm'], retryAfterMs: 1_000 });
    expect(left(refused)).toEqual({ rpm: 59, tpm: 100, budget: 9_990 });
    clock.advance('1s');
    expect((await llm.allow('a', { cost: { calls: 3, tokens: 101, micros: 10 } })).allowed).toBe(
      true,
    );
  });

  test('is the number 0 for no unit of any kind', async () => {
    const { llm } = make();
    const decision = await llm.peek('a', { cost: 0 });
    expect(decision.cost).toEqual({ calls: 0, tokens: 0, micros: 0 });
    expect(left(decision)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
  });

  test.each<[string, unknown, RegExp]>([
    ['a number', 3, /^`cost` must name the units that limits count, got 3\. Write \{ calls: 1/],
    [
      'an unknown unit',
      { token: 1 },
      /^`cost` must name units that a limit counts .+, got "token"/,
    ],
    ['an undefined value', { tokens: undefined }, /^`cost\.tokens` must be .+, got undefined/],
    ['null', { tokens: null }, /^`cost\.tokens` must be .+, got null/],
    ['NaN', { tokens: Number.NaN }, /^`cost\.tokens` must be .+, got NaN/],
    ['a fraction', { tokens: 0.5 }, /^`cost\.tokens` must be .+, got 0\.5/],
    ['a negative value', { calls: -1 }, /^`cost\.calls` must be .+, got -1/],
    ['a text', { tokens: '5' }, /^`cost\.tokens` must be .+, got "5"/],
    ['a map', new Map([['tokens', 5]]), /^`cost` must be a whole number/],
    ['a promise', Promise.resolve(5), /^`cost` must be a whole number/],
    ['an array', [1], /^`cost` must be a whole number/],
    ['an inherited name', JSON.parse('{ "constructor": 1 }'), /got "constructor"/],
  ])('is refused as %s by every verb', async (_, cost, message) => {
    const { llm } = make();
    const given = cost as GivenCost<'tokens' | 'micros'>;
    const calls = [
      llm.allow('a', { cost: given }),
      llm.peek('a', { cost: given }),
      llm.wait('a', { cost: given }),
      llm.reserve('a', { cost: given, ttl: '1m' }),
      llm.penalize('a', given),
    ];
    for (const call of calls) {
      const error: unknown = await call.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(RateLimiterError);
      expect(error).toMatchObject(INVALID);
      expect((error as Error).message).toMatch(message);
    }
    expect(await all(llm)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
  });

  test('is refused where no limit has a unit', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1s' });
    const cost = { calls: 1 } as never;
    await expect(limiter.allow('a', { cost })).rejects.toMatchObject(INVALID);
    await expect(limiter.penalize('a', cost)).rejects.toMatchObject(INVALID);
    await expect(limiter.allowUpTo('a', cost)).rejects.toMatchObject(INVALID);
    expect((await limiter.peek('a')).remaining).toBe(5);
  });
});

describe('a call that asks no enforced limit', () => {
  const store = new MemoryStore();
  const llm = new RateLimiter({ store, limits: [TPM, BUDGET] });

  test('is refused, because nothing is unlimited by accident', async () => {
    await expect(llm.allow('a')).rejects.toMatchObject(INVALID);
    await expect(llm.allow('a', { cost: { calls: 2 } })).rejects.toThrow(
      /^`cost` must ask at least one enforced limit, got "calls"\. The limits of this call count tokens, micros/,
    );
    const shadow = tokenBucket({ name: 's', unit: 'tokens', rate: 1, period: '1s', shadow: true });
    const mixed = new RateLimiter({ store: new MemoryStore(), limits: [RPM, shadow] });
    await expect(mixed.allow('a', { cost: { calls: 1 } })).resolves.toMatchObject({
      allowed: true,
    });
    await expect(mixed.penalize('a', { tokens: 1 })).rejects.toMatchObject(INVALID);
  });

  test('passes if its cost is 0, or its plan `[]`', async () => {
    const free = { allowed: true, reason: 'unlimited', limits: [] };
    expect(await llm.allow('a', { cost: { calls: 0 } })).toMatchObject(free);
    expect(await llm.allow('a', { limits: [] })).toMatchObject(free);
    expect(await llm.allow('a', { cost: { tokens: 5 }, limits: [] })).toMatchObject(free);
    expect(store.size).toBe(0);
  });
});

test('units are those of the limiter and of the call; a known one that no limit of the call counts is ignored', async () => {
  const { llm } = make();
  const plan = { limits: [tokenBucket({ name: 'tpm', unit: 'tokens', rate: 5, period: '1h' })] };
  const decision = await llm.allow('a', { cost: { tokens: 2, micros: 7 }, ...plan });
  expect(left(decision)).toEqual({ tpm: 3 });
  await expect(llm.allow('a', { cost: { micros: 7 }, ...plan })).rejects.toMatchObject(INVALID);
  const other = [tokenBucket({ name: 'gpu', unit: 'seconds', rate: 5, period: '1h' })];
  const untyped = { cost: { seconds: 2 }, limits: other } as object;
  expect(left(await llm.allow('a', untyped))).toEqual({ gpu: 3 });
  const plain = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1s' });
  expect(left(await plain.allow('a', untyped))).toEqual({ gpu: 3 });
});

test('`allowUpTo` takes exactly one name, and touches only its limits', async () => {
  const { llm } = make();
  const grant = await llm.allowUpTo('a', { tokens: 5_000 });
  expect(grant).toMatchObject({ granted: 1_000, cost: { tokens: 5_000 }, allowed: true });
  expect(await all(llm)).toEqual({ rpm: 60, tpm: 0, budget: 10_000 });
  expect(await llm.allowUpTo('a', { tokens: 1 })).toMatchObject({ granted: 0, limitedBy: ['tpm'] });
  await llm.refund(grant);
  expect(await all(llm)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
  for (const units of [{}, { tokens: 1, micros: 1 }, 5]) {
    await expect(llm.allowUpTo('a', units as never)).rejects.toMatchObject(INVALID);
  }
  expect(await llm.allowUpTo('a', 0)).toMatchObject({ granted: 0, allowed: true });
});

test('`refund` gives back what each limit was charged', async () => {
  const { llm } = make();
  const decision = await llm.allow('a', { cost: { calls: 2, tokens: 300, micros: 40 } });
  await llm.refund(decision);
  expect(await all(llm)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
});

test('`penalize` touches only what it names, and `reset` forgets all units', async () => {
  const { llm } = make();
  const decision = await llm.penalize('a', { tokens: 1_200 });
  expect(decision).toMatchObject({ allowed: false, cost: { tokens: 1 }, limitedBy: ['tpm'] });
  expect(await all(llm)).toEqual({ rpm: 60, tpm: 0, budget: 10_000 });
  await llm.reset('a');
  expect(await all(llm)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
});

test('`acquire` takes one place, whatever the cost, and charges units beside it', async () => {
  const gpus = concurrency({ name: 'gpus', max: 1, ttl: '1m' });
  const limiter = new RateLimiter({ store: new MemoryStore(), limits: [RPM, TPM, gpus] });
  const lease = await limiter.acquire('a', { cost: { tokens: 10 } });
  expect(left(lease)).toEqual({ rpm: 59, tpm: 990, gpus: 0 });
  const refused = await limiter.acquire('a', { cost: { calls: 0, tokens: 10 } });
  expect(refused).toMatchObject({ limitedBy: ['gpus'], limitName: 'gpus', unit: 'calls' });
  expect(await lease.release()).toBe(true);
  expect(left(await limiter.peek('a', { cost: 0 }))).toEqual({ rpm: 59, tpm: 990, gpus: 1 });
  expect(() => concurrency({ max: 1, ttl: '1s', unit: 'tokens' } as never)).toThrow(
    /`unit` is not an option of concurrency.*A lease takes one place/,
  );
});

test.each([1, '', 'Tokens', 'a b', 'a'.repeat(33), null])('the unit %j is refused', (unit) => {
  expect(() => tokenBucket({ rate: 1, period: '1s', unit: unit as string })).toThrow(
    /^`unit` must be 1 to 32 of the characters a-z 0-9 _, got /,
  );
});

describe('a decision', () => {
  test('speaks of the limit that refused for longest', async () => {
    const { llm } = make();
    await llm.allow('a', { cost: { calls: 60, tokens: 1_000, micros: 9_999 } });
    const refused = await llm.allow('a', { cost: { tokens: 3, micros: 2 } });
    expect(refused).toMatchObject({
      limitedBy: ['rpm', 'tpm', 'budget'],
      limitName: 'budget',
      limit: 10_000,
      unit: 'micros',
      remaining: 1,
    });
  });

  test('speaks of the limit with the smallest part left if it passes', async () => {
    const { llm } = make();
    const cost = { tokens: 100, micros: 9_000 };
    expect(await llm.allow('a', { cost })).toMatchObject({
      limitName: 'budget',
      unit: 'micros',
      limit: 10_000,
      remaining: 1_000,
    });
    expect(await llm.allow('b', { cost: { tokens: 990, micros: 1 } })).toMatchObject({
      limitName: 'tpm',
      unit: 'tokens',
      remaining: 10,
    });
  });

  test('has the unit of each limit, and no unit where none has one', async () => {
    const { llm } = make();
    const { limits } = await llm.peek('a', { cost: 0 });
    expect(limits.map(({ unit }) => unit)).toEqual(['calls', 'tokens', 'micros']);
    const plain = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1s' });
    const decision = await plain.allow('a', { cost: 2 });
    expect(decision).toMatchObject({ cost: 2, limitName: 'default', limit: 5, remaining: 3 });
    expect('unit' in decision).toBe(false);
    expect('unit' in decision.limits[0]!).toBe(false);
  });

  test('without units has the least that is left as `remaining`', async () => {
    const limits = [
      tokenBucket({ name: 'second', rate: 10, period: '1s' }),
      slidingWindow({ name: 'day', rate: 1_000, period: '1d' }),
    ];
    const limiter = new RateLimiter({ store: new MemoryStore(), limits });
    expect(await limiter.allow('a', { cost: 4 })).toMatchObject({
      limitName: 'second',
      limit: 10,
      remaining: 6,
    });
  });

  test('is impossible by name: `maxCost`, `limitedBy`, limits without state', async () => {
    const { llm, store } = make();
    const decision = await llm.allow('a', { cost: { tokens: 1_001 } });
    expect(decision).toEqual({
      allowed: false,
      degraded: false,
      reason: 'impossible',
      source: 'none',
      cost: { calls: 1, tokens: 1_001 },
      maxCost: { calls: 60, tokens: 1_000, micros: 10_000 },
      limitedBy: ['tpm'],
      limits: [
        {
          name: 'rpm',
          algorithm: 'token_bucket',
          unit: 'calls',
          limit: 60,
          refused: false,
          shadow: false,
        },
        {
          name: 'tpm',
          algorithm: 'token_bucket',
          unit: 'tokens',
          limit: 1_000,
          refused: true,
          shadow: false,
        },
      ],
    });
    expect(store.size).toBe(0);
  });

  test('counts each limit that was asked, under its unit', async () => {
    const { llm } = make();
    await llm.allow('a', { cost: { tokens: 1_000 } });
    await llm.allow('a', { cost: { tokens: 1 } });
    await llm.reserve('a', { cost: { micros: 5 }, ttl: '1m' });
    const { limits } = llm.stats();
    expect(limits['rpm']).toMatchObject({ unit: 'calls', allowed: 3, refused: 0 });
    expect(limits['tpm']).toMatchObject({ unit: 'tokens', allowed: 1, refused: 1 });
    expect(limits['budget']).toMatchObject({ unit: 'micros', allowed: 1, refused: 0 });
  });
});

describe('a reservation by name', () => {
  const reserve = async (cost: { tokens?: number; micros?: number; calls?: number }) => {
    const made = make();
    return { ...made, held: await made.llm.reserve('a', { cost, ttl: '5m' }) };
  };
  const done = (charged: Cost, uncharged: Cost) => ({ charged, uncharged, expired: false });
  const NONE = { calls: 0, tokens: 0, micros: 0 };

  test('is settled by name; what is left out stays as reserved', async () => {
    const { llm, held } = await reserve({ tokens: 400, micros: 1_200 });
    expect(left(held)).toEqual({ rpm: 59, tpm: 600, budget: 8_800 });
    const settled = done({ calls: 1, tokens: 312, micros: 1_200 }, NONE);
    expect(await held.settle({ tokens: 312 })).toEqual(settled);
    expect(await all(llm)).toEqual({ rpm: 59, tpm: 688, budget: 8_800 });
    expect(await held.settle({ micros: 1 })).toEqual(settled);
  });

  test('is settled in units that it did not reserve', async () => {
    const { llm, held } = await reserve({ tokens: 400 });
    expect(left(held)).toEqual({ rpm: 59, tpm: 600 });
    expect(await held.settle({ micros: 70 })).toEqual(
      done({ calls: 1, tokens: 400, micros: 70 }, NONE),
    );
    expect(await all(llm)).toEqual({ rpm: 59, tpm: 600, budget: 9_930 });
  });

  test('is cancelled in every unit', async () => {
    const { llm, held } = await reserve({ tokens: 400, micros: 1_200 });
    expect(await held.cancel()).toEqual(done(NONE, NONE));
    expect(await all(llm)).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
  });

  test('tells the units that did not fit into debt', async () => {
    const { held } = await reserve({ tokens: 400, micros: 9_000 });
    expect(await held.settle({ tokens: 1_600, micros: 10_001 })).toEqual(
      done({ calls: 1, tokens: 1_500, micros: 10_000 }, { calls: 0, tokens: 100, micros: 1 }),
    );
  });

  test('that has expired stays charged, in every unit', async () => {
    const { clock, held } = await reserve({ tokens: 400 });
    clock.advance('6m');
    expect(await held.settle({ tokens: 500, micros: 3 })).toEqual({
      charged: { calls: 1, tokens: 400, micros: 0 },
      uncharged: { calls: 0, tokens: 100, micros: 3 },
      expired: true,
    });
  });

  test('refuses wrong names', async () => {
    const { held } = await reserve({ tokens: 400 });
    for (const actual of [5, { token: 1 }, { tokens: undefined }, { tokens: -1 }]) {
      await expect(held.settle(actual as never)).rejects.toMatchObject(INVALID);
      await expect(held.add(actual as never)).rejects.toMatchObject(INVALID);
    }
    expect(await held.cancel()).toEqual(done(NONE, NONE));
  });
});

describe('`add`', () => {
  test('charges in steps, and no call; `settle` corrects them all', async () => {
    const { llm } = make();
    const held = await llm.reserve('a', { cost: { tokens: 400 }, ttl: '5m' });
    expect(left((await held.add({ tokens: 100 })) as Decision)).toEqual({ tpm: 500 });
    expect(await held.add({ tokens: 100, micros: 7 })).toMatchObject({ allowed: true });
    expect(await all(llm)).toEqual({ rpm: 59, tpm: 400, budget: 9_993 });
    expect(await held.settle({ tokens: 150 })).toEqual({
      charged: { calls: 1, tokens: 150, micros: 7 },
      uncharged: { calls: 0, tokens: 0, micros: 0 },
      expired: false,
    });
    expect(await all(llm)).toEqual({ rpm: 59, tpm: 850, budget: 9_993 });
  });

  test('charges nothing if it is refused, and the reservation stays', async () => {
    const { llm } = make();
    const held = await llm.reserve('a', { cost: { tokens: 900 }, ttl: '5m' });
    expect(await held.add({ tokens: 101, micros: 5 })).toMatchObject({
      allowed: false,
      reason: 'limited',
      limitedBy: ['tpm'],
    });
    expect(await held.add({ tokens: 2_000 })).toMatchObject({ reason: 'impossible' });
    expect(await all(llm)).toEqual({ rpm: 59, tpm: 100, budget: 10_000 });
    expect(await held.settle({})).toMatchObject({ charged: { calls: 1, tokens: 900, micros: 0 } });
  });

  test('is refused after expiry, after `settle`, and where the reservation was', async () => {
    const { clock, llm } = make();
    const notHeld = { allowed: false, reason: 'not_held', limits: [] };
    const late = await llm.reserve('a', { cost: { tokens: 10 }, ttl: '1m' });
    clock.advance('2m');
    expect(await late.add({ tokens: 5 })).toMatchObject(notHeld);
    const settled = await llm.reserve('b', { cost: { tokens: 10 }, ttl: '1m' });
    await settled.cancel();
    expect(await settled.add({ tokens: 5 })).toMatchObject({ ...notHeld, cost: { tokens: 5 } });
    await llm.penalize('c', { tokens: 1_000 });
    const refused = await llm.reserve('c', { cost: { tokens: 10 }, ttl: '1m' });
    expect(refused.allowed).toBe(false);
    expect(await refused.add({ tokens: 5 })).toMatchObject(notHeld);
    expect(await all(llm, 'b')).toEqual({ rpm: 60, tpm: 1_000, budget: 10_000 });
  });

  test('takes numbers where no limit has a unit', async () => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const limiter = new RateLimiter({ store, rate: 100, period: '100s' });
    const held = await limiter.reserve('a', { cost: 40, ttl: '1m' });
    expect(await held.add(20)).toMatchObject({ allowed: true, remaining: 40, cost: 20 });
    expect(await held.add(41)).toMatchObject({ allowed: false, reason: 'limited' });
    expect(await held.settle(30)).toEqual({ charged: 30, uncharged: 0, expired: false });
    expect((await limiter.peek('a')).remaining).toBe(70);
  });

  test('of several at once is charged once each, in order', async () => {
    const { llm } = make();
    const held = await llm.reserve('a', { cost: { tokens: 1 }, ttl: '1m' });
    const all50 = await Promise.all(Array.from({ length: 50 }, () => held.add({ tokens: 10 })));
    expect(all50.filter(({ allowed }) => allowed)).toHaveLength(50);
    expect((await llm.peek('a', { cost: 0 })).limits[1]).toMatchObject({ remaining: 499 });
    await held.cancel();
  });

  test('gives back into the windows that were charged, and no others', async () => {
    const clock = new ManualClock();
    const limits = [fixedWindow({ name: 'w', unit: 'tokens', rate: 100, period: '10s' })];
    const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits });
    const held = await limiter.reserve('a', { cost: { tokens: 60 }, ttl: '1m' });
    clock.advance('10s');
    await limiter.allow('a', { cost: { tokens: 30 } });
    await held.add({ tokens: 20 });
    await held.settle({ tokens: 0 });
    // The 60 units of the window before cannot come back, and the 30 are another caller's.
    expect((await limiter.peek('a', { cost: { tokens: 1 } })).remaining).toBe(70);
  });
});
