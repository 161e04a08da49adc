import {
  concurrency,
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { CallOptions, Identity } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import { hostileArray, hostileProxy, notWholeNumbers } from '../../kit/fakes/values.ts';

const redis = new FakeRedis();
const store = new MemoryStore();
let hooks = 0;
const count = (): void => {
  hooks += 1;
};
const watched = { onAllow: count, onBlock: count, onError: count };
const limiters = (['open', 'closed', 'throw'] as const).flatMap((failStrategy) => [
  new RateLimiter({ redis, rate: 5, period: '1m', failStrategy, ...watched }),
  new RateLimiter({ store, rate: 5, period: '1m', failStrategy, ...watched }),
]);

/** Rejects under every failure strategy: an invalid call is a mistake of the program, not an outage. */
async function rejections(
  verbs: readonly ('allow' | 'peek' | 'reset')[],
  identity: unknown,
  options: unknown,
  code: string,
  message: RegExp,
): Promise<string[]> {
  const messages: string[] = [];
  for (const limiter of limiters) {
    for (const verb of verbs) {
      const promise: Promise<unknown> = limiter[verb](identity as Identity, options as CallOptions);
      const error: unknown = await promise.catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(RateLimiterError);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
      messages.push((error as Error).message);
    }
  }
  return messages;
}

const SECRET = 'alice@example.org';

describe('the identity of a call', () => {
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['an empty string', ''],
    ['a number beyond the safe integers', 2 ** 53],
    ['a fraction', 0.5],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-0', -0],
    ['a bigint of 1,025 digits', 10n ** 1_024n],
    ['a bigint of a million digits', -(1n << 3_321_928n)],
    ['true', true],
    ['an object', { id: SECRET }],
    ['a Date', new Date(0)],
    ['a symbol', Symbol(SECRET)],
    ['a function', () => SECRET],
    ['a boxed string', Object(SECRET)],
    ['bytes', Buffer.from(SECRET)],
    ['a Map', new Map([[SECRET, 1]])],
    ['a promise', Promise.resolve(SECRET)],
    ['a proxy', hostileProxy],
    ['a lone high surrogate', `${SECRET}\ud800`],
    ['a lone low surrogate', `\udc00${SECRET}`],
    ['surrogates the wrong way round', `${SECRET}\udc00\ud800`],
    ['1,025 bytes', 'x'.repeat(1_025)],
    ['1,026 bytes of 342 characters', '\u20ac'.repeat(342)],
    ['a megabyte', SECRET.repeat(60_000)],
    ['an empty list', []],
    ['an empty part', [SECRET, '']],
    ['a part with a fraction', [SECRET, 7.5]],
    ['a part that is NaN', [SECRET, Number.NaN]],
    ['a part that is null', [SECRET, null]],
    ['a list with holes', Array(2)],
    ['nested parts', [[SECRET]]],
    ['a part that is a boxed string', [Object(SECRET)]],
    ['a part with a lone surrogate', ['a', '\udfff']],
    ['parts of 1,025 bytes together', ['x'.repeat(1_000), 'y'.repeat(25)]],
    ['two thousand parts', Array(2_000).fill('x')],
    ['parts that throw when they are read', hostileArray],
  ])('refuses %s as identity', async (_, identity) => {
    const messages = await rejections(
      ['allow', 'peek', 'reset'],
      identity,
      undefined,
      'ERR_INVALID_IDENTITY',
      /^`identity(?:\[\d+\])?` must be .+, got .+\. Pass /,
    );
    expect(messages.join()).not.toContain('alice');
    expect(messages.every(({ length }) => length < 300)).toBe(true);
  });

  class ObjectId {
    readonly hex = SECRET;
  }
  test.each<[says: string, identity: unknown]>([
    ['got an object (ObjectId). Pass its text, such as `id.toString()`.', new ObjectId()],
    ['got an object (Date). Pass its text', new Date(0)],
    ['got an object (Object). Pass the field that identifies it', { id: SECRET }],
    ['got an object (Object).', JSON.parse(`{"constructor":{"name":"${SECRET}"}}`)],
    ['got an object (no class).', Object.create(null)],
    ['`identity[1]` must be a non-empty', ['acme', new ObjectId()]],
    ['got an object (ObjectId).', [new ObjectId()]],
    ['got NaN. Pass the id as a string or a bigint.', Number.NaN],
    ['got a number with a fraction.', 123_456.5],
    ['got a number beyond the safe integers.', 2 ** 60],
    ['with half of a surrogate pair', `${SECRET}\ud800`],
  ])('refuses it by naming its type: %s', async (says, identity) => {
    const error: unknown = await limiters[0]!
      .allow(identity as Identity)
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ message: expect.stringContaining(says) });
    expect(String(error)).not.toMatch(/alice|123456/);
  });

  test('refuses an array of a million parts by its length, and reads hardly any', async () => {
    let reads = 0;
    const parts = new Proxy(
      Array.from({ length: 1_000_000 }, () => 'x'),
      {
        get: (target, name, receiver) => {
          reads += 1;
          return Reflect.get(target, name, receiver) as unknown;
        },
      },
    );
    await expect(limiters[0]!.allow(parts)).rejects.toThrow('got an array of 1000000');
    expect(reads).toBeLessThan(100);
  });

  test.each<[number | bigint, string]>([
    [42, '42'],
    [0, '0'],
    [-7, '-7'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    [Number.MIN_SAFE_INTEGER, '-9007199254740991'],
    [42n, '42'],
    [0n, '0'],
    [2n ** 64n, '18446744073709551616'],
    [-(2n ** 64n), '-18446744073709551616'],
    [10n ** 1_023n, `1${'0'.repeat(1_023)}`],
  ])(
    'takes the whole number %s by its decimal digits, under every verb',
    async (number, digits) => {
      const limiter = new RateLimiter({
        store: new MemoryStore(),
        blocks: true,
        limits: [tokenBucket({ rate: 100, period: '1h', maxDebt: 50 })],
      });
      const left = async (identity: Identity): Promise<number | undefined> =>
        (await limiter.peek(identity)).remaining;
      expect((await limiter.allow(number)).remaining).toBe(99);
      expect((await limiter.wait(number)).remaining).toBe(98);
      expect((await limiter.allowUpTo(number, 5)).remaining).toBe(93);
      const held = await limiter.reserve(number, { cost: 3, ttl: '1m' });
      expect(held.remaining).toBe(90);
      await held.cancel();
      await limiter.penalize(number, 13);
      expect([await left(number), await left(digits)]).toEqual([80, 80]);
      await limiter.block(number, '1h');
      expect((await limiter.allow(digits)).reason).toBe('blocked');
      await limiter.unblock(number);
      await limiter.reset(number);
      expect(await left(digits)).toBe(100);
      if (digits.length > 1_000) return; // no room for a second part
      await limiter.allow(['acme', number]);
      expect([await left(['acme', digits]), await left([number])]).toEqual([99, 100]);
      const places = new RateLimiter({
        store: new MemoryStore(),
        limits: [concurrency({ max: 1, ttl: '1m' })],
      });
      await places.acquire(number);
      expect((await places.acquire(digits)).allowed).toBe(false);
    },
  );
});

describe('the cost of a call', () => {
  test.each(notWholeNumbers.filter(([, value]) => value !== 0))(
    'refuses %s as cost (%#)',
    async (shown, cost) => {
      const [message] = await rejections(
        ['allow', 'peek'],
        'user',
        { cost },
        'ERR_INVALID_COST',
        /^`cost` must be a whole number from 0 to 9007199254740991, got .+\. For fractions count/,
      );
      expect(message).toContain(`got ${shown}.`);
    },
  );
});

describe('the limits of a call', () => {
  const limit = tokenBucket({ rate: 5, period: '1m' });
  test.each<[string, unknown]>([
    ['seventeen limits', Array(17).fill(limit)],
    ['null', null],
    ['a limit outside a list', limit],
    ['a text', '5/m'],
    ['a number', 5],
    ['true', true],
    ['a symbol', Symbol('limits')],
    ['a plain object', [{ rate: 5, period: '1m' }]],
    ['two of one name', [limit, limit]],
    ['a proxy', hostileProxy],
  ])('refuses %s as limits', async (_, limits) => {
    const messages = await rejections(
      ['allow', 'peek', 'reset'],
      'user',
      { limits },
      'ERR_INVALID_OPTION',
      /^`limits` must .+, got .+\. ./,
    );
    expect(messages).toHaveLength(18);
  });
});

const unreadable = Object.defineProperty({}, 'unknown', {
  enumerable: true,
  get: () => {
    throw new Error('from the getter');
  },
});

test('wait refuses an unknown option that throws when it is read', async () => {
  for (const limiter of limiters) {
    await expect(limiter.wait('user', unreadable)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
    });
  }
});

describe('the options of a call', () => {
  test.each<[string, unknown, RegExp]>([
    ['null', null, /must be an object, got null/],
    ['a number', 3, /must be an object, got 3/],
    ['a text', 'cost', /must be an object, got "cost"/],
    ['an array', [3], /must be an object, got an array of 1/],
    ['a function', () => {}, /must be an object, got a function/],
    [
      'the option costs',
      { costs: 3 },
      /^`costs` is not an option of this call, got 3\. Did you mean `cost`/,
    ],
    ['the option weight', { weight: 3 }, /^`weight` is not an option.*Did you mean `cost`/],
    ['the option tokens', { tokens: 3 }, /^`tokens` is not an option.*Did you mean `cost`/],
    ['the option points', { points: 3 }, /^`points` is not an option.*Did you mean `cost`/],
    ['the option limit', { limit: 3 }, /^`limit` is not an option.*Did you mean `limits`/],
    ['the option rate', { rate: 3 }, /^`rate` is not an option/],
    ['a parsed __proto__', JSON.parse('{"__proto__": {"cost": 3}}'), /^`__proto__` is not an/],
    [
      'a getter that throws',
      {
        get cost(): number {
          throw new Error('from the getter');
        },
      },
      /^`cost` /,
    ],
    [
      'an unknown option that throws when it is read',
      unreadable,
      /^`this call options` must be readable/,
    ],
    ['a proxy', hostileProxy, /./],
  ])('refuses %s', async (_, options, message) => {
    const messages = await rejections(
      ['allow', 'peek', 'reset'],
      'user',
      options,
      'ERR_INVALID_OPTION',
      message,
    );
    expect(messages).toHaveLength(18);
  });
});

test('limits of another copy of the package are refused with an error of this copy', () => {
  const foreign = Object.assign(Object.create({}), tokenBucket({ rate: 1, period: '1s' }));
  expect(() => new RateLimiter({ store: new MemoryStore(), limits: [foreign] })).toThrow(
    /`limits` must be made of limits/,
  );
});

test('none of the refused calls above reached a store or a hook', () => {
  expect(redis.sends).toEqual([]);
  expect(store.size).toBe(0);
  expect(hooks).toBe(0);
});
