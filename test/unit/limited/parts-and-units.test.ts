import { describe, expect, test } from 'vitest';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { limited, RateLimit } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';

const hour = { period: '1h' } as const;
const rpm = tokenBucket({ name: 'rpm', by: ['org', 'key'], rate: 9, ...hour });
const tpm = tokenBucket({ name: 'tpm', by: 'org', unit: 'tokens', rate: 100, ...hour });
const limits = [rpm, tpm];
const both = { org: 'acme', key: 1 };

function make(): RateLimiter<'org' | 'key', 'tokens'> {
  return new RateLimiter({ store: new MemoryStore({ clock: new ManualClock() }), limits });
}

async function left(limiter: RateLimiter<'org' | 'key', 'tokens'>, key = 1): Promise<unknown> {
  const { limits: states } = await limiter.peek({ org: 'acme', key }, { cost: 0 });
  return states.map(({ remaining }) => remaining);
}

describe('a limited function under limits by part and unit', () => {
  test('charges the parts and units that its arguments give', async () => {
    const limiter = make();
    const complete = limited((key: number, prompt: string) => `${key} ${prompt}`, {
      limiter,
      identify: (key) => ({ org: 'acme', key }),
      cost: (_, prompt) => ({ tokens: prompt.length }),
    });
    expect(await complete(1, 'hello')).toBe('1 hello');
    await complete(2, 'x'.repeat(50));
    expect([await left(limiter, 1), await left(limiter, 2)]).toEqual([
      [8, 45],
      [8, 45],
    ]);
    await expect(complete(3, 'x'.repeat(46))).rejects.toMatchObject({
      decision: { reason: 'limited', limitedBy: ['tpm'], cost: { calls: 1, tokens: 46 } },
    });
    expect(await left(limiter, 3)).toEqual([9, 45]);
  });

  test('charges constant parts and units, by a decorator too', async () => {
    const limiter = make();
    const cost = { tokens: 30 };
    const run = limited(() => 'done', { limiter, identify: both, cost });
    expect(await run()).toBe('done');
    expect(await left(limiter)).toEqual([8, 70]);
    const decorate = RateLimit({ limiter, identify: both, cost }) as unknown as (
      method: () => Promise<string>,
      context: object,
    ) => () => Promise<string>;
    expect(await decorate(async () => 'done', { kind: 'method' })()).toBe('done');
    expect(await left(limiter)).toEqual([7, 40]);
  });

  test('waits for units of one kind', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits });
    const run = limited(() => 'done', {
      limiter,
      identify: both,
      cost: { tokens: 100 },
      wait: { timeoutMs: 4_000_000 },
    });
    await run();
    const second = run();
    clock.advance('1h');
    expect(await second).toBe('done');
  });

  test('takes a place by its parts, and one call unless units are given', async () => {
    const places = concurrency({ name: 'places', by: 'org', max: 1, ttl: '10s' });
    const limiter = new RateLimiter({ store: new MemoryStore(), limits: [...limits, places] });
    const run = limited(
      async (): Promise<unknown> =>
        (await limiter.peek(both, { cost: 0 })).limits.map(({ remaining }) => remaining),
      { limiter, identify: both },
    );
    expect(await run()).toEqual([8, 100, 0]);
    expect(await run()).toEqual([7, 100, 0]);
  });
});

describe('options of a limited function that every call would fail by are refused at once', () => {
  test.each<[string, object, string, string]>([
    ['a missing part', { identify: { org: 'acme' } }, 'ERR_INVALID_IDENTITY', '`identity.key`'],
    ['a whole identity', { identify: 'acme' }, 'ERR_INVALID_IDENTITY', 'must be named parts'],
    ['an unknown unit', { cost: { token: 5 } }, 'ERR_INVALID_COST', 'got "token"'],
    ['a number', { cost: 5 }, 'ERR_INVALID_COST', '`cost` must name the units'],
    [
      'a number under plans of calls',
      { cost: 5, limits: () => limits },
      'ERR_INVALID_COST',
      '`cost` must name',
    ],
    [
      'no cost where no limit counts calls',
      { limits: [tpm] },
      'ERR_INVALID_COST',
      'ask at least one enforced limit, got no unit',
    ],
    [
      'units that can never pass',
      { cost: { tokens: 101 } },
      'ERR_INVALID_OPTION',
      '`cost.tokens` must be at most 100, which is all that can ever pass at once, got 101',
    ],
  ])('%s', (_, options, code, message) => {
    const refusal: unknown = expect.objectContaining({
      code,
      message: expect.stringContaining(message) as string,
    });
    const given = { limiter: make(), identify: both, ...options } as never;
    expect(() => limited(() => 1, given)).toThrow(refusal);
    expect(() => RateLimit(given)).toThrow(refusal);
  });

  test('names where no limit has a unit', () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1s' });
    const given = { limiter, identify: 'all', cost: { calls: 1 } } as never;
    expect(() => limited(() => 1, given)).toThrow('To name units, give a limit one');
  });
});
