import { MemoryStore } from 'distributed-rate-limiter';
import { defineLimiter } from 'distributed-rate-limiter/workers';
import { expect, test } from 'vitest';

const GOOD = { redis: () => ({}) as never, rate: 5, period: '1h' } as const;

/** The message of the error with which the definition is refused. */
function refusal(options: unknown): string {
  try {
    defineLimiter(options as never);
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' });
    return (error as Error).message;
  }
  throw new Error('was accepted');
}

test.each([
  [{ denyCache: true }, '`denyCache` must be left out for a limiter of one request, got true.'],
  [{ prepay: {} }, '`prepay` must be left out for a limiter of one request'],
  [{ store: new MemoryStore() }, 'new RateLimiter({ store: new MemoryStore(), … })'],
  [{ cluster: true }, '`cluster` must be left out where `redis` is a client'],
  [{ cluster: { tags: 5 } }, '`cluster.tags` must be 16, 64 or 256, got 5.'],
  [{ redis: undefined }, '`redis` must be a function that makes a client, got undefined.'],
  [{ redis: {} }, '`redis` must be a function that makes a client'],
  [{ burts: 3 }, 'burst'],
  [{ rate: -1 }, '`rate` must be'],
])('refuses %j where the limiter is defined, and says what to do', (options, message) => {
  expect(refusal({ ...GOOD, ...options })).toContain(message);
});

test('refuses a URL without repeating it: it may hold a password', () => {
  const message = refusal({ ...GOOD, redis: 'redis://user:secret@localhost' });
  expect(message).toContain('`redis` must be a function that makes a client, got a string.');
  expect(message).not.toContain('secret');
});

test('reports all problems in one error', () => {
  const message = refusal({ redis: 'redis://localhost', denyCache: true, rate: -1, period: '1h' });
  expect(message).toContain('3 problems');
});

test.each([undefined, null, 'options'])('refuses %j in place of options', (options) => {
  expect(refusal(options)).toMatch(/options/i);
});

test('accepts options that are switched off', () => {
  expect(() => defineLimiter({ ...GOOD, denyCache: false, prepay: false })).not.toThrow();
});

test('later changes of the options change nothing', () => {
  const options = { ...GOOD, rate: 5 as number };
  const limits = defineLimiter(options);
  options.rate = 1;
  const { limits: read } = limits.forRequest({ waitUntil() {} });
  expect(read[0]?.capacity).toBe(5);
  expect(Object.isFrozen(limits)).toBe(true);
});

test.each([undefined, null, {}, { waitUntil: 1 }])(
  'refuses the context %j of a request, and names the one to pass',
  (context) => {
    expect(() => defineLimiter(GOOD).forRequest(context as never)).toThrow(
      '`context` must be an object with `waitUntil`',
    );
  },
);
