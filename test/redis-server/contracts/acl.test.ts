import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { Cluster, Redis } from 'ioredis';
import { createClient, createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  RateLimiter,
  concurrency,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { startCluster, startRedis } from '../../kit/servers/index.mjs';
import { CLUSTER, LINE, LOGIN as login, SORTED_SETS } from './acl-lines.ts';
import { declareClient, declareStore } from './subjects.ts';

test('SECURITY.md shows the ACL lines tested here', () => {
  expect(LINE).toContain('~contract-* ~{contract-* -@all +eval +evalsha');
  expect(SORTED_SETS).toContain('+zadd');
  expect(CLUSTER).toContain('+cluster|slots');
});

describe('a user with the rights of SECURITY.md', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let relay: Relay;
  let ioredis: Redis;
  let nodeRedis: ReturnType<typeof createClient>;

  beforeAll(async () => {
    redis = await startRedis({ users: ['default off', LINE] });
    relay = await startRelay(redis);
    ioredis = new Redis({ port: redis.port, ...login, maxRetriesPerRequest: 0 });
    nodeRedis = createClient({ socket: { port: redis.port }, ...login });
    await nodeRedis.on('error', () => {}).connect();
  });
  afterAll(async () => {
    ioredis.disconnect();
    nodeRedis.destroy();
    await relay.close();
    await redis.close();
  });

  declareStore('ioredis', () => ({ redis: ioredis }));
  declareStore('node-redis', () => ({ redis: nodeRedis }));
  declareStore('a URL', () => ({ redis: `redis://limiter:password@127.0.0.1:${redis.port}` }));

  // The case's own scripts use INCR and PEXPIRE, which no limit uses.
  describe("with INCR and PEXPIRE for the contract's own scripts", () => {
    beforeAll(() => redis.command('ACL', 'SETUSER', 'limiter', '+incr', '+pexpire'));
    afterAll(() => redis.command('ACL', 'SETUSER', 'limiter', '-incr', '-pexpire'));
    declareClient('ioredis', () => ({
      open: () => {
        const made = new Redis({ ...login, port: relay.port, maxRetriesPerRequest: 0 });
        made.on('error', () => {});
        return { redis: made, close: () => made.disconnect() };
      },
      faults: relay,
    }));
  });

  test('every algorithm works, those on sorted sets with their added rights', async () => {
    const limits = {
      plain: [
        tokenBucket({ rate: 1, period: '1h' }),
        slidingWindow({ name: 'window', rate: 2, period: '1h' }),
        fixedWindow({ name: 'quota', rate: 3, period: '1h' }),
      ],
      sorted: [slidingWindowLog({ rate: 1, period: '1h' })],
    };
    const make = (chosen: readonly Limit[]): RateLimiter =>
      new RateLimiter({
        redis: ioredis,
        namespace: 'contract-acl',
        limits: chosen,
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
    const plain = make(limits.plain);
    await plain.ready();
    expect((await plain.allow('user')).allowed).toBe(true);
    expect((await plain.allow('user')).reason).toBe('limited');

    const log = make(limits.sorted);
    await expect(log.allow('user')).rejects.toMatchObject({ message: /NOPERM/ });
    await redis.command('ACL', 'SETUSER', 'limiter', ...SORTED_SETS);
    expect((await log.allow('user')).allowed).toBe(true);
    expect((await log.allow('user')).reason).toBe('limited');
    const places = make([concurrency({ max: 1, ttl: '10s' })]);
    const lease = await places.acquire('user');
    expect(lease.allowed).toBe(true);
    expect((await places.acquire('user')).allowed).toBe(false);
    expect(await lease.renew()).toBe(true);
    await lease.release();
    const again = await places.acquire('user');
    expect(again.allowed).toBe(true);
    await again.release();
  });

  test('limiters send no INFO, which the user may not run', async () => {
    await redis.command('CONFIG', 'RESETSTAT');
    const bare = new Redis({ ...login, port: redis.port, enableReadyCheck: false });
    try {
      for (const client of [bare, nodeRedis]) {
        const limiter = new RateLimiter({
          redis: client,
          namespace: 'contract-info',
          rate: 1,
          period: '1h',
          failStrategy: 'throw',
          timeoutMs: 10_000,
        });
        await limiter.ready();
        expect((await limiter.allow('user')).allowed).toBe(true);
        expect((await limiter.allow('user')).allowed).toBe(false);
        await limiter.reset('user');
      }
      const sent = await redis.commandStats();
      expect(Object.keys(sent)).toContain('evalsha');
      // The kit itself asks by INFO for these counts.
      expect(sent['info']?.rejected ?? 0).toBe(0);
    } finally {
      bare.disconnect();
    }
  });

  test.each([
    [['GET', 'elsewhere:key']],
    [['EVAL', "return redis.call('GET', KEYS[1])", '1', 'elsewhere:key']],
    [['EVAL', "return redis.call('KEYS', '*')", '0']],
    [['FLUSHALL']],
    [['CONFIG', 'GET', '*']],
    [['KEYS', '*']],
    [['ACL', 'LIST']],
    [['SCRIPT', 'FLUSH']],
  ])('the user may not run %j', async ([command, ...args]) => {
    await expect(ioredis.call(command!, ...args)).rejects.toThrow(
      /NOPERM|can't run this command|no permissions to run/,
    );
  });
});

describe('a user of a cluster', () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let ioredis: Cluster;
  let nodeRedis: ReturnType<typeof createCluster>;

  beforeAll(async () => {
    cluster = await startCluster({ node: { users: [`${LINE} ${CLUSTER.join(' ')}`] } });
    await Promise.all(
      cluster.nodes.map((node) => node.command('ACL', 'SETUSER', 'default', 'off')),
    );
    ioredis = new Cluster(cluster.addresses, {
      redisOptions: { ...login, maxRetriesPerRequest: 0 },
    });
    ioredis.on('error', () => {});
    nodeRedis = createCluster({
      rootNodes: cluster.addresses.map((socket) => ({ socket })),
      defaults: login,
    });
    await nodeRedis.on('error', () => {}).connect();
  });
  afterAll(async () => {
    ioredis.disconnect();
    nodeRedis.destroy();
    await cluster.close();
  });

  declareStore('ioredis', () => ({ redis: ioredis }));
  declareStore('node-redis', () => ({ redis: nodeRedis }));
});
