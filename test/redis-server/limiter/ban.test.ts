import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  RateLimiter,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import type { RateLimiterSync as FromSources } from 'distributed-rate-limiter/sync';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

// Imports the build: Node 20 runs no worker written in TypeScript. A variable, because the types come from the sources.
const built = new URL('../../../dist/sync/index.js', import.meta.url).href;
const { RateLimiterSync }: { RateLimiterSync: typeof FromSources } = await import(built);

const HOUR_MS = 3_600_000;
const BAN = { after: 2, within: '1h', for: '2h' } as const;

let server: RedisServer;
let cluster: RedisServer;
let client: Redis;
let ofCluster: Redis;
let made = 0;

beforeAll(async () => {
  [server, cluster] = await Promise.all([
    startRedis(),
    startRedis({ config: { 'cluster-enabled': 'yes' } }),
  ]);
  await cluster.command('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await waitUntil('the cluster of one', async () =>
    String(await cluster.command('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  );
  client = new Redis({ host: '127.0.0.1', port: server.port, maxRetriesPerRequest: 0 });
  ofCluster = new Redis({ host: '127.0.0.1', port: cluster.port, maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  ofCluster.disconnect();
  await Promise.all([server.close(), cluster.close()]);
});
beforeEach(async () => {
  await server.command('FLUSHALL');
});

function limiterOn<By extends string>(redis: Redis, limits: readonly Limit<string, By>[]) {
  made += 1;
  const options = { redis, namespace: `ban${made}`, limits, blocks: true, timeoutMs: 5_000 };
  return new RateLimiter<By>(options);
}

describe('a ban on Redis', () => {
  test('is counted in the home of the identity, blocks by the key of a block, and both expire', async () => {
    const limiter = limiterOn(client, [tokenBucket({ rate: 1, period: '1h', ban: BAN })]);
    await limiter.allow('id');
    const [home] = (await server.command('KEYS', '*')) as string[];
    expect(await server.command('GET', home!)).toMatch(/^\d+$/);
    await limiter.allow('id');
    expect(await server.command('GET', home!)).toMatch(/^;=t\d+;=b\d+:0:0:0:\d+$/);
    expect(await limiter.allow('id')).toMatchObject({ bannedForMs: 2 * HOUR_MS });
    const keys = (await server.command('KEYS', '*')) as string[];
    expect(new Set(keys)).toEqual(new Set([home, `{${home}}#block`]));
    const ttls = await Promise.all(
      [home!, `{${home}}#block`].map((key) => server.command('PTTL', key)),
    );
    // Remembered for its length and `within` after its end.
    expect((ttls[0] as number) / HOUR_MS).toBeCloseTo(5, 2);
    expect((ttls[1] as number) / HOUR_MS).toBeCloseTo(2, 2);
    await limiter.reset('id');
    await limiter.unblock('id');
    expect(await server.command('GET', home!)).toMatch(/^\d+:v1:/); // remembers the reset of its bucket
  });

  test.each([
    ['a log', slidingWindowLog({ rate: 1, period: '1h', ban: BAN })],
    ['a concurrency limit', concurrency({ max: 1, ttl: '1h', ban: BAN })],
  ])('may belong to %s, whose state is a key of its own', async (_, limit) => {
    const limiter = limiterOn(client, [limit]);
    const call = () =>
      limit.algorithm === 'concurrency' ? limiter.acquire('id') : limiter.allow('id');
    const reasons = [];
    for (let i = 0; i < 4; i++) reasons.push((await call()).reason);
    expect(reasons).toEqual(['within_limit', 'limited', 'limited', 'blocked']);
    const ttls = (await server.command('KEYS', '*')) as string[];
    for (const key of ttls) expect(await server.command('PTTL', key)).toBeGreaterThan(0);
    expect(ttls).toHaveLength(3);
  });

  test('is shared by limiters, and by calls of one batch', async () => {
    const limits = [fixedWindow({ rate: 1, period: 'year', ban: { ...BAN, after: 20 } })];
    const one = limiterOn(client, limits);
    const other = new RateLimiter({
      redis: server.url,
      namespace: `ban${made}`,
      limits,
      blocks: true,
      timeoutMs: 5_000,
    });
    const decisions = await Promise.all(
      Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? one : other).allow('id')),
    );
    const count = (reason: string) => decisions.filter((each) => each.reason === reason).length;
    expect([count('within_limit'), count('limited'), count('blocked')]).toEqual([1, 20, 39]);
    expect(decisions.filter((each) => 'bannedForMs' in each)).toHaveLength(1);
    await other.close();
  });

  test('counts each refusal once when a batch is resent with the text of the script', async () => {
    const limiter = limiterOn(client, [
      tokenBucket({ rate: 1, period: '1h', ban: { ...BAN, after: 8 } }),
    ]);
    await limiter.allow('id');
    for (let i = 0; i < 3; i++) {
      await server.command('SCRIPT', 'FLUSH');
      const both = await Promise.all([limiter.allow('id'), limiter.allow('id')]);
      expect(both.map(({ reason }) => reason)).toEqual(['limited', 'limited']);
    }
    expect(await limiter.allow('id')).not.toHaveProperty('bannedForMs');
    expect(await limiter.allow('id')).toHaveProperty('bannedForMs');
  });

  test('keeps to one slot of a cluster, and blocks the home that refused', async () => {
    const limiter = limiterOn(ofCluster, [
      tokenBucket({ name: 'org', by: 'org', rate: 9, period: '1h' }),
      tokenBucket({ name: 'key', by: ['org', 'key'], rate: 1, period: '1h', ban: BAN }),
    ]);
    const call = (key: string) => limiter.allow({ org: 'acme', key });
    for (let i = 0; i < 3; i++) await call('one');
    expect((await call('one')).reason).toBe('blocked');
    expect((await call('two')).reason).toBe('within_limit');
  });

  test('that could not be written fails the call that would have started it', async () => {
    const limiter = limiterOn(client, [tokenBucket({ rate: 1, period: '1h', ban: BAN })]);
    await limiter.allow('id');
    await limiter.allow('id');
    const before = await server.command(
      'DUMP',
      ((await server.command('KEYS', '*')) as string[])[0]!,
    );
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    expect(await limiter.allow('id')).toMatchObject({ degraded: true, reason: 'store_error' });
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    const keys = (await server.command('KEYS', '*')) as string[];
    expect(keys).toHaveLength(1);
    expect(await server.command('DUMP', keys[0]!)).toEqual(before);
    expect(await limiter.allow('id')).toHaveProperty('bannedForMs');
  });

  test('works in the synchronous limiter', () => {
    const limiter = new RateLimiterSync({
      redis: server.url,
      namespace: 'sync',
      blocks: true,
      timeoutMs: 5_000,
      limits: [{ rate: 1, period: '1h', ban: BAN }],
    });
    const decisions = [1, 2, 3, 4].map(() => limiter.allow('id'));
    expect(decisions.map(({ reason }) => reason)).toEqual([
      'within_limit',
      'limited',
      'limited',
      'blocked',
    ]);
    expect(decisions[2]).toMatchObject({ bannedForMs: 2 * HOUR_MS, retryAfterMs: 2 * HOUR_MS });
    limiter.close();
  });
});
