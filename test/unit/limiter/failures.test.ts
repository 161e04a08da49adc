import { RateLimiter, RateLimiterError, StoreError, tokenBucket } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { ReplyError } from '../../kit/fakes/fake-client.ts';
import { FakeRedis, silence } from '../../kit/fakes/fake-redis.ts';

const limits = { rate: 3, period: '1h', timeoutMs: 20 } as const;

/** Each way in which an answer can fail to come, with the code of its error. */
const failures = {
  store_away: () => new FakeRedis('away'),
  store_timeout: () => Object.assign(new FakeRedis(), { respond: silence }),
  store_error: () =>
    Object.assign(new FakeRedis(), {
      respond: () => {
        throw new ReplyError('READONLY You can not write against a read only replica');
      },
    }),
};

describe.each(Object.entries(failures))('a failure of the store: %s', (reason, redisThatFails) => {
  test.each([
    ['open', true],
    ['closed', false],
  ] as const)(
    'returns a decision without invented numbers under failStrategy %s',
    async (failStrategy, allowed) => {
      const limiter = new RateLimiter({ redis: redisThatFails(), failStrategy, ...limits });
      for (const verb of ['allow', 'peek'] as const) {
        const decision = await limiter[verb]('user');
        const error: unknown = decision.degraded ? decision.error : undefined;
        expect(decision).toStrictEqual({
          allowed,
          degraded: true,
          reason,
          source: 'none',
          cost: 1,
          limits: [],
          error,
        });
        expect(error).toBeInstanceOf(StoreError);
        expect(error).toMatchObject({ reason });
      }
    },
  );

  test('rejects with the same error under failStrategy throw', async () => {
    const limiter = new RateLimiter({ redis: redisThatFails(), failStrategy: 'throw', ...limits });
    for (const verb of ['allow', 'peek'] as const) {
      const error: unknown = await limiter[verb]('user').catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toBeInstanceOf(RateLimiterError);
      expect(error).toMatchObject({ reason, name: 'StoreError' });
    }
  });

  test('rejects reset and ready under every failStrategy', async () => {
    const limiter = new RateLimiter({ redis: redisThatFails(), failStrategy: 'open', ...limits });
    await expect(limiter.reset('user')).rejects.toMatchObject({ reason });
    await expect(limiter.ready()).rejects.toMatchObject({ reason });
  });

  test('names no identity and no key in its error', async () => {
    const limiter = new RateLimiter({
      redis: redisThatFails(),
      namespace: 'secret-space',
      failStrategy: 'throw',
      ...limits,
    });
    const error = (await limiter.allow('alice').catch((cause: unknown) => cause)) as Error;
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toMatch(
      /alice|secret-s/,
    );
  });
});

test('a missing client library rejects under every failStrategy, also under open', async () => {
  const redis = new FakeRedis('away');
  redis.lastError = new RateLimiterError('ERR_CLIENT_MISSING', 'no library');
  const limiter = new RateLimiter({ redis, failStrategy: 'open', ...limits });
  await expect(limiter.allow('user')).rejects.toMatchObject({ code: 'ERR_CLIENT_MISSING' });
  await expect(limiter.ready()).rejects.toMatchObject({ code: 'ERR_CLIENT_MISSING' });
});

describe('an impossible cost', () => {
  test('is refused without a send, with the greatest cost that can pass', async () => {
    const redis = new FakeRedis();
    const limiter = new RateLimiter({
      redis,
      limits: [
        tokenBucket({ rate: 10, period: '1s' }),
        tokenBucket({ name: 'small', rate: 100, period: '1s', burst: 4 }),
      ],
    });
    for (const verb of ['allow', 'peek'] as const) {
      expect(await limiter[verb]('user', { cost: 5 })).toMatchObject({
        allowed: false,
        degraded: false,
        reason: 'impossible',
        limitedBy: ['small'],
        maxCost: 4,
      });
    }
    const own = [tokenBucket({ rate: 7, period: '1s' })];
    expect(await limiter.allow('user', { cost: 8, limits: own })).toMatchObject({ maxCost: 7 });
    expect(redis.sends).toEqual([]);
  });

  test('is refused while the store is away, and is no outage', async () => {
    const redis = new FakeRedis('away');
    const limiter = new RateLimiter({ redis, failStrategy: 'throw', ...limits });
    expect(await limiter.allow('user', { cost: 4 })).toMatchObject({
      reason: 'impossible',
      degraded: false,
    });
  });
});

test('calls past maxInFlight are answered at once and not sent, until the client settles', async () => {
  const redis = new FakeRedis();
  let release = (): void => {};
  redis.respond = (send) =>
    new Promise((resolve) => {
      release = () => resolve(redis.run(send));
    });
  const limiter = new RateLimiter({ redis, rate: 99, period: '1h', maxInFlight: 3 });
  const first = Array.from({ length: 3 }, () => limiter.allow('user'));
  const over = await Promise.all(Array.from({ length: 4 }, () => limiter.allow('user')));
  expect(over.map(({ reason }) => reason)).toEqual(Array(4).fill('overloaded'));
  expect(new Set(over.map((decision) => decision.degraded && decision.error)).size).toBe(1);
  expect(redis.sends).toHaveLength(0); // the turn in which the calls were made is not over yet
  await new Promise((resolve) => setImmediate(resolve));
  expect(redis.sends).toHaveLength(1);
  release();
  expect((await Promise.all(first)).every(({ degraded }) => !degraded)).toBe(true);
  const later = limiter.allow('user');
  await new Promise((resolve) => setImmediate(resolve));
  release();
  expect(await later).toMatchObject({ degraded: false, remaining: 95 });
});
