import { concurrency, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { limited, RateLimitExceeded } from 'distributed-rate-limiter/limited';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());

test('queue workers run one job per tenant, put refused jobs back, and lose none', async () => {
  const tenants = ['acme', 'other'];
  const jobs = tenants.flatMap((tenant) => [1, 2, 3, 4].map((n) => `${tenant}:${n}`));
  await redis.command('RPUSH', 'jobs', ...jobs);
  const underWay = new Map<string, number>();
  const done: string[] = [];
  let most = 0;
  let refused = 0;

  async function handle(job: string): Promise<void> {
    const tenant = job.split(':')[0]!;
    const now = (underWay.get(tenant) ?? 0) + 1;
    underWay.set(tenant, now);
    most = Math.max(most, now);
    // Long enough for the other workers to be refused meanwhile.
    await redis.command('PING');
    await redis.command('PING');
    underWay.set(tenant, now - 1);
    done.push(job);
  }

  async function work(): Promise<void> {
    const guarded = limited(handle, {
      limiter: {
        redis: redis.url,
        namespace: 'worker',
        timeoutMs: 5_000,
        limits: [concurrency({ max: 1, ttl: '30s' })],
      },
      identify: (job) => job.split(':')[0]!,
      heartbeat: true,
    });
    while (done.length < jobs.length) {
      const job = (await redis.command('LPOP', 'jobs')) as string | null;
      if (job !== null) {
        try {
          await guarded(job);
        } catch (error) {
          if (!(error instanceof RateLimitExceeded)) throw error;
          refused += 1;
          await redis.command('RPUSH', 'jobs', job);
        }
      }
    }
    await guarded.limiter.close();
  }

  await Promise.all([work(), work(), work()]);
  expect(done.toSorted()).toEqual(jobs.toSorted());
  expect(most).toBe(1);
  expect(refused).toBeGreaterThan(0);
});

test("processes sharing an API's allowance wait their turn, and exactly that allowance passes", async () => {
  const made: number[] = [];
  const clients = [1, 2].map(() =>
    limited((n: number) => made.push(n), {
      limiter: new RateLimiter({
        redis: redis.url,
        namespace: 'api',
        timeoutMs: 5_000,
        limits: [tokenBucket({ rate: 2, period: '1h' })],
      }),
      identify: 'api.example.com',
      wait: true,
    }),
  );
  const calls = [1, 2, 3, 4].map((n) =>
    clients[n % 2]!(n).then(
      () => 'passed',
      (error: { code: string }) => error.code,
    ),
  );
  await waitUntil('two calls to pass', () => made.length === 2);
  await Promise.all(clients.map(({ limiter }) => limiter.close()));
  expect((await Promise.all(calls)).toSorted()).toEqual([
    'ERR_LIMITER_CLOSED',
    'ERR_LIMITER_CLOSED',
    'passed',
    'passed',
  ]);
  expect(made).toHaveLength(2);
});
