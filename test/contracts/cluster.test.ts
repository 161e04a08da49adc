import { startRelay } from 'distributed-rate-limiter/testing';
import type { Faults, Relay } from 'distributed-rate-limiter/testing';
import { Cluster, Redis } from 'ioredis';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import { startCluster } from '../kit/index.mjs';
import { declareClient, declareStore } from './subjects.ts';

type Kit = Awaited<ReturnType<typeof startCluster>>;

/** One relay for each node, and all of them as one fault. */
async function relaysOf(cluster: Kit): Promise<{
  faults: Faults;
  addresses: Record<string, { host: string; port: number }>;
  close: () => Promise<void>;
}> {
  const relays = await Promise.all(cluster.nodes.map((node) => startRelay(node)));
  const all = (act: (relay: Relay) => unknown) => () => Promise.all(relays.map(act));
  return {
    faults: {
      lose: all((relay) => relay.lose()),
      stall: all((relay) => relay.stall()),
      restore: all((relay) => relay.restore()),
    },
    addresses: Object.fromEntries(
      cluster.nodes.map(({ host, port }, i) => [
        `${host}:${port}`,
        { host: relays[i]!.host, port: relays[i]!.port },
      ]),
    ),
    close: async () => {
      await all((relay) => relay.close())();
    },
  };
}

describe('a cluster of three', () => {
  let cluster: Kit;
  let relays: Awaited<ReturnType<typeof relaysOf>>;
  let ioredis: Cluster;
  let nodeRedis: ReturnType<typeof nodeRedisCluster>;

  function nodeRedisCluster(nodeAddressMap?: Record<string, { host: string; port: number }>) {
    return createCluster({
      rootNodes: cluster.addresses.map((socket) => ({
        socket: nodeAddressMap?.[`${socket.host}:${socket.port}`] ?? socket,
      })),
      ...(nodeAddressMap && { nodeAddressMap }),
    }).on('error', () => {});
  }

  beforeAll(async () => {
    cluster = await startCluster();
    relays = await relaysOf(cluster);
    ioredis = new Cluster(cluster.addresses, { redisOptions: { maxRetriesPerRequest: 0 } });
    nodeRedis = nodeRedisCluster();
    await nodeRedis.connect();
  });
  afterAll(async () => {
    ioredis.disconnect();
    nodeRedis.destroy();
    await relays.close();
    await cluster.close();
  });

  declareStore('a URL and cluster: true', () => ({ redis: cluster.nodes[1]!.url, cluster: true }));
  declareStore('ioredis', () => ({ redis: ioredis }));
  declareStore('node-redis', () => ({ redis: nodeRedis }));

  declareClient('ioredis', () => ({
    open: () => {
      const made = new Cluster(Object.values(relays.addresses), {
        natMap: relays.addresses,
        redisOptions: { maxRetriesPerRequest: 0 },
      });
      made.on('error', () => {});
      return { redis: made, close: () => made.disconnect() };
    },
    faults: relays.faults,
  }));

  // A command that is written at the moment of the loss leaves the node's client closed for good, while the
  // cluster's client goes on to say that it is ready. Neither its settings nor ours change that.
  const lost = 'node-redis 6.3 does not connect to a node again after that';
  declareClient(
    'node-redis',
    () => ({
      open: async () => {
        const made = nodeRedisCluster(relays.addresses);
        await made.connect();
        return { redis: made, close: () => made.destroy() };
      },
      faults: relays.faults,
    }),
    {
      'says away when the connection is lost, and ready when it is back': lost,
      'a send that is under way when the connection is lost does not hang for ever': lost,
      'no decision outlasts its deadline when the server goes away meanwhile': lost,
    },
  );
});

describe('a cluster behind what looks like a single server', () => {
  let cluster: Kit;
  let client: Redis;

  beforeAll(async () => {
    cluster = await startCluster({ primaries: 1 });
    client = new Redis(cluster.nodes[0]!.port, { maxRetriesPerRequest: 0 });
  });
  afterAll(async () => {
    client.disconnect();
    await cluster.close();
  });

  declareStore('a plain client', () => ({ redis: client }));
  declareStore('a URL', () => ({ redis: cluster.nodes[0]!.url }));

  test('CROSSSLOT is met once and remembered: then one call for each slot', async () => {
    const own = new Redis(cluster.nodes[0]!.port, { maxRetriesPerRequest: 0 });
    const limiter = new RateLimiter({ redis: own, rate: 2, period: '1h', namespace: 'crossslot' });
    await limiter.ready();
    const turn = (): ReturnType<typeof Promise.all<Promise<{ allowed: boolean }>[]>> =>
      Promise.all(Array.from({ length: 20 }, (_, i) => limiter.allow(`user:${i}`)));
    const calls = async (): Promise<{ calls: number; rejected: number }> => {
      const { calls: ran = 0, rejected = 0 } =
        (await cluster.nodes[0]!.commandStats())['evalsha'] ?? {};
      return { calls: ran, rejected };
    };

    const before = await calls();
    expect((await turn()).map(({ allowed }) => allowed)).toEqual(Array(20).fill(true));
    const first = await calls();
    expect((await turn()).map(({ allowed }) => allowed)).toEqual(Array(20).fill(true));
    const second = await calls();
    expect((await turn()).map(({ allowed }) => allowed)).toEqual(Array(20).fill(false));
    const third = await calls();
    own.disconnect();

    const growth = [first, second, third].map(({ calls: ran, rejected }, i) => {
      const earlier = [before, first, second][i]!;
      return { ran: ran - earlier.calls, rejected: rejected - earlier.rejected };
    });
    // Twenty identities in twenty slots, as it happens for these names.
    expect(growth).toEqual([
      { ran: 20, rejected: 1 },
      { ran: 20, rejected: 0 },
      { ran: 20, rejected: 0 },
    ]);
  });
});
