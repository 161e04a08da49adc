import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock, storeContract } from 'distributed-rate-limiter/testing';
import { describe } from 'vitest';
import { declare } from './subjects.ts';

describe('MemoryStore on a clock that is advanced', () => {
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
