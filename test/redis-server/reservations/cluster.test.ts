import { fixedWindow, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCluster, waitUntil } from '../../kit/servers/index.mjs';

let cluster: Awaited<ReturnType<typeof startCluster>>;
let limiter: RateLimiter;

beforeAll(async () => {
  cluster = await startCluster();
  limiter = new RateLimiter({
    redis: `redis://127.0.0.1:${cluster.nodes[0]!.port}`,
    cluster: true,
    timeoutMs: 5_000,
    limits: [
      tokenBucket({ rate: 100, period: '100d' }),
      fixedWindow({ name: 'month', rate: 1_000, period: 'month' }),
    ],
  });
  await limiter.ready();
});
afterAll(async () => {
  await limiter.close();
  await cluster.close();
});

test('on a cluster, records are in the slots of their identities, and every key expires', async () => {
  const ids = Array.from({ length: 60 }, (_, i) => `user:${i}`);
  await waitUntil('all nodes to be connected', async () => {
    const seen = await Promise.all(ids.map((id) => limiter.peek(id)));
    return seen.every(({ degraded }) => !degraded);
  });
  const handles = await Promise.all(ids.map((id) => limiter.reserve(id, { cost: 60, ttl: '1h' })));
  expect(new Set(handles.map(({ reason }) => reason))).toEqual(new Set(['within_limit']));
  const keys = await Promise.all(cluster.nodes.map((node) => node.command('KEYS', '*#r:*')));
  expect(keys.map(({ length }) => length).every((count) => count > 0)).toBe(true);
  expect(keys.flat()).toHaveLength(60);
  const settled = await Promise.all(handles.map((handle, i) => handle.settle(i)));
  expect(settled).toEqual(ids.map((_, i) => ({ charged: i, uncharged: 0, expired: false })));
  const left = await Promise.all(ids.map((id) => limiter.peek(id)));
  expect(left.map(({ remaining }) => remaining)).toEqual(ids.map((_, i) => 100 - i));
  for (const node of cluster.nodes) {
    expect(await node.keysWithoutTtl()).toEqual([]);
  }
});
