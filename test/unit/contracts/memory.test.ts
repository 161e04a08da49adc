import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock, storeContract } from 'distributed-rate-limiter/testing';
import { describe } from 'vitest';
import { declare } from '../../redis-server/contracts/subjects.ts';

describe('MemoryStore on a manual clock', () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const contract = storeContract({
    makeLimiter: (options) => new RateLimiter({ ...options, store }),
    advance: (ms) => clock.advance(`${ms}ms`),
  });
  declare(contract);
});

describe('MemoryStore on its own clock', () => {
  const store = new MemoryStore();
  const contract = storeContract({
    makeLimiter: (options) => new RateLimiter({ ...options, store }),
    advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 1)),
  });
  declare(contract);
});

describe('MemoryStore on a clock that advances between calls of one turn', () => {
  const slowClock = {
    nowMicros: (): number => {
      const readyAt = performance.now() + 1.1;
      while (performance.now() < readyAt);
      return Math.floor((performance.timeOrigin + performance.now()) * 1_000);
    },
  };
  const store = new MemoryStore({ clock: slowClock });
  const contract = storeContract({
    makeLimiter: (options) => new RateLimiter({ ...options, store }),
    advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 1)),
  });
  declare(contract);
});
