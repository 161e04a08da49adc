import { Cluster } from 'ioredis';
import { Registry } from 'prom-client';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import type { RedisClient } from 'distributed-rate-limiter';
import { prometheusMetrics } from 'distributed-rate-limiter/prometheus';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import {
  glideSettings,
  ioredisClusterSettings,
  nodeRedisSettings,
} from '../contracts/recommended.ts';
import { slotOfKey, startCluster, waitUntil } from '../../kit/servers/index.mjs';
import { digestIdentity } from '../../../src/base/identity.ts';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { readExposition } from './exposition.ts';

const { GlideClusterClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs every error to the console

describe('a primary that hangs and loses its slots to its replica', () => {
  collectWarnings();
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  beforeAll(async () => {
    cluster = await startCluster({ replicas: 1 });
  });
  afterAll(() => cluster.close());

  /** Each test has a primary of its own to kill. */
  const clients = [
    [
      'ioredis',
      0,
      async () => {
        const client = new Cluster(cluster.addresses, ioredisClusterSettings);
        client.on('error', () => {});
        return { redis: client, close: () => client.disconnect() };
      },
    ],
    [
      'node-redis',
      1,
      async () => {
        const client = createCluster({
          rootNodes: cluster.addresses.map((socket) => ({ socket })),
          defaults: nodeRedisSettings,
        });
        client.on('error', () => {});
        await client.connect();
        return { redis: client as RedisClient, close: () => endNodeRedis(client) };
      },
    ],
    [
      'valkey-glide',
      2,
      async () => {
        const settings = { ...glideSettings, addresses: cluster.addresses };
        const client = await GlideClusterClient.createClient(settings);
        return { redis: client as RedisClient, close: () => client.close() };
      },
    ],
  ] as const;

  test.each(clients)(
    'the metrics of %s drop its node and do not report it as hung',
    async (_, shard, open) => {
      const primary = cluster.nodes[shard]!;
      const replica = cluster.nodes[shard + 3]!;
      const { redis, close } = await open();
      const namespace = `nodes-${shard}`;
      const limiter = new RateLimiter({ redis, namespace, rate: 9, period: '1h', timeoutMs: 150 });
      const ownerOf = (identity: string) =>
        cluster.nodeOfSlot(
          slotOfKey(`${namespace}:token_bucket:${digestIdentity(identity, undefined)}`),
        );
      let identity = '';
      for (let i = 0; identity === ''; i++) {
        if ((await ownerOf(`user:${i}`)) === primary) identity = `user:${i}`;
      }
      const register = new Registry();
      const stop = prometheusMetrics({ register, limiters: [limiter] });
      const nodes = async (): Promise<Record<string, number>> =>
        Object.fromEntries(
          [...readExposition(await register.metrics())].flatMap(([key, value]) => {
            const node = /^drl_store_hung\{node="([^"]+)"/.exec(key)?.[1];
            return node === undefined ? [] : [[node, value]];
          }),
        );
      const [gone, heir] = [primary, replica].map(({ port }) => `127.0.0.1:${port}`);

      await waitUntil('a real decision', async () => !(await limiter.allow(identity)).degraded);
      await limiter.allow(identity); // the first call may have been made before its node was known
      expect(await nodes()).toMatchObject({ [gone!]: 0 });
      await primary.stop();
      await waitUntil('the hang to be seen', async () => {
        await limiter.allow(identity);
        return (await nodes())[gone!] === 1;
      });
      await replica.command('CLUSTER', 'FAILOVER', 'TAKEOVER');
      await primary.kill();
      await waitUntil(
        'the heir to be asked',
        async () => {
          const { degraded } = await limiter.peek(identity);
          return !degraded && (await nodes())[heir!] === 0;
        },
        { timeoutMs: 60_000 },
      );
      const shown = await nodes();
      expect(Object.keys(shown)).not.toContain(gone);
      stop();
      close();
    },
  );
});
