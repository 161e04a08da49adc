import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { BanOptions, Limit } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { refusal, refusalOf } from '../../kit/fakes/values.ts';

const BAN: BanOptions = { after: 5, within: '10m', for: '15m', growth: 2, max: '1d' };
const made = (ban: unknown): Limit =>
  tokenBucket({ rate: 1, period: '1m', ban: ban as BanOptions });
const limiterOf = (limits: readonly Limit[], options: object = {}): RateLimiter =>
  new RateLimiter({ store: new MemoryStore(), limits, ...options });

describe('ban', () => {
  test.each([
    ['0', 0],
    ['101', 101],
    ['1.5', 1.5],
    ['"5"', '5'],
    ['null', null],
  ])('refuses after: %s', (shown, after) => {
    expect(refusalOf(() => made({ ...BAN, after }))).toEqual(
      refusal('ban.after', shown, /^must be a whole number from 1 to 100$/),
    );
  });

  test.each(['within', 'for', 'max'])('refuses times of `%s` that are none', (name) => {
    expect(refusalOf(() => made({ ...BAN, [name]: 600 }))).toEqual(
      refusal(`ban.${name}`, '600', /^must be a duration such as '/, /'10m' for seconds/),
    );
    expect(refusalOf(() => made({ ...BAN, [name]: '0ms' }))).toEqual(
      refusal(`ban.${name}`, '"0ms"', /^must be between 1 ms and 31622400000 ms$/),
    );
    expect(refusalOf(() => made({ ...BAN, [name]: '367d' }))).toEqual(
      refusal(`ban.${name}`, '"367d"', /^must be between 1 ms and 31622400000 ms$/),
    );
  });

  test.each([
    ['0.5', 0.5],
    ['0.99', 0.99],
    ['10.01', 10.01],
    ['1.005', 1.005],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['"2"', '2'],
  ])('refuses growth: %s', (shown, growth) => {
    expect(refusalOf(() => made({ ...BAN, growth }))).toEqual(
      refusal('ban.growth', shown, /^must be a number from 1 to 10 with at most two decimals$/),
    );
  });

  test.each([1, 1.01, 1.1, 2.55, 4.35, 9.99, 10])('takes growth: %s', (growth) => {
    expect(made({ ...BAN, growth }).ban?.growthPercent).toBe(Math.round(growth * 100));
  });

  test('refuses a longest ban that is shorter than the first', () => {
    expect(() => made({ ...BAN, max: '14m' })).toThrow(
      '`ban.max` must be at least as long as `for`, the first ban, got "14m" and for: "15m".',
    );
    expect(made({ ...BAN, max: '15m' }).ban?.maxMs).toBe(900_000);
  });

  test('is at most a day long, or as long as the first ban', () => {
    expect(made({ after: 1, within: '1m', for: '1m' }).ban).toEqual({
      after: 1,
      withinMs: 60_000,
      forMs: 60_000,
      growthPercent: 100,
      maxMs: 86_400_000,
    });
    expect(made({ after: 1, within: '1m', for: '2d' }).ban?.maxMs).toBe(2 * 86_400_000);
  });

  test('refuses a number, with the object to write', () => {
    expect(refusalOf(() => made(3))).toEqual(
      refusal(
        'ban',
        '3',
        /^must be an object$/,
        /Write ban: { after: 3, within: '10m', for: '15m' }/,
      ),
    );
    expect(refusalOf(() => made(true))).toEqual(refusal('ban', 'true', /^must be an object$/));
  });

  test('lists all problems at once, with those of its limit', () => {
    expect(() =>
      tokenBucket({ rate: -1, period: '1m', ban: { after: 0, within: '10m' } as never }),
    ).toThrow(/^3 problems[^]*`ban\.after`[^]*`ban\.for`[^]*`rate`/);
  });

  test.each([
    ['maxRetry', 5, 'Did you mean `after`?'],
    ['findTime', '10m', 'Did you mean `within`?'],
    ['windowMs', 600_000, 'Did you mean `within`?'],
    ['duration', 900, 'Did you mean `for`? Write `for: '],
    ['forMs', 900_000, "Did you mean `for`? Write `for: '15m'`."],
    ['factor', 2, 'Did you mean `growth`?'],
    ['colour', 1, 'Known options: after, within, for, growth, max.'],
  ])('suggests what `%s` is called', (name, value, hint) => {
    expect(() => made({ ...BAN, [name]: value })).toThrow(hint);
  });

  test.each([
    ['tokenBucket', tokenBucket({ rate: 1, period: '1m', ban: BAN })],
    ['slidingWindow', slidingWindow({ rate: 1, period: '1m', ban: BAN })],
    ['slidingWindowLog', slidingWindowLog({ rate: 1, period: '1m', ban: BAN })],
    ['fixedWindow', fixedWindow({ rate: 1, period: '1m', ban: BAN })],
    ['concurrency', concurrency({ max: 1, ttl: '1m', ban: BAN })],
  ])('of %s needs a limiter with `blocks: true`', async (_, limit) => {
    const message =
      '`ban` must be given to limits of a limiter with `blocks: true`, got it in the limit "default" of one without.';
    expect(() => limiterOf([limit])).toThrow(message);
    const plain = limiterOf([tokenBucket({ rate: 1, period: '1m' })]);
    const call = { limits: [limit] };
    await expect(
      limit.algorithm === 'concurrency' ? plain.acquire('id', call) : plain.allow('id', call),
    ).rejects.toThrow(message);
    limiterOf([limit], { blocks: true });
  });

  test('of a limit of a call counts by the parts of one of the limiter', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      blocks: true,
      tagBy: [],
      limits: [tokenBucket({ by: 'ip', rate: 1, period: '1m' })],
    });
    const limits = [tokenBucket({ name: 'user', by: 'user', rate: 1, period: '1m', ban: BAN })];
    await expect(
      limiter.allow({ ip: 'a', user: 'b' } as never, { limits } as never),
    ).rejects.toThrow("`ban` must count by the same parts as one of the limiter's own limits");
  });

  test('given to a limiter is told where it belongs', () => {
    const options = { store: new MemoryStore(), rate: 1, period: '1m', ban: BAN };
    expect(() => new RateLimiter(options as never)).toThrow(
      'It is an option of a limit. Write `limits: [tokenBucket({ rate, period, ban })]`.',
    );
  });
});
