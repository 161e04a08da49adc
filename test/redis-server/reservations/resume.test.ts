import { RateLimiter, StoreError, tokenBucket } from 'distributed-rate-limiter';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());

const ID = 'user:12345';
const make = () => {
  const place = { redis: server.url, namespace: 'resume', timeoutMs: 10_000 } as const;
  const api = new RateLimiter({ ...place, limits: [tokenBucket({ rate: 1_000, period: '365d' })] });
  const worker = new RateLimiter({ ...place, rate: 1, period: '1s', algorithm: 'fixed_window' });
  return { api, worker };
};

test('reservations of one identity, resumed in one turn, are each answered their own', async () => {
  const { api, worker } = make();
  const costs = [50, 40, 30, 20];
  const reservations = await Promise.all(costs.map((cost) => api.reserve(ID, { cost, ttl: '1h' })));
  const settle = () =>
    Promise.all(reservations.map(({ token }, i) => worker.resume(token).settle(i + 1)));
  const settled = [1, 2, 3, 4].map((charged) => ({ charged, uncharged: 0, expired: false }));
  expect(await settle()).toEqual(settled);
  expect(await settle()).toEqual(settled);
  expect((await api.peek(ID)).remaining).toBe(990);
  await Promise.all([api.close(), worker.close()]);
});

test.each([
  'held;9000000000000000;5;0',
  'held;9000000000000000;5;0\n\n\n[]',
  'held;9000000000000000;5;0\n\n\n["token_bucket",{"rate":-1,"period":1}]',
  'held;9000000000000000;5;0\n\n\n["constructor",{}]',
  'held;9000000000000000;5;0\n\n\n["token_bucket",{"rate":1,"period":1},{"n":"x"}]',
  'held;9000000000000000;5;0\n\n{"length":1}\n["token_bucket",{"rate":1,"period":1}]',
  'held;9000000000000000;5;0\n\n\n["token_bucket",{"__proto__":{"rate":1}}]',
  'settled;9000000000000000;5;0\ncalls,tokens',
  'garbage',
])('a record that says %j is a StoreError, and the batch it is in is answered', async (text) => {
  const { api, worker } = make();
  const { token } = await api.reserve(ID, { cost: 1, ttl: '1h' });
  const record = token.split('.')[1];
  const [key] = (await server.command('KEYS', `*#r:${record}`)) as string[];
  await server.command('SET', key!, text, 'KEEPTTL');
  const [settled, added, peeked] = await Promise.all([
    worker
      .resume(token)
      .settle(1)
      .catch((error: unknown) => error),
    worker.resume(token).add(1),
    worker.peek('other'),
  ]);
  expect(settled).toBeInstanceOf(StoreError);
  expect((settled as StoreError).message).not.toContain(record);
  expect(added.reason).toBe('store_error');
  expect(peeked.reason).toBe('within_limit');
  await Promise.all([api.close(), worker.close()]);
});
