import { afterAll, beforeAll, describe } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import { storeContract } from 'distributed-rate-limiter/testing';
import { startSteppedRedis, steppedClockMissing } from '../../kit/servers/index.mjs';
import { declare } from './subjects.ts';

describe.skipIf(steppedClockMissing())('Redis on a clock that is advanced', () => {
  let stepped: Awaited<ReturnType<typeof startSteppedRedis>>;
  beforeAll(async () => {
    stepped = await startSteppedRedis();
  });
  afterAll(() => stepped.close());

  declare(
    storeContract({
      makeLimiter: (options) =>
        new RateLimiter({ ...options, redis: stepped.redis.url, timeoutMs: 10_000 }),
      advance: (ms) => stepped.clock.step(ms),
    }),
  );
});
