import { Cluster, Redis } from 'ioredis';
import { createClient, createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fixedWindow, RateLimiter, slidingWindowLog, tokenBucket } from 'distributed-rate-limiter';
import type { Limit, RedisClient } from 'distributed-rate-limiter';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startCluster } from '../../kit/servers/index.mjs';
import { UNREACHED_MS } from './subjects.ts';

const { GlideClient, GlideClusterClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs every error to the console

type AnyLimits = readonly Limit<string, string>[];

const hour = { period: '1h' } as const;
const APART: AnyLimits = [
  tokenBucket({ name: 'org', by: 'org', rate: 5, ...hour }),
  tokenBucket({ name: 'ip', by: 'ip', rate: 5, ...hour }),
];
const TOGETHER: AnyLimits = [
  tokenBucket({ name: 'org', by: 'org', rate: 5, ...hour }),
  fixedWindow({ name: 'ip', by: ['org', 'ip'], rate: 5, ...hour }),
  slidingWindowLog({ name: 'log', by: ['org', 'key'], rate: 5, ...hour }),
];
const NAMED =
  /^`limits` must have a part of the identity in common on a Redis Cluster, .* the limit "org" counts by org and the limit "ip" by ip\. Add a common part/;

let cluster: Awaited<ReturnType<typeof startCluster>>;
let made = 0;
const open: (() => unknown)[] = [];
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await Promise.all(open.map((close) => close()));
  await cluster.close();
});

function limiterOn(
  redis: RedisClient,
  limits: AnyLimits,
  options: object = {},
): RateLimiter<string> {
  const namespace = `slots-${++made}`;
  const given = { redis, namespace, timeoutMs: UNREACHED_MS, ...options, limits };
  return new RateLimiter(given);
}

function ioredisCluster(Library: typeof Cluster): Promise<RedisClient> {
  const client = new Library(cluster.addresses, { redisOptions: { maxRetriesPerRequest: 0 } });
  open.push(() => client.disconnect());
  return Promise.resolve(client);
}

async function nodeRedisCluster(create: typeof createCluster): Promise<RedisClient> {
  const client = create({ rootNodes: cluster.addresses.map((socket) => ({ socket })) });
  client.on('error', () => {});
  await client.connect();
  open.push(() => endNodeRedis(client));
  return client;
}

async function nodeRedis(create: typeof createClient): Promise<RedisClient> {
  const client = create({ socket: cluster.addresses[0]! }).on('error', () => {});
  await client.connect();
  open.push(() => endNodeRedis(client));
  return client;
}

const clients: [name: string, ofCluster: () => Promise<RedisClient>][] = [
  ['ioredis 6', () => ioredisCluster(Cluster)],
  ['ioredis 5', () => ioredisCluster(loadClient('ioredis-5').Cluster)],
  ['iovalkey', () => ioredisCluster(loadClient('iovalkey').Cluster)],
  ['node-redis 6', () => nodeRedisCluster(createCluster)],
  ['node-redis 5', () => nodeRedisCluster(loadClient('redis-5').createCluster)],
  ['node-redis 4', () => nodeRedisCluster(loadClient('redis-4').createCluster)],
  [
    'valkey-glide',
    async () => {
      const { addresses } = cluster;
      const client = await GlideClusterClient.createClient({
        addresses,
        requestTimeout: UNREACHED_MS,
      });
      open.push(() => client.close());
      return client;
    },
  ],
];

const plainClients: [name: string, ofNode: () => Promise<RedisClient>][] = [
  [
    'ioredis 6',
    async () => {
      const client = new Redis(cluster.nodes[0]!.port, { maxRetriesPerRequest: 0 });
      open.push(() => client.disconnect());
      return client;
    },
  ],
  ['node-redis 6', () => nodeRedis(createClient)],
  ['node-redis 5', () => nodeRedis(loadClient('redis-5').createClient)],
  ['node-redis 4', () => nodeRedis(loadClient('redis-4').createClient)],
  [
    'valkey-glide',
    async () => {
      const addresses = [cluster.addresses[0]!];
      const client = await GlideClient.createClient({ addresses, requestTimeout: UNREACHED_MS });
      open.push(() => client.close());
      return client;
    },
  ],
];

describe.each(clients)('a cluster client of %s', (_, make) => {
  test('refuses limits without a common part when the limiter is made, and names two', async () => {
    const client = await make();
    expect(() => limiterOn(client, APART)).toThrow(NAMED);
    expect(() => limiterOn(client, TOGETHER, { tagBy: [] })).toThrow(
      'the limit "org" counts by org',
    );
  });

  test('decides limits with a common part in one slot, on every node', async () => {
    const limiter = limiterOn(await make(), TOGETHER, { blocks: true, failStrategy: 'throw' });
    for (let org = 0; org < 12; org++) {
      const identity = { org, ip: '::1', key: 'k' };
      const { limits } = await limiter.allow(identity, { cost: 2 });
      expect(limits.map(({ remaining }) => remaining)).toEqual([3, 3, 3]);
      const held = await limiter.reserve(identity, { cost: 2, ttl: '1m' });
      expect(await held.settle(1)).toMatchObject({ charged: 1 });
    }
    await limiter.block({ org: 5, ip: '::1' }, '1m');
    expect(await limiter.allow({ org: 5, ip: '::1', key: 'k' })).toMatchObject({
      reason: 'blocked',
    });
  });

  test('refuses a plan that does not count by the part in the hash tag', async () => {
    const limiter = limiterOn(await make(), [APART[0]!], { failStrategy: 'throw' });
    await expect(limiter.allow({ org: 1, ip: 1 }, { limits: APART })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
    });
  });
});

describe.each(plainClients)('a plain client of %s on a node of a cluster', (_, make) => {
  test.each(['open', 'closed', 'throw'])(
    'names two limits at the first CROSSSLOT under failStrategy %s',
    async (failStrategy) => {
      const limiter = limiterOn(await make(), APART, { failStrategy });
      for (let i = 0; i < 3; i++) {
        await expect(limiter.allow({ org: 'a', ip: i })).rejects.toMatchObject({
          code: 'ERR_INVALID_OPTION',
          message: expect.stringMatching(NAMED),
        });
      }
      await expect(limiter.reserve({ org: 'a', ip: 1 }, { ttl: '1m' })).rejects.toMatchObject({
        code: 'ERR_INVALID_OPTION',
      });
    },
  );
});
