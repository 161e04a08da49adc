import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { refusal, refusalOf } from '../../kit/fakes/values.ts';

const bucket = tokenBucket({ rate: 10, period: 1 });

function made(prepay: unknown, options: object = {}): RateLimiter {
  const store = new MemoryStore();
  return new RateLimiter({ store, limits: [bucket], prepay, ...options } as never);
}

describe('prepay', () => {
  test.each([
    ['holdMs', '9', 9, /^must be a whole number from 10 to 500$/],
    ['holdMs', '501', 501, /^must be a whole number from 10 to 500$/],
    ['aheadMs', '-1', -1, /^must be a whole number from 0 to 500$/],
    ['aheadMs', '501', 501, /^must be a whole number from 0 to 500$/],
    ['maxIdentities', '0', 0, /^must be a whole number from 1 to 1000000$/],
  ])('refuses %s: %s', (name, shown, value, rule) => {
    expect(refusalOf(() => made({ [name]: value }))).toEqual(
      refusal(`prepay.${name}`, shown, rule),
    );
  });

  test.each([
    ['null', null],
    ['1', 1],
    ['"on"', 'on'],
  ])('refuses %s', (shown, value) => {
    expect(refusalOf(() => made(value))).toEqual(
      refusal('prepay', shown, /^must be true, false or an object of options$/, /prepay: true/),
    );
  });

  test('names an option that it does not have', () => {
    expect(() => made({ hold: 20 })).toThrow(/holdMs/);
  });

  test.each([true, false, undefined, {}, { holdMs: 10 }, { aheadMs: 0, maxIdentities: 1 }])(
    'takes %j',
    async (prepay) => {
      const limiter = made(prepay);
      expect((await limiter.allow('user')).source).toBe('store');
    },
  );

  test('takes token buckets and windows together', () => {
    const limits = [
      bucket,
      fixedWindow({ name: 'fixed', rate: 10, period: 60 }),
      slidingWindow({ name: 'sliding', rate: 10, period: 60 }),
    ];
    expect(() => made(true, { limits })).not.toThrow();
  });

  test.each([
    ['a log', { limits: [slidingWindowLog({ rate: 1, period: 1 })] }, /is a sliding_window_log/],
    ['a concurrency limit', { limits: [concurrency({ max: 1, ttl: '30s' })] }, /is a concurrency/],
    ['a shadow', { limits: [tokenBucket({ rate: 1, period: 1, shadow: true })] }, /is a shadow/],
    [
      'other parts',
      {
        limits: [
          tokenBucket({ name: 'each', rate: 1, period: 1, by: 'user' }),
          tokenBucket({ name: 'all', rate: 9, period: 1, by: [] }),
        ],
      },
      /The limit 'all' counts by other parts than 'each'/,
    ],
    [
      'a ban',
      {
        blocks: true,
        limits: [tokenBucket({ rate: 1, period: 1, ban: { after: 1, within: '1m', for: '1m' } })],
      },
      /has a ban/,
    ],
    ['observes', { observes: true }, /`observes` is true/],
  ])('refuses a limiter with %s', (_, options, reason) => {
    expect(() => made(true, options)).toThrow(reason);
  });
});
