import { MemoryStore, RateLimiter, RateLimiterError, tokenBucket } from 'distributed-rate-limiter';
import type { RateLimiterOptions } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import {
  hostileProxy,
  notTexts,
  notWholeNumbers,
  refusal,
  refusalOf,
} from '../../kit/fakes/values.ts';

/** The client of every limiter below; none of them may send it anything. */
const redis = new FakeRedis();
let refused = 0;

/** Valid options except for these. If a limiter is made, it is used, because a bad value may throw only then. */
function make(options: Record<string, unknown>): void {
  refused += 1;
  const { limits, store, redis: other = redis, rate = 5, period = '1m', ...rest } = options;
  const place = store === undefined || Object.hasOwn(options, 'redis') ? { redis: other } : {};
  const limit = limits === undefined ? { rate, period } : { limits };
  const limiter = new RateLimiter({
    ...place,
    ...limit,
    ...(store === undefined ? {} : { store }),
    ...rest,
  } as unknown as RateLimiterOptions);
  void limiter.allow('user').catch(() => {});
}

describe.each([
  ['rate', /^must be a whole number from 0 to 1000000000$/],
  ['burst', /^must be a whole number from 1 to 1000000000$/],
  ['timeoutMs', /^must be a whole number from 1 to 60000$/],
  ['maxInFlight', /^must be a whole number from 1 to 1000000$/],
])('the option %s', (option, rule) => {
  const invalid = notWholeNumbers.filter(([, value]) => option !== 'rate' || value !== 0);
  test.each(invalid)('refuses %s (%#)', (shown, value) => {
    expect(refusalOf(() => make({ [option]: value }))).toEqual(
      refusal(option, shown, rule, /number|Number/),
    );
  });
});

test.each([
  ['rate', 1_000_000_001],
  ['burst', 1_000_000_001],
  ['timeoutMs', 60_001],
  ['maxInFlight', 1_000_001],
])('%s refuses %i, one more than its maximum', (option, value) => {
  expect(refusalOf(() => make({ [option]: value }))).toEqual(
    refusal(option, String(value), /^must be a whole number/),
  );
});

test('a text of digits is refused with the conversion to a number', () => {
  expect(refusalOf(() => make({ rate: '5' }))).toEqual(
    refusal('rate', '"5"', /whole number/, /Number\("5"\)/),
  );
});

describe('the option period', () => {
  test.each([
    ['"1x"', '1x'],
    ['""', ''],
    ['"m"', 'm'],
    ['"60"', '60'],
    ['"1.5m"', '1.5m'],
    ['"-1s"', '-1s'],
    ['"+1s"', '+1s'],
    ['"1  m"', '1  m'],
    ['"1 month"', '1 month'],
    ['"1 year"', '1 year'],
    ['"1 Minute"', '1 Minute'],
    ['" 1m"', ' 1m'],
    ['"1m\\n"', '1m\n'],
    ['"1M"', '1M'],
    ['"1min"', '1min'],
    ['"1m30s"', '1m30s'],
    ['"1e3s"', '1e3s'],
    ['"0x10s"', '0x10s'],
    ['"\u0661s"', '\u0661s'],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['0.0001', 0.0001],
    ['1n (bigint)', 1n],
    ['true', true],
    ['null', null],
    ['an array of 1', ['1m']],
    ['an object', {}],
    ['an object', new Date(0)],
    ['an object', Object('1m')],
    ['a symbol', Symbol('1m')],
    ['an object', hostileProxy],
  ])('refuses %s', (shown, value) => {
    expect(refusalOf(() => make({ period: value }))).toEqual(
      refusal('period', shown, /^must be a duration/, /units/),
    );
  });

  test.each([
    ['0', 0],
    ['-0', -0],
    ['-1', -1],
    ['"0s"', '0s'],
    ['"367d"', '367d'],
    ['31622401', 366 * 86_400 + 1],
    ['"999999999999999d"', '999999999999999d'],
  ])('refuses %s as out of range', (shown, value) => {
    expect(refusalOf(() => make({ period: value }))).toEqual(
      refusal('period', shown, /^must be between 1 ms and/, /range/),
    );
  });
});

describe('rate, period and burst together', () => {
  test('are refused when recovery takes more than ten years', () => {
    expect(refusalOf(() => make({ rate: 1, period: '366d', burst: 11 }))).toEqual(
      refusal(
        'burst',
        '11',
        /^must be recovered within ten years/,
        /Lower `burst`, raise `rate` or shorten `period`/,
      ),
    );
  });

  test('are refused when their products are no longer exact', () => {
    expect(refusalOf(() => make({ rate: 999_999_937, period: '1s' }))).toEqual(
      refusal(
        'burst',
        '999999937',
        /^must be less than \d+, `maxDebt` included, for this rate and period/,
        /Lower `burst`/,
      ),
    );
  });
});

describe('the option namespace', () => {
  test.each<readonly [string, unknown]>([
    ...notTexts,
    ['""', ''],
    ['"a b"', 'a b'],
    ['"a:b"', 'a:b'],
    ['"{a}"', '{a}'],
    ['"a#b"', 'a#b'],
    ['"a*"', 'a*'],
    ['"\u00e9"', '\u00e9'],
    ['"a\\n"', 'a\n'],
    ['"\\ud800"', '\ud800'],
    [`"${'a'.repeat(65)}"`, 'a'.repeat(65)],
  ])('refuses %s', (shown, value) => {
    expect(refusalOf(() => make({ namespace: value }))).toEqual(
      refusal('namespace', shown, /^must be 1 to 64 of the characters/, /Rename/),
    );
  });
});

describe('options with a list of values', () => {
  test.each<readonly [string, unknown]>([
    ...notTexts,
    ['"Open"', 'Open'],
    ['"fail-open"', 'fail-open'],
    ['"__proto__"', '__proto__'],
    ['an array of 1', ['open']],
  ])('refuses failStrategy: %s', (shown, value) => {
    expect(refusalOf(() => make({ failStrategy: value }))).toEqual(
      refusal('failStrategy', shown, /^must be one of 'open', 'closed', 'throw'$/, /Choose one/),
    );
  });

  test.each([
    ['"sliding"', 'sliding'],
    ['"fixed_windows"', 'fixed_windows'],
    ['"token-bucket"', 'token-bucket'],
    ['null', null],
    ['an object', {}],
  ])('refuses algorithm: %s', (shown, value) => {
    expect(refusalOf(() => make({ algorithm: value }))).toEqual(
      refusal('algorithm', shown, /^must be one of .*'token_bucket'/, /Choose one/),
    );
  });

  test.each([
    ['1', 1],
    ['0', 0],
    ['"true"', 'true'],
    ['null', null],
    ['an array of 0', []],
  ])('refuses cluster: %s', (shown, value) => {
    expect(refusalOf(() => make({ redis: 'redis://127.0.0.1:1', cluster: value }))).toEqual(
      refusal('cluster', shown, /^must be true, false or an object of options$/, /tags: 64/),
    );
  });
});

describe.each(['onAllow', 'onBlock', 'onError'])('the hook %s', (hook) => {
  test.each([
    ['"log"', 'log'],
    ['true', true],
    ['null', null],
    ['an object', {}],
    ['an array of 1', [() => {}]],
    ['an object', Promise.resolve(() => {})],
  ])('refuses %s', (shown, value) => {
    expect(refusalOf(() => make({ [hook]: value }))).toEqual(
      refusal(hook, shown, /^must be a function$/, /function/),
    );
  });
});

describe('the option hashSecret', () => {
  const short = 'this-is-too-short-to-be-a-secret'.slice(1);
  test.each([
    short,
    '',
    Buffer.from(short),
    new Uint8Array(31),
    12_345_678,
    true,
    null,
    {},
    [],
    Object('x'.repeat(40)),
    Array(40).fill(0),
    new DataView(new ArrayBuffer(40)),
    new ArrayBuffer(40),
  ])('refuses an invalid value without repeating it (%#)', (value) => {
    let error: unknown;
    try {
      make({ hashSecret: value });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(RateLimiterError);
    const { code, message } = error as RateLimiterError;
    expect(code).toBe('ERR_INVALID_OPTION');
    expect(message).toMatch(/^`hashSecret` must be .* at least 32 bytes.*not repeated.*openssl/);
    expect(message).not.toContain(short);
  });
});

describe('unknown names of options', () => {
  test.each([
    ['rates', 'rate'],
    ['rat', 'rate'],
    ['Rate', 'rate'],
    ['brust', 'burst'],
    ['peroid', 'period'],
    ['name_space', 'namespace'],
    ['nameSpace', 'namespace'],
    ['failstrategy', 'failStrategy'],
    ['timeoutms', 'timeoutMs'],
    ['onallow', 'onAllow'],
    ['onErrors', 'onError'],
    ['hashsecret', 'hashSecret'],
    ['limit', 'rate'],
    ['points', 'rate'],
    ['requests', 'rate'],
    ['capacity', 'burst'],
    ['keyPrefix', 'namespace'],
    ['prefix', 'namespace'],
    ['redisUrl', 'redis'],
    ['url', 'redis'],
    ['client', 'redis'],
    ['storeClient', 'redis'],
    ['timeout', 'timeoutMs'],
  ])('suggests instead of %s the option %s', (given, meant) => {
    expect(refusalOf(() => make({ [given]: 100 }))).toEqual(
      refusal(
        given,
        '100',
        /^is not an option of RateLimiter$/,
        new RegExp(`^Did you mean \`${meant}\`\\?$`),
      ),
    );
  });

  test.each(['colour', 'constructor', 'toString', 'hasOwnProperty', 'x'.repeat(80)])(
    'refuses %s without a suggestion',
    (given) => {
      expect(refusalOf(() => make({ [given]: 100 }))).toEqual(
        refusal(given, '100', /RateLimiter$/, /Known options|Did/),
      );
    },
  );

  test('refuses `__proto__` from JSON.parse like any other name, and pollutes nothing', () => {
    const options = JSON.parse('{"__proto__": {"failStrategy": "closed"}}');
    expect(
      refusalOf(() => new RateLimiter(Object.assign(options, { redis, rate: 5, period: '1m' }))),
    ).toEqual(refusal('__proto__', 'an object', /RateLimiter$/));
    refused += 1;
    expect(({} as { failStrategy?: string }).failStrategy).toBeUndefined();
  });

  test('ignores options of a prototype', () => {
    refused += 1;
    expect(
      refusalOf(
        () => new RateLimiter(Object.assign(Object.create({ period: '1m' }), { redis, rate: 5 })),
      ),
    ).toEqual(refusal('period', 'undefined', /duration/));
  });

  test('refuses an option by name when reading it throws', () => {
    const options = {
      redis,
      rate: 5,
      period: '1m',
      get burst(): number {
        throw new Error('from the getter');
      },
    };
    refused += 1;
    let error: unknown;
    try {
      void new RateLimiter(options as RateLimiterOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(RateLimiterError);
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' });
    expect((error as Error).message).toMatch(/^`burst` /);
  });
});

describe('the options object', () => {
  test.each([
    ['undefined', undefined],
    ['null', null],
    ['5', 5],
    ['"redis://localhost"', 'redis://localhost'],
    ['an array of 0', []],
    ['a function', () => {}],
    ['a symbol', Symbol('options')],
  ])('refuses %s', (shown, options) => {
    refused += 1;
    expect(refusalOf(() => new RateLimiter(options as unknown as RateLimiterOptions))).toEqual(
      refusal('RateLimiter options', shown, /^must be an object$/, /^Known options: redis, /),
    );
  });

  test('refuses a proxy that cannot be read with a RateLimiterError', () => {
    refused += 1;
    expect(() => new RateLimiter(hostileProxy as RateLimiterOptions)).toThrow(RateLimiterError);
  });
});

describe('the options redis and store', () => {
  const store = new MemoryStore();

  test('are refused when neither is given', () => {
    refused += 1;
    expect(
      () => new RateLimiter({ rate: 5, period: '1m' } as unknown as RateLimiterOptions),
    ).toThrow(
      /^`redis` or `store` must be given, one of them, got neither\. Pass `redis`, or `store: new MemoryStore\(\)`/,
    );
  });

  test('are refused when both are given', () => {
    expect(() => make({ redis, store })).toThrow(
      /^`redis` or `store` must be given, one of them, got both\. Pass/,
    );
  });

  test.each([
    ['an object', {}],
    ['an object', new Map()],
    ['null', null],
    ['"memory"', 'memory'],
    ['true', true],
    ['a function', MemoryStore],
  ])('refuses store: %s (%#)', (shown, value) => {
    const act = (): void => make({ store: value });
    expect(refusalOf(act)).toEqual(
      refusal('store', shown, /^must be a MemoryStore$/, /new MemoryStore\(\)/),
    );
  });

  test.each([
    ['an object', {}],
    ['an object', { host: '127.0.0.1', port: 6379 }],
    ['an object', new Map()],
    ['an object', Promise.resolve(redis)],
    ['an object', { send: () => {}, isReply: true, onStateChange: () => {} }],
    ['an object', new URL('redis://127.0.0.1')],
    ['an object', Object('redis://127.0.0.1')],
    ['an array of 1', [redis]],
    ['null', null],
    ['6379', 6379],
    ['true', true],
    ['a function', FakeRedis],
    ['a symbol', Symbol('redis')],
  ])('refuses redis: %s (%#)', (shown, value) => {
    expect(refusalOf(() => make({ redis: value }))).toEqual(
      refusal(
        'redis',
        shown,
        /^must be a URL, a client of ioredis, .*, or a RedisPort$/,
        /Pass the client object itself/,
      ),
    );
  });

  test('refuses redis: a client of Bun before 1.4, which has no evalsha', () => {
    const before = { connected: true, bufferedAmount: 0, connect() {}, send() {} };
    expect(refusalOf(() => make({ redis: before }))).toEqual(
      refusal('redis', 'an object', /^must be a URL, a client/, /^Before Bun 1\.4 .*update Bun/),
    );
    expect(() => make({ redis: { ...before, evalsha() {} } })).not.toThrow();
  });

  test.each(['hashSecret', 'limits'])('refuses %s: a proxy that cannot be read', (name) => {
    const value = name === 'limits' ? [hostileProxy] : hostileProxy;
    expect(refusalOf(() => make({ [name]: value }))).toMatch(
      new RegExp(`^\`${name}\` must be readable`),
    );
  });

  test('refuses redis: a proxy that cannot be read', () => {
    expect(() => make({ redis: hostileProxy })).toThrow(RateLimiterError);
  });

  test.each([
    '',
    'localhost',
    'localhost:6379',
    '127.0.0.1:6379',
    'http://user:hunter2@localhost',
    'rediss+srv://user:hunter2@localhost',
    '//user:hunter2@localhost',
    'redis://user:hunter2@localhost:99999',
    'redis://user:hunter2@local host',
    'redis://user:hunter2@localhost/one',
    'redis://user:hunter2@localhost/-1',
    'redis://user:hunter2@localhost/1/2',
    'redis://user:hunter2@localhost/1.5',
    'redis://user:hunter2@localhost/123456',
    'redis://user:hunter2@localhost?db=one',
    'redis://user:hunter2@localhost#1',
    'redis://user:hunter2%zz@localhost',
    'redis://user%zz:hunter2@localhost',
    'unix://',
    'unix:///',
    'unix:///path/%zz?password=hunter2',
    'unix:///path?db=hunter2',
  ])('refuses redis: %j as URL without repeating it', (url) => {
    let error: unknown;
    try {
      make({ redis: url });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(RateLimiterError);
    const { code, message, cause, stack } = error as RateLimiterError;
    expect(code).toBe('ERR_INVALID_OPTION');
    expect(message).toMatch(/^`redis` must be a URL.*not repeated.* Write 'redis:\/\//);
    expect(`${message} ${String(cause)} ${stack}`).not.toContain('hunter2');
  });

  test.each([
    ['cluster', true],
    ['timeoutMs', 100],
    ['maxInFlight', 100],
    ['sharding', 'key'],
  ])('refuses %s beside store', (option, value) => {
    expect(refusalOf(() => make({ store, [option]: value }))).toEqual(
      refusal(
        option,
        JSON.stringify(value),
        /^must be left out where `store` is given$/,
        new RegExp(`^Leave \`${option}\` out\\.$`),
      ),
    );
  });

  test.each([true, false])('refuses cluster: %s beside a client, which decides it', (value) => {
    expect(refusalOf(() => make({ cluster: value }))).toEqual(
      refusal(
        'cluster',
        String(value),
        /^must be left out where `redis` is a client$/,
        /^Leave `cluster` out\.$/,
      ),
    );
  });
});

describe('the option limits', () => {
  const limit = tokenBucket({ rate: 5, period: '1m' });
  const named = (name: string) => tokenBucket({ name, rate: 5, period: '1m' });

  test.each([
    ['an array of 0', []],
    ['an array of 17', Array.from({ length: 17 }, (_, i) => named(`limit-${i}`))],
    ['an object', limit],
    ['an object', {}],
    ['an object', new Set([limit])],
    ['null', null],
    ['"5/m"', '5/m'],
    ['5', 5],
    ['a function', tokenBucket],
  ])('refuses %s (%#)', (shown, limits) => {
    expect(refusalOf(() => make({ limits }))).toEqual(
      refusal('limits', shown, /^must be an array of 1 to 16 limits$/, /tokenBucket\(/),
    );
  });

  test.each([
    ['an object', [{ rate: 5, period: '1m' }]],
    ['an object', [limit, Object.assign({}, limit)]],
    ['null', [null]],
    ['undefined', Array(2)],
    ['"5/m"', ['5/m']],
    ['an array of 1', [[limit]]],
    ['a function', [tokenBucket]],
  ])('refuses an array of %s (%#)', (shown, limits) => {
    expect(refusalOf(() => make({ limits }))).toEqual(
      refusal('limits', shown, /^must be made of limits$/, /tokenBucket\(/),
    );
  });

  test('refuses two limits of one name', () => {
    expect(refusalOf(() => make({ limits: [named('a'), named('b'), named('a')] }))).toEqual(
      refusal('limits', '"a" twice', /^must have different names$/, /Rename one/),
    );
  });

  test('refuses two limits without a name', () => {
    expect(
      refusalOf(() =>
        make({ limits: [limit, named('b'), tokenBucket({ rate: 9, period: '1h' })] }),
      ),
    ).toEqual(refusal('limits', 'two', /^must have at most one limit without a name$/, /`name`/));
  });

  test.each([
    ['rate', 5],
    ['period', '1m'],
    ['burst', 5],
    ['algorithm', 'token_bucket'],
  ])('refuses %s beside limits', (option, value) => {
    refused += 1;
    expect(refusalOf(() => new RateLimiter({ redis, limits: [limit], [option]: value }))).toEqual(
      refusal(
        option,
        typeof value === 'string' ? `"${value}"` : String(value),
        /^must be left out where `limits` is given$/,
        /Put it into one of the limits/,
      ),
    );
  });
});

test('at least 120 invalid values were refused above, and none reached Redis', () => {
  console.log(`${refused} bad values refused, ${redis.sends.length} sends`);
  expect(redis.sends).toEqual([]);
  expect(refused).toBeGreaterThanOrEqual(120);
});

describe('valid options', () => {
  test.each([
    { rate: 1, period: 0.001 },
    { rate: 1, period: 60 },
    { rate: 1, period: 1.001 },
    { rate: 1, period: '366d', burst: 10 },
    { rate: 1_000_000_000, period: '1s' },
    { namespace: 'A-z_0.9/x' },
    { namespace: 'a'.repeat(64) },
    { failStrategy: 'throw', algorithm: 'token_bucket' },
    { timeoutMs: 1, maxInFlight: 1 },
    { timeoutMs: 60_000, maxInFlight: 1_000_000 },
    { hashSecret: 'x'.repeat(32) },
    { hashSecret: '\u20ac'.repeat(11) },
    { hashSecret: Buffer.alloc(32) },
    { burst: undefined, limits: undefined, onError: undefined },
    { redis: 'redis://user:p%40ss@[::1]:6380/15' },
    { redis: 'rediss://host' },
    { redis: 'unix:///var/run/redis.sock?db=2' },
    { redis: 'redis://' },
  ])('accepts %j', (options) => {
    expect(
      () =>
        new RateLimiter({
          redis: redis as unknown,
          rate: 5,
          period: '1m',
          ...options,
        } as unknown as RateLimiterOptions),
    ).not.toThrow();
  });
});
