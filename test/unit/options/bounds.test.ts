import { MemoryStore, RateLimiter, RateLimiterError } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { parseRateLimit } from 'distributed-rate-limiter/fetch';
import { RateLimiterSync } from 'distributed-rate-limiter/sync';
import { expect, test } from 'vitest';

const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1m' });
const MANY = 1_000_000;

/** An array of many elements that counts how often one is read. */
function counted(element: unknown): { array: readonly never[]; reads: () => number } {
  let reads = 0;
  const array = new Proxy(Array<unknown>(MANY).fill(element), {
    get: (target, name, receiver) => {
      reads += typeof name === 'string' && /^\d+$/.test(name) ? 1 : 0;
      return Reflect.get(target, name, receiver) as unknown;
    },
  });
  return { array: array as never[], reads: () => reads };
}

const plain = { rate: 1, period: '1m' };

test.each<[string, unknown, (array: readonly never[]) => unknown]>([
  ['allow, an identity', 'x', async (parts) => limiter.allow(parts)],
  ['peek, an identity', 'x', async (parts) => limiter.peek(parts)],
  ['acquire, an identity', 'x', async (parts) => limiter.acquire(parts)],
  ['reserve, an identity', 'x', async (parts) => limiter.reserve(parts, { ttl: '1m' })],
  ['block, an identity', 'x', async (parts) => limiter.reset(parts)],
  ['allow, limits', plain, async (limits) => limiter.allow('user', { limits })],
  ['a guard, limits', plain, (limits) => createGuard(limiter, { limits })],
  ['a limiter, limits', plain, (limits) => new RateLimiter({ store: new MemoryStore(), limits })],
  [
    'a synchronous limiter, limits',
    plain,
    (limits) => new RateLimiterSync({ redis: 'redis://localhost', limits }),
  ],
])('an array of a million entries is refused by its length: %s', async (_, element, act) => {
  const { array, reads } = counted(element);
  let error: unknown;
  try {
    await act(array);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(RateLimiterError);
  expect(reads()).toBeLessThanOrEqual(1_024);
});

test.each([
  ['a text of many schemes', '://'.repeat(MANY)],
  ['a text of many spaces', ' '.repeat(MANY)],
  ['a text of many digits', '9'.repeat(MANY)],
  ['a bigint of many digits', 1n << 8_000_000n],
])('a cost that is %s is refused at once, in a short message', async (_, cost) => {
  const error: unknown = await limiter
    .allow('user', { cost: cost as never })
    .catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'ERR_INVALID_COST' });
  expect((error as Error).message.length).toBeLessThan(300);
});

test('a long unknown name is refused at once, in a short message', async () => {
  const error: unknown = await limiter
    .allow('user', { [`window${'S'.repeat(MANY)}`]: 1 })
    .catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' });
  expect((error as Error).message.length).toBeLessThan(400);
});

test('a header of a million lines is read only up to its bound', () => {
  const { array, reads } = counted('"default";r=0;t=1');
  expect(parseRateLimit({ ratelimit: array }).limits).toEqual([]);
  expect(reads()).toBeLessThanOrEqual(2_000);
});
