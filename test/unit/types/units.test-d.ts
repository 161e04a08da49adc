import { fixedWindow, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Limit, LimiterOf } from 'distributed-rate-limiter';
import { expectTypeOf, test } from 'vitest';

const rpm = tokenBucket({ name: 'rpm', rate: 60, period: '1m' });
const tpm = tokenBucket({ name: 'tpm', unit: 'tokens', rate: 9, period: '1m' });
const budget = fixedWindow({ name: 'budget', unit: 'micros', rate: 9, period: 'month' });

test('a limiter knows the units of its limits', async () => {
  const llm = new RateLimiter({ store: new MemoryStore(), limits: [rpm, tpm, budget] });
  expectTypeOf(llm).toEqualTypeOf<RateLimiter<never, 'tokens' | 'micros'>>();
  await llm.allow('a', { cost: { tokens: 5, micros: 2, calls: 3 } });
  await llm.allow('a', { cost: 0 });
  // @ts-expect-error an unknown unit
  await llm.allow('a', { cost: { token: 5 } });
  // @ts-expect-error a number where units are named
  await llm.allow('a', { cost: 5 });
  // @ts-expect-error an undefined value
  await llm.allow('a', { cost: { tokens: undefined } });
  // @ts-expect-error a number where units are named
  await llm.penalize('a', 5);
  await llm.allowUpTo('a', { tokens: 5 });
  // @ts-expect-error two names
  await llm.allowUpTo('a', { tokens: 5, micros: 5 });
  const held = await llm.reserve('a', { cost: { tokens: 5 }, ttl: '1m' });
  await held.add({ tokens: 5 });
  const { charged } = await held.settle({ tokens: 5, micros: 1 });
  expectTypeOf(charged.tokens).toEqualTypeOf<number | undefined>();
  // @ts-expect-error an unknown unit
  await held.settle({ token: 5 });
  // @ts-expect-error a number where units are named
  await held.add(5);
});

test('a limiter without units takes numbers', async () => {
  const limiter = new RateLimiter({ store: new MemoryStore(), limits: [rpm] });
  expectTypeOf(limiter).toEqualTypeOf<RateLimiter>();
  expectTypeOf((await limiter.allow('a', { cost: 5 })).cost).toEqualTypeOf<number>();
  // @ts-expect-error names where no limit has a unit
  await limiter.allow('a', { cost: { calls: 5 } });
});

test('a plan counts units that the limiter knows', async () => {
  const llm = new RateLimiter({ store: new MemoryStore(), limits: [rpm, tpm] });
  await llm.allow('a', { cost: { tokens: 1 }, limits: [tpm] });
  // @ts-expect-error a unit that no limit of the limiter has
  await llm.allow('a', { limits: [budget] });
  expectTypeOf(tpm).toEqualTypeOf<Limit<string, never, 'tokens'>>();
});

test('limits name the units of their limiter', () => {
  const limits = [rpm, tpm, budget];
  const llm: LimiterOf<typeof limits> = new RateLimiter({ store: new MemoryStore(), limits });
  expectTypeOf(llm).toEqualTypeOf<RateLimiter<never, 'tokens' | 'micros'>>();
  expectTypeOf<LimiterOf<(typeof rpm)[]>>().toEqualTypeOf<RateLimiter>();
});
