import { MemoryStore, RateLimiterError, tokenBucket } from 'distributed-rate-limiter';
import type { MemoryStoreOptions, TokenBucketOptions, Duration } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';
import { notTexts, notWholeNumbers, refusal, refusalOf } from '../../kit/fakes/values.ts';

const bucket = (options: unknown): unknown => tokenBucket(options as TokenBucketOptions);
const memory = (options: unknown): unknown => new MemoryStore(options as MemoryStoreOptions);

describe('tokenBucket', () => {
  test.each(notWholeNumbers.filter(([, value]) => value !== 0))(
    'refuses rate: %s (%#)',
    (shown, rate) => {
      expect(refusalOf(() => bucket({ rate, period: '1m' }))).toEqual(
        refusal('rate', shown, /^must be a whole number/),
      );
    },
  );

  test.each<readonly [string, unknown]>([
    ...notTexts,
    ['""', ''],
    ['"a b"', 'a b'],
    ['"a/b"', 'a/b'],
    ['"a:b"', 'a:b'],
    ['"{a}"', '{a}'],
    ['"a#b"', 'a#b'],
    ['"\\ud800"', '\ud800'],
    [`"${'a'.repeat(65)}"`, 'a'.repeat(65)],
  ])('refuses name: %s', (shown, name) => {
    expect(refusalOf(() => bucket({ name, rate: 1, period: '1m' }))).toEqual(
      refusal('name', shown, /^must be 1 to 64 of the characters/, /Rename/),
    );
  });

  test('refuses the name of an unnamed limit', () => {
    expect(refusalOf(() => bucket({ name: 'default', rate: 1, period: '1m' }))).toEqual(
      refusal('name', '"default"', /^must be other than 'default'/, /Leave the name out/),
    );
  });

  test.each([
    ['capacity', 'burst'],
    ['tokens', 'burst'],
    ['limit', 'rate'],
    ['points', 'rate'],
    ['names', 'name'],
    ['brust', 'burst'],
  ])('suggests instead of %s the option %s', (given, meant) => {
    expect(refusalOf(() => bucket({ rate: 1, period: '1m', [given]: 5 }))).toEqual(
      refusal(given, '5', /^is not an option of tokenBucket$/, new RegExp(`\`${meant}\``)),
    );
  });

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['5', 5],
    ['"5/m"', '5/m'],
    ['an array of 2', [5, '1m']],
  ])('refuses %s as options', (shown, options) => {
    expect(refusalOf(() => bucket(options))).toEqual(
      refusal('tokenBucket options', shown, /^must be an object$/),
    );
  });

  test('returns a frozen limit', () => {
    const limit = tokenBucket({ rate: 1, period: '1m' });
    expect(() => Object.assign(limit, { rate: 1_000 })).toThrow(TypeError);
    expect(limit).toMatchObject({
      algorithm: 'token_bucket',
      name: 'default',
      capacity: 1,
    });
  });
});

describe('MemoryStore', () => {
  test.each(notWholeNumbers)('refuses maxKeys: %s (%#)', (shown, maxKeys) => {
    expect(refusalOf(() => memory({ maxKeys }))).toEqual(
      refusal('maxKeys', shown, /^must be a whole number/),
    );
  });

  test.each<[string, unknown]>([
    ['5', 5],
    ['true', true],
    ['"system"', 'system'],
    ['an object', {}],
    ['an object', { nowMicros: 5 }],
    ['an object', new Date()],
    ['a function', () => 5],
    ['null', null],
  ])('refuses clock: %s (%#)', (shown, clock) => {
    expect(refusalOf(() => memory({ clock }))).toEqual(
      refusal('clock', shown, /^must be an object with nowMicros\(\)$/, /ManualClock/),
    );
  });

  test.each([
    ['maxkeys', 'maxKeys'],
    ['maxKey', 'maxKeys'],
    ['clocks', 'clock'],
  ])('suggests instead of %s the option %s', (given, meant) => {
    expect(refusalOf(() => memory({ [given]: 5 }))).toEqual(
      refusal(given, '5', /^is not an option of MemoryStore$/, new RegExp(`\`${meant}\``)),
    );
  });
});

describe('ManualClock', () => {
  test.each<[string, unknown]>([
    ['a length that is no duration', '1x'],
    ['a step back', -1],
    ['a step back in words', '-1s'],
    ['a part of a millisecond', 0.0001],
    ['NaN', Number.NaN],
    ['nothing', undefined],
  ])('refuses to advance by %s', (_, duration) => {
    const clock = new ManualClock(0);
    expect(() => clock.advance(duration as Duration)).toThrow(RateLimiterError);
    expect(clock.nowMicros()).toBe(0);
  });

  test('starts at a given time, and advances by durations and by seconds', () => {
    const clock = new ManualClock(1_000);
    clock.advance('250ms');
    clock.advance(1.5);
    clock.advance(0);
    expect(clock.nowMicros()).toBe(2_750_000);
  });
});
