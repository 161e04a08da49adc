import { describe, expect, test } from 'vitest';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { RateLimit, RateLimitModule } from 'distributed-rate-limiter/nest';

type AnyLimits = readonly Limit<string, string, string>[];

const hour = { period: '1h' } as const;
const rpm = tokenBucket({ name: 'rpm', rate: 9, ...hour });
const tpm = tokenBucket({ name: 'tpm', unit: 'tokens', rate: 100, ...hour });
const budget = tokenBucket({ name: 'budget', unit: 'micros', rate: 100, ...hour });

function limiterOf(...limits: AnyLimits): RateLimiter<never, string> {
  return new RateLimiter({ store: new MemoryStore(), limits } as never);
}

const identify = (): string => 'anna';

/** What a guard with this cost says when it is made. */
function refusalOf(limits: AnyLimits, options: object): unknown {
  try {
    createGuard(limiterOf(...limits), { identify, ...options });
    return 'nothing';
  } catch (error) {
    return error;
  }
}

describe('the constant cost of a guard', () => {
  const rows: [what: string, limits: AnyLimits, options: object, message: string][] = [
    [
      'a number where units are named',
      [rpm, tpm],
      { cost: 5 },
      '`cost` must name the units that limits count, got 5. Write { calls: 1, tokens: 100 }.',
    ],
    ['a number under a plan of the call', [rpm, tpm], { cost: 5, limits: () => [tpm] }, 'got 5'],
    ['an unknown unit', [rpm, tpm], { cost: { token: 5 } }, 'a limit counts (calls, tokens)'],
    ['a unit that the plan lacks', [rpm, tpm], { cost: { micros: 5 }, limits: [tpm] }, '"micros"'],
    ['names where no limit has a unit', [rpm], { cost: { calls: 5 } }, 'To name units, give'],
    ['a fraction', [rpm, tpm], { cost: { tokens: 0.5 } }, '`cost.tokens` must be a whole number'],
    [
      'no cost where no limit counts calls',
      [tpm, budget],
      {},
      '`cost` must ask at least one enforced limit, got no unit. The limits of this call count tokens, micros: write { tokens: 100, micros: 100 }.',
    ],
    ['units of no enforced limit', [rpm, tpm], { cost: { calls: 1 }, limits: [tpm] }, '"calls"'],
  ];
  test.each(rows)('is refused when the guard is made: %s', (_, limits, options, message) => {
    expect(refusalOf(limits, options)).toMatchObject({
      code: 'ERR_INVALID_COST',
      message: expect.stringContaining(message),
    });
  });

  test('is refused together with a missing `identify`', () => {
    const byKey = tokenBucket({ name: 'key', by: 'key', unit: 'tokens', rate: 9, ...hour });
    expect(refusalOf([byKey], { identify: undefined, cost: 1 })).toMatchObject({
      message: expect.stringMatching(/^2 problems .*\n- `identify` .*\n- `cost` /),
    });
  });

  test('is refused for a decorator and a module of Nest as well', () => {
    const limiter = limiterOf(rpm, tpm);
    const wrong = { limiter, identify, cost: 5 } as never;
    for (const make of [
      () => RateLimit(wrong),
      () => RateLimitModule.forRoot(wrong),
      () => RateLimit({ limiter: { store: new MemoryStore(), limits: [tpm] }, cost: 5 } as never),
    ]) {
      expect(make).toThrow('`cost` must name the units');
    }
    const single = { store: new MemoryStore(), rate: 1, ...hour };
    expect(() => RateLimit({ limiter: single, cost: { tokens: 5 } } as never)).toThrow('`cost`');
    expect(() => RateLimit({ limiter, cost: { tokens: 5 } })).not.toThrow();
    expect(() => RateLimit({ limiter: limiterOf(tpm) })).not.toThrow();
  });
});

describe('the cost of a guard under limits with units', () => {
  test.each<[string, AnyLimits, object, Readonly<Record<string, number>>]>([
    ['by name', [rpm, tpm], { cost: { tokens: 5 } }, { rpm: 8, tpm: 95 }],
    ['0', [rpm, tpm], { cost: 0 }, { rpm: 9, tpm: 100 }],
    ['of a function', [rpm, tpm], { cost: async () => ({ tokens: 5 }) }, { rpm: 8, tpm: 95 }],
    ['one call unless given', [rpm, tpm], {}, { rpm: 8, tpm: 100 }],
    ['one call under a plan', [rpm, tpm], { limits: [rpm, tpm] }, { rpm: 8, tpm: 100 }],
    ['units of a plan alone', [rpm], { cost: { tokens: 5 }, limits: () => [tpm] }, { tpm: 95 }],
  ])('is %s', async (_, limits, options, left) => {
    const limiter = limiterOf(...limits);
    const guard = createGuard(limiter, { identify, ...options });
    expect(await guard.check({})).toMatchObject({ pass: true });
    const plan = [rpm, tpm].filter(({ name }) => name in left);
    const asked = await limiter.peek('anna', { cost: 0, limits: plan });
    expect(
      Object.fromEntries(asked.limits.map(({ name, remaining }) => [name, remaining])),
    ).toEqual(left);
  });

  test('is one call beside places', async () => {
    const limiter = limiterOf(rpm, tpm, concurrency({ name: 'places', max: 1, ttl: '1m' }));
    const guard = createGuard(limiter, { identify });
    const verdict = await guard.check({});
    expect(verdict).toMatchObject({ pass: true });
    expect(await guard.check({})).toMatchObject({ pass: false, status: 429 });
    expect(
      (await limiter.peek('anna', { cost: 0 })).limits.map(({ remaining }) => remaining),
    ).toEqual([8, 100, 0]);
  });

  test('rejects if a function returns a number, 1 included', async () => {
    for (const units of [1, 5]) {
      const guard = createGuard(limiterOf(rpm, tpm), { identify, cost: () => units as never });
      await expect(guard.check({})).rejects.toMatchObject({ code: 'ERR_INVALID_COST' });
    }
  });
});
