import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { expect, test } from 'vitest';
import { secondCopy } from '../../kit/fakes/second-copy.ts';

const CURE = /npm ls distributed-rate-limiter.*npm dedupe/;

test('a limit of another copy of the package is refused with that reason', async () => {
  const other = await secondCopy();
  const limits = [other.tokenBucket({ rate: 5, period: '1m' })];
  const make = (): unknown => new RateLimiter({ store: new MemoryStore(), limits });
  expect(make).toThrow(
    '`limits` must come from the copy of distributed-rate-limiter that is asked, got a limit of another copy. Two copies',
  );
  expect(make).toThrow(CURE);
});

test('a limit of another copy of the package, given with a call, is refused with that reason', async () => {
  const other = await secondCopy();
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1m' });
  const limits = [
    tokenBucket({ name: 'a', rate: 5, period: '1m' }),
    other.concurrency({ max: 1, ttl: '1m' }),
  ];
  await expect(limiter.allow('user', { limits })).rejects.toThrow(/got a limit of another copy/);
});

test('a memory store of another copy of the package is refused with that reason', async () => {
  const other = await secondCopy();
  const store = new other.MemoryStore();
  const make = (): unknown => new RateLimiter({ store, rate: 5, period: '1m' });
  expect(make).toThrow(
    '`store` must come from the copy of distributed-rate-limiter that is asked, got a MemoryStore of another copy.',
  );
  expect(make).toThrow(CURE);
});
