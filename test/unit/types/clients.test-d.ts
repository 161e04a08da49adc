import { expectTypeOf, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import type { RedisClient, RedisPort } from 'distributed-rate-limiter';
import { Cluster, Redis } from 'ioredis';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';
import type { RedisClientType, RedisClusterType } from 'redis';

const limits = { rate: 100, period: '1m' } as const;

test('accepts clients of ioredis without a cast', () => {
  const redis = new Redis();
  const sentinel = new Redis({
    sentinels: [{ host: 'localhost', port: 26_379 }],
    name: 'mymaster',
  });
  const cluster = new Cluster([{ host: 'localhost', port: 6379 }]);
  void new RateLimiter({ redis, ...limits });
  void new RateLimiter({ redis: sentinel, ...limits });
  void new RateLimiter({ redis: cluster, ...limits });
  void new RateLimiter({ redis: new Redis.Cluster([]), ...limits });
  expectTypeOf(redis).toExtend<RedisClient>();
  expectTypeOf(cluster).toExtend<RedisClient>();
});

test('accepts clients of node-redis without a cast', async () => {
  const client = createClient();
  const connected = await createClient({ url: 'redis://localhost' }).connect();
  const listening = createClient().on('error', () => {});
  const resp3 = createClient({ RESP: 3 });
  const cluster = createCluster({ rootNodes: [{ url: 'redis://localhost' }] });
  void new RateLimiter({ redis: client, ...limits });
  void new RateLimiter({ redis: connected, ...limits });
  void new RateLimiter({ redis: listening, ...limits });
  void new RateLimiter({ redis: resp3, ...limits });
  void new RateLimiter({ redis: cluster, ...limits });
  void new RateLimiter({ redis: createClientPool(), ...limits });
  void new RateLimiter({ redis: createSentinel({ name: 'a', sentinelRootNodes: [] }), ...limits });
  expectTypeOf(client).toExtend<RedisClient>();
  expectTypeOf(cluster).toExtend<RedisClient>();
});

test('accepts clients by their own named types', () => {
  const use = (plain: RedisClientType, cluster: RedisClusterType): void => {
    void new RateLimiter({ redis: plain, ...limits });
    void new RateLimiter({ redis: cluster, ...limits });
  };
  expectTypeOf(use).parameters.toExtend<[RedisClient, RedisClient]>();
});

test('rejects values that are no client', () => {
  const pipeline = new Redis().pipeline();
  expectTypeOf(pipeline).not.toExtend<RedisClient>();
  // @ts-expect-error a pipeline answers elsewhere
  void new RateLimiter({ redis: pipeline, ...limits });
  // @ts-expect-error a transaction answers elsewhere
  void new RateLimiter({ redis: createClient().multi(), ...limits });
  // @ts-expect-error a promise of a client
  void new RateLimiter({ redis: createClient().connect(), ...limits });
  // @ts-expect-error the class, not a client
  void new RateLimiter({ redis: Redis, ...limits });
});

test('accepts a port', () => {
  const port: RedisPort = {
    state: 'ready',
    onStateChange: (listener) => void listener,
    send: (command, args, key) => Promise.resolve([command, ...args, key]),
    isReply: (error) => error instanceof Error,
  };
  void new RateLimiter({ redis: port, ...limits });
  expectTypeOf<RedisPort>().toExtend<RedisClient>();
  const broken = {
    state: 'ready',
    onStateChange: () => {},
    send: () => Promise.resolve(),
  } as const;
  // @ts-expect-error it must tell an answer from an opinion
  void new RateLimiter({ redis: broken, ...limits });
  // @ts-expect-error there is no such state
  void new RateLimiter({ redis: { ...port, state: 'up' }, ...limits });
});
