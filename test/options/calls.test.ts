import { MemoryStore, RateLimiter, RateLimiterError, tokenBucket } from 'distributed-rate-limiter';
import type { CallOptions, Identity } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { FakeRedis } from '../support/fake-redis.ts';
import { hostileArray, hostileProxy, notWholeNumbers } from './values.ts';

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

/** Under every failure strategy alike: a bad call is a mistake of the program, never an outage. */
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

describe('identity', () => {
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['an empty string', ''],
    ['a number', 12_345],
    ['NaN', Number.NaN],
    ['-0', -0],
    ['a bigint', 1n],
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
    ['no parts', []],
    ['an empty part', [SECRET, '']],
    ['a part that is a number', [SECRET, 7]],
    ['a part that is null', [SECRET, null]],
    ['a hole', Array(2)],
    ['parts of parts', [[SECRET]]],
    ['a part that is a boxed string', [Object(SECRET)]],
    ['a part with a lone surrogate', ['a', '\udfff']],
    ['parts of 1,025 bytes together', ['x'.repeat(1_000), 'y'.repeat(25)]],
    ['two thousand parts', Array(2_000).fill('x')],
    ['parts that throw when they are read', hostileArray],
  ])('%s', async (_, identity) => {
    const messages = await rejections(
      ['allow', 'peek', 'reset'],
      identity,
      undefined,
      'ERR_INVALID_IDENTITY',
      /^`identity` must be .+, got .+\. Pass who is limited/,
    );
    expect(messages.join()).not.toContain('alice');
    expect(messages.every(({ length }) => length < 300)).toBe(true);
  });
});

describe('cost', () => {
  test.each(notWholeNumbers)('%s (%#)', async (shown, cost) => {
    const [message] = await rejections(
      ['allow', 'peek'],
      'user',
      { cost },
      'ERR_INVALID_COST',
      /^`cost` must be a whole number from 1 to 9007199254740991, got .+\. To look without charging/,
    );
    expect(message).toContain(`got ${shown}.`);
  });
});

describe('limits', () => {
  const limit = tokenBucket({ rate: 5, period: '1m' });
  test.each<[string, unknown]>([
    ['none', []],
    ['seventeen', Array(17).fill(limit)],
    ['null', null],
    ['one that is no array', limit],
    ['a text', '5/m'],
    ['a number', 5],
    ['true', true],
    ['a symbol', Symbol('limits')],
    ['a plain object', [{ rate: 5, period: '1m' }]],
    ['two of one name', [limit, limit]],
    ['a proxy', hostileProxy],
  ])('%s', async (_, limits) => {
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

test('wait: an unknown option that throws when it is read', async () => {
  for (const limiter of limiters) {
    await expect(limiter.wait('user', unreadable)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
    });
  }
});

describe('options', () => {
  test.each<[string, unknown, RegExp]>([
    ['null', null, /must be an object, got null/],
    ['a number', 3, /must be an object, got 3/],
    ['a text', 'cost', /must be an object, got "cost"/],
    ['an array', [3], /must be an object, got an array of 1/],
    ['a function', () => {}, /must be an object, got a function/],
    ['costs', { costs: 3 }, /^`costs` is not an option of this call, got 3\. Did you mean `cost`/],
    ['weight', { weight: 3 }, /^`weight` is not an option.*Did you mean `cost`/],
    ['tokens', { tokens: 3 }, /^`tokens` is not an option.*Did you mean `cost`/],
    ['points', { points: 3 }, /^`points` is not an option.*Did you mean `cost`/],
    ['limit', { limit: 3 }, /^`limit` is not an option.*Did you mean `limits`/],
    ['rate', { rate: 3 }, /^`rate` is not an option/],
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
  ])('%s', async (_, options, message) => {
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

test('a limiter of another copy of the package has limits of its own kind, and errors of this one', () => {
  const foreign = Object.assign(Object.create({}), tokenBucket({ rate: 1, period: '1s' }));
  expect(() => new RateLimiter({ store: new MemoryStore(), limits: [foreign] })).toThrow(
    /`limits` must be made of limits/,
  );
});

test('none of the calls above reached a store or a hook', () => {
  expect(redis.sends).toEqual([]);
  expect(store.size).toBe(0);
  expect(hooks).toBe(0);
});
