import { randomUUID } from 'node:crypto';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Faults, Relay } from 'distributed-rate-limiter/testing';
import { Cluster, Redis } from 'ioredis';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter, StoreError, tokenBucket } from 'distributed-rate-limiter';
import { digestIdentity } from '../../src/identity.ts';
import { slotOfKey, startCluster } from '../kit/index.mjs';
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

  describe.each([
    ['ioredis', () => ioredis],
    ['node-redis', () => nodeRedis],
  ])('several limits of one identity, with %s, while their slot moves', (name, client) => {
    const limits = [
      tokenBucket({ name: 'narrow', rate: 3, period: '365d' }),
      tokenBucket({ name: 'wide', rate: 5, period: '365d' }),
    ];
    const keyOf = (namespace: string, identity: string): string =>
      `${namespace}:limits:${digestIdentity(identity, undefined)}`;

    test('all or nothing, before, in the middle and after', async () => {
      const namespace = `moving-${randomUUID()}`;
      const limiter = new RateLimiter({
        redis: client(),
        namespace,
        limits,
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
      const slot = slotOfKey(keyOf(namespace, 'known'));
      // One that shares the slot, and has no state yet.
      let fresh = 'fresh';
      for (let i = 0; slotOfKey(keyOf(namespace, fresh)) !== slot; i++) fresh = `fresh-${i}`;
      const from = await cluster.nodeOfSlot(slot);
      const to = cluster.nodes.find((node) => node !== from)!;
      const states = async (identity: string): Promise<unknown> => {
        const { allowed, limits: each } = await limiter.allow(identity);
        return [allowed, ...each.map(({ remaining }) => remaining)];
      };

      expect(await states('known')).toEqual([true, 2, 4]);
      let meanwhile: Promise<unknown> | undefined;
      await cluster.moveSlot(slot, from, to, {
        during: async () => {
          expect(await states('known')).toEqual([true, 1, 3]);
          // Keys that are nowhere: the new node says TRYAGAIN until the slot is its own.
          meanwhile = states(fresh).catch((error: unknown) => error);
          await new Promise((resolve) => setTimeout(resolve, 50));
        },
      });
      const first = await meanwhile;
      if (first instanceof StoreError) expect(first.message).toBe('Redis refused: TRYAGAIN');
      else expect(first).toEqual([true, 2, 4]);
      expect(await states('known')).toEqual([true, 0, 2]);
      // A refusal charges the other limit nothing.
      expect(await states('known')).toEqual([false, 0, 2]);
      expect(await states(fresh)).toEqual(
        first instanceof StoreError ? [true, 2, 4] : [true, 1, 3],
      );
      console.log(`${name}: keys that are nowhere while their slot moves: ${String(first)}`);
    });
  });

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
