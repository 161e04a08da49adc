import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import { pacedFetch } from 'distributed-rate-limiter/fetch';
import { createGuard } from 'distributed-rate-limiter/http';
import { limited } from 'distributed-rate-limiter/limited';
import { RateLimiterSync } from 'distributed-rate-limiter/sync';
import { describe, expect, test } from 'vitest';
import { hostileProxy } from '../../kit/fakes/values.ts';

const store = new MemoryStore();
const right = { store, rate: 5, period: '1m' } as const;
const limiter = new RateLimiter(right);

/** Every function that takes options, called with invalid ones. */
type Make = (options: object) => unknown;

const makers = {
  RateLimiter: (options) => new RateLimiter({ store, ...options } as never),
  RateLimiterSync: (options) =>
    new RateLimiterSync({ redis: 'redis://localhost', ...options } as never),
  tokenBucket: (options) => tokenBucket(options as never),
  slidingWindow: (options) => slidingWindow(options as never),
  slidingWindowLog: (options) => slidingWindowLog(options as never),
  fixedWindow: (options) => fixedWindow(options as never),
  concurrency: (options) => concurrency(options as never),
  guard: (options) => createGuard(limiter, options),
  'limiter of a guard': (options) => createGuard({ store, ...options } as never),
  limited: (options) => limited(() => 1, { limiter, identify: 'a', ...options }),
  'limiter of limited': (options) =>
    limited(() => 1, { limiter: { store, ...options }, identify: 'a' } as never),
  MemoryStore: (options) => new MemoryStore(options),
  pacedFetch: (options) => pacedFetch(options),
  allow: async (options) => limiter.allow('user', options),
  wait: async (options) => limiter.wait('user', options),
  acquire: async (options) => limiter.acquire('user', options),
  reserve: async (options) => limiter.reserve('user', options as never),
} satisfies Record<string, Make>;

type Maker = keyof typeof makers;

async function messageOf(maker: Maker, options: object): Promise<string> {
  try {
    await makers[maker](options);
  } catch (error) {
    expect(error).toBeInstanceOf(RateLimiterError);
    return (error as Error).message;
  }
  return 'accepted';
}

describe('a time option of another library is refused with the right name, unit and value', () => {
  const ofLimits: readonly (readonly [name: string, value: unknown, code: string])[] = [
    ['windowMs', 900_000, "period: '15m'"],
    ['windowMs', 1_500, "period: '1500ms'"],
    ['windowMs', 60_000, "period: '1m'"],
    ['timeWindow', 900_000, "period: '15m'"],
    ['timeWindow', '15 minutes', "period: '15m'"],
    ['window', '10 s', "period: '10s'"],
    ['interval', 60_000, "period: '1m'"],
    ['interval', 'hour', "period: '1h'"],
    ['duration', 60, "period: '1m'"],
    ['duration', 3_600_000, "period: '1h'"],
    ['ttl', 60_000, "period: '1m'"],
    ['periodMs', 60_000, "period: '1m'"],
    ['windowSeconds', 900, "period: '15m'"],
    ['window_seconds', 900, "period: '15m'"],
    ['intervalInMinutes', 15, "period: '15m'"],
    ['ttlInSeconds', 86_400, "period: '1d'"],
    ['peroid', 900_000, "period: '15m'"],
  ];
  for (const maker of [
    'RateLimiter',
    'RateLimiterSync',
    'tokenBucket',
    'slidingWindow',
    'slidingWindowLog',
    'fixedWindow',
    'limiter of a guard',
    'limiter of limited',
  ] as const) {
    test.each(ofLimits)(`${maker} refuses %s: %j`, async (name, value, code) => {
      const message = await messageOf(maker, { rate: 5, [name]: value });
      expect(message).toContain(`\`${name}\` is not an option of `);
      expect(message).toContain(`Did you mean \`period\`? Write \`${code}\``);
      expect(message).not.toContain('problems');
    });
  }

  test.each<[Maker, object, string]>([
    ['RateLimiter', { ...right, blockDuration: 900 }, "limiter.block(identity, '15m')"],
    ['RateLimiter', { ...right, blockDuration: 900_000 }, "limiter.block(identity, '15m')"],
    ['RateLimiter', { ...right, timeoutSeconds: 2 }, 'timeoutMs: 2000'],
    ['concurrency', { max: 1, timeout: 30_000 }, "ttl: '30s'"],
    ['concurrency', { max: 1, ttlMs: 30_000 }, "ttl: '30s'"],
    ['concurrency', { max: 1, leaseSeconds: 30 }, "ttl: '30s'"],
    ['reserve', { ttlMs: 120_000 }, "ttl: '2m'"],
    ['reserve', { expiresIn: 120 }, "ttl: '2m'"],
    ['wait', { timeoutSeconds: 30 }, 'timeoutMs: 30000'],
    ['wait', { highWater: 100 }, 'maxQueue'],
    ['limited', { wait: { queueSize: 100 } }, 'maxQueue'],
    ['RateLimiter', { minTime: 333 }, "rate: 1, period: '333ms', burst: 1"],
    ['tokenBucket', { minTime: 2_000 }, "rate: 1, period: '2s', burst: 1"],
    ['RateLimiter', { minTime: 'soon' }, "rate: 1, period: '333ms', burst: 1"],
    ['RateLimiter', { ...right, maxConcurrent: 5 }, 'limits: [concurrency({ max, ttl })]'],
    ['concurrency', { maxConcurrent: 5, ttl: '30s' }, 'max'],
    ['RateLimiter', { ...right, reservoirRefreshAmount: 100 }, 'rate'],
    ['RateLimiter', { rate: 2, reservoirIncreaseInterval: 1_000 }, "period: '1s'"],
    ['tokenBucket', { ...right, reservoirIncreaseMaximum: 40 }, 'burst'],
    ['guard', { windowMs: 900_000 }, "new RateLimiter({ period: '15m' })"],
    ['allow', { windowMs: 900_000 }, "limits: [tokenBucket({ period: '15m' })]"],
    ['limited', { windowMs: 900_000 }, "limiter: { period: '15m' }"],
    ['pacedFetch', { maxWaitSeconds: 10 }, 'maxWaitMs: 10000'],
    ['limited', { wait: { timeoutSeconds: 3 } }, 'timeoutMs: 3000'],
  ])('%s refuses %j', async (maker, options, code) => {
    expect(await messageOf(maker, options)).toContain(`\`${code}\``);
  });

  test('does not repeat the value of an unknown option', async () => {
    expect(await messageOf('RateLimiter', { ...right, windowMs: 'hunter2' })).not.toContain(
      'hunter2',
    );
  });
});

describe('a bare number that looks like milliseconds', () => {
  test.each([10_000, 60_000, 900_000, 3_600_000, 2_592_000])('refuses %i', async (period) => {
    expect(await messageOf('RateLimiter', { rate: 5, period })).toMatch(
      /^`period` must be a duration with its unit, .* got \d+\. Write '\w+' for milliseconds/,
    );
  });

  test('suggests both strings that it may stand for', async () => {
    expect(await messageOf('tokenBucket', { rate: 5, period: 900_000 })).toContain(
      "Write '15m' for milliseconds, or '250h' for seconds.",
    );
    expect(await messageOf('concurrency', { max: 5, ttl: 30_000 })).toContain(
      "got 30000. Write '30s' for milliseconds, or '500m' for seconds.",
    );
    expect(await messageOf('reserve', { ttl: 120 })).toContain(
      "got 120. Write '2m' for seconds, or '120ms' for milliseconds.",
    );
    const blocking = new RateLimiter({ ...right, blocks: true });
    await expect(blocking.block('user', 900_000 as never)).rejects.toThrow("'15m' for milli");
  });

  test.each([60, 3_600, 9_000, 9_999, 10_001, 86_400, 604_800, 1.5])(
    'takes %d as seconds',
    (period) => {
      expect(tokenBucket({ rate: 1, period }).windowMs).toBe(period * 1_000);
    },
  );
});

describe('durations in words', () => {
  test.each([
    ['250 ms', 250],
    ['1 millisecond', 1],
    ['500 milliseconds', 500],
    ['10 s', 10_000],
    ['1 second', 1_000],
    ['10seconds', 10_000],
    ['1 minute', 60_000],
    ['15 minutes', 900_000],
    ['1 hour', 3_600_000],
    ['2 hours', 7_200_000],
    ['1 day', 86_400_000],
    ['2 days', 172_800_000],
  ] as const)('accepts %s', (period, ms) => {
    expect(tokenBucket({ rate: 1, period }).windowMs).toBe(ms);
  });

  test('suggests the number for an option in milliseconds', () => {
    expect(
      () =>
        new RateLimiter({
          redis: 'redis://localhost',
          rate: 1,
          period: '1m',
          timeoutMs: '2 seconds' as never,
        }),
    ).toThrow(
      '`timeoutMs` must be a whole number from 1 to 60000, got "2 seconds". It is a number of milliseconds: write 2000.',
    );
  });
});

describe('one error names every problem', () => {
  test.each<[Maker, object, readonly string[]]>([
    [
      'RateLimiter',
      {
        rate: -1,
        period: '1x',
        burst: -1,
        namespace: 'a b',
        failStrategy: 'x',
        onAllow: 5,
        a1: 1,
        b2: 2,
      },
      ['rate', 'period', 'burst', 'namespace', 'failStrategy', 'onAllow', 'a1', 'b2'],
    ],
    [
      'RateLimiterSync',
      { store: {}, rate: -1, period: '1x', a1: 1 },
      ['store', 'rate', 'period', 'a1'],
    ],
    [
      'tokenBucket',
      { name: 'a b', shadow: 1, maxDebt: -1, rate: -1, period: 0, burst: 0, a1: 1 },
      ['name', 'shadow', 'maxDebt', 'rate', 'period', 'burst', 'a1'],
    ],
    [
      'slidingWindow',
      { name: 'a b', rate: -1, period: 0, a1: 1 },
      ['name', 'rate', 'period', 'a1'],
    ],
    [
      'slidingWindowLog',
      { name: 'a b', rate: -1, period: 0, a1: 1 },
      ['name', 'rate', 'period', 'a1'],
    ],
    [
      'fixedWindow',
      { name: 'a b', rate: -1, period: 'day', timeZone: 'Mars', a1: 1 },
      ['name', 'rate', 'timeZone', 'a1'],
    ],
    ['concurrency', { name: 'a b', max: 0, ttl: 5, a1: 1 }, ['name', 'max', 'ttl', 'a1']],
    [
      'guard',
      { identify: 1, cost: -1, limits: 5, skip: 1, headers: 1, count: 1, unidentified: 1, a1: 1 },
      ['identify', 'cost', 'limits', 'skip', 'headers', 'count', 'unidentified', 'a1'],
    ],
    [
      'guard',
      { trustedProxies: true, forwardedHeader: 'x', ipv6Prefix: 1 },
      ['trustedProxies', 'forwardedHeader', 'ipv6Prefix'],
    ],
    [
      'limited',
      {
        identify: 1.5,
        cost: -1,
        limits: 5,
        wait: { maxQueue: -1, a1: 1 },
        heartbeat: 1,
        limiter: { rate: -1 },
      },
      ['identity', 'cost', 'limits', 'maxQueue', 'a1', 'heartbeat', 'rate', 'period', 'redis'],
    ],
    ['MemoryStore', { clock: 1, maxKeys: 0, a1: 1 }, ['clock', 'maxKeys', 'a1']],
    [
      'pacedFetch',
      {
        fetch: 1,
        maxWaitMs: -1,
        maxRetries: -1,
        retryStatuses: 1,
        key: 1,
        jitterPercent: -1,
        clock: 1,
        a1: 1,
      },
      ['fetch', 'maxWaitMs', 'maxRetries', 'retryStatuses', 'key', 'jitterPercent', 'clock', 'a1'],
    ],
    ['allow', { cost: -1, a1: 1, b2: 2 }, ['cost', 'a1', 'b2']],
    [
      'wait',
      { cost: -1, timeoutMs: -1, maxQueue: -1, signal: 1, a1: 1 },
      ['cost', 'timeoutMs', 'maxQueue', 'signal', 'a1'],
    ],
    ['acquire', { cost: -1, heartbeat: 1, a1: 1 }, ['cost', 'heartbeat', 'a1']],
    ['reserve', { cost: -1, ttl: 5, a1: 1 }, ['cost', 'ttl', 'a1']],
  ])('names all problems with the options of %s', async (maker, options, names) => {
    const message = await messageOf(maker, options);
    const named = message
      .split('\n- ')
      .slice(1)
      .map((line) => /^`(\w+)/.exec(line)?.[1]);
    expect(new Set(named)).toEqual(new Set(names));
    expect(named).toHaveLength(names.length);
    expect(message).toMatch(new RegExp(`^${names.length} problems with the options of `));
  });

  test('covers a guard and its limiter', () => {
    expect(() => createGuard({ ...right, rate: -1 }, { cost: -1 })).toThrow(/`cost`[^]*`rate`/);
  });

  test('does not report an option as missing that an unknown name stands for', async () => {
    const message = await messageOf('RateLimiter', { max: 100, windowMs: 60_000 });
    expect(message).toMatch(/^2 problems/);
    expect(message).not.toContain('undefined');
  });

  test('stays short for an object of many unknown names', async () => {
    const options = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`name${i}`, i]));
    const message = await messageOf('allow', options);
    expect(message).toMatch(/^100000 problems/);
    expect(message).toMatch(/and 99980 more$/);
    expect(message.length).toBeLessThan(5_000);
  });

  test('includes an option whose getter throws', async () => {
    expect(
      await messageOf('RateLimiter', { rate: -1, period: '1m', hashSecret: hostileProxy }),
    ).toMatch(/`hashSecret` must be readable[^]*`rate`/);
  });
});

describe('a misplaced option is refused with the place where it belongs', () => {
  test.each<[Maker, object, string]>([
    ['RateLimiter', { ...right, identify: () => 'a' }, 'rateLimit(limiter, { identify })'],
    ['RateLimiter', { ...right, keyGenerator: () => 'a' }, 'rateLimit(limiter, { identify })'],
    ['RateLimiter', { ...right, trustedProxies: [] }, 'rateLimit(limiter, { trustedProxies })'],
    [
      'RateLimiter',
      { ...right, skipSuccessfulRequests: true },
      "rateLimit(limiter, { count: 'failures' })",
    ],
    ['RateLimiter', { ...right, cost: 5 }, 'limiter.allow(identity, { cost })'],
    ['RateLimiter', { ...right, heartbeat: true }, 'limiter.acquire(identity, { heartbeat })'],
    ['RateLimiter', { ...right, maxQueue: 5 }, 'limiter.wait(identity, { maxQueue })'],
    ['RateLimiter', { ...right, maxDebt: 5 }, 'limits: [tokenBucket({ rate, period, maxDebt })]'],
    ['RateLimiter', { ...right, name: 'a' }, 'limits: [tokenBucket({ rate, period, name })]'],
    ['RateLimiter', { ...right, maxKeys: 5 }, 'store: new MemoryStore({ maxKeys })'],
    [
      'RateLimiter',
      { ...right, algorithm: 'sliding_window', burst: 5 },
      'tokenBucket({ rate, period, burst })',
    ],
    ['RateLimiter', { ...right, failOpen: false }, "failStrategy: 'closed'"],
    ['RateLimiter', { ...right, passOnStoreError: true }, "failStrategy: 'open'"],
    ['tokenBucket', { rate: 1, period: '1m', cost: 5 }, 'limiter.allow(identity, { cost })'],
    ['tokenBucket', { rate: 1, period: '1m', namespace: 'a' }, 'new RateLimiter({ namespace })'],
    [
      'tokenBucket',
      { rate: 1, period: '1m', timeZone: 'UTC' },
      "fixedWindow({ rate, period: 'day', timeZone })",
    ],
    ['slidingWindow', { rate: 1, period: '1m', burst: 5 }, 'tokenBucket({ rate, period, burst })'],
    ['concurrency', { max: 1, ttl: '1m', rate: 5 }, 'tokenBucket({ rate, period })'],
    ['guard', { redis: 'redis://localhost' }, 'new RateLimiter({ redis })'],
    ['guard', { max: 5 }, 'new RateLimiter({ rate })'],
    ['guard', { failStrategy: 'open' }, 'new RateLimiter({ failStrategy })'],
    ['guard', { heartbeat: true }, 'limiter.acquire(identity, { heartbeat })'],
    ['guard', { shadow: true }, 'limits: [tokenBucket({ rate, period, shadow })]'],
    ['guard', { skipFailedRequests: true }, "count: 'successes'"],
    ['guard', { standardHeaders: 'draft-8' }, "headers: 'draft-11'"],
    ['allow', { rate: 5 }, 'limits: [tokenBucket({ rate })]'],
    ['allow', { timeoutMs: 5 }, 'new RateLimiter({ timeoutMs })'],
    ['allow', { signal: 1 }, 'limiter.wait(identity, { signal })'],
    ['allow', { ttl: '1m' }, 'limiter.reserve(identity, { ttl })'],
    ['limited', { maxQueue: 5 }, 'wait: { maxQueue }'],
    ['limited', { rate: 5 }, 'limiter: { rate }'],
    ['limited', { wait: { cost: 5 } }, 'limited(fn, { cost })'],
    ['MemoryStore', { rate: 5 }, 'new RateLimiter({ store, rate })'],
  ])('%s refuses %j', async (maker, options, code) => {
    expect(await messageOf(maker, options)).toContain(`\`${code}\``);
  });
});

describe('a required option given as undefined', () => {
  const given = /was given, and its value is undefined: is the environment variable or setting/;
  test.each<[string, object]>([
    ['redis', { redis: undefined, rate: 5, period: '1m' }],
    ['store', { store: undefined, rate: 5, period: '1m' }],
    ['rate', { store, rate: undefined, period: '1m' }],
    ['period', { store, rate: 5, period: undefined }],
    ['max', { store, algorithm: 'concurrency', max: undefined, ttl: '1m' }],
  ])('refuses %s: undefined with a hint at the environment', (name, options) => {
    const make = (): unknown => new RateLimiter(options as never);
    expect(make).toThrow(new RegExp(`^\`${name}\` must be .*, got undefined\\.`));
    expect(make).toThrow(given);
  });

  test('is refused with the same hint in `limits`, in `limited` and in `reserve`', async () => {
    expect(await messageOf('tokenBucket', { rate: 5, period: undefined })).toMatch(given);
    expect(await messageOf('limited', { limiter: undefined })).toMatch(given);
    expect(await messageOf('limited', { identify: undefined })).toMatch(given);
    expect(await messageOf('reserve', { ttl: undefined })).toMatch(given);
  });

  test('is accepted when the option is optional', () => {
    expect(
      () =>
        new RateLimiter({
          ...right,
          burst: undefined,
          timeZone: undefined,
          max: undefined,
        } as never),
    ).not.toThrow();
  });
});
