import { createHash } from 'node:crypto';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Faults, Relay } from 'distributed-rate-limiter/testing';
import { Cluster as IoredisCluster, Redis } from 'ioredis';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import type { Glide } from '../../installs/clients/index.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startCluster, waitUntil } from '../../kit/servers/index.mjs';
import { UNREACHED_MS, declareClient, declareStore } from './subjects.ts';

const { GlideClusterClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs every error to the console

type Kit = Awaited<ReturnType<typeof startCluster>>;

/** One proxy for each node; a fault applies to all of them. */
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

  beforeAll(async () => {
    cluster = await startCluster();
    relays = await relaysOf(cluster);
  });
  afterAll(async () => {
    await relays.close();
    await cluster.close();
  });

  declareStore('a URL and cluster: true', () => ({ redis: cluster.nodes[1]!.url, cluster: true }));

  describe.each([
    ['ioredis 6', IoredisCluster],
    ['ioredis 5', loadClient('ioredis-5').Cluster],
    ['iovalkey', loadClient('iovalkey').Cluster],
  ] as const)('%s', (_version, Cluster) => {
    let client: IoredisCluster;
    beforeAll(() => {
      client = new Cluster(cluster.addresses, { redisOptions: { maxRetriesPerRequest: 0 } });
    });
    afterAll(() => client.disconnect());

    declareStore('a client', () => ({ redis: client }));
    declareClient('a client', () => ({
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
  });

  // If a command is written at the moment of the loss, the node's client stays closed for good. The cluster's client
  // still reports `ready`. No setting of the client or of this library changes that.
  const lost = 'node-redis does not connect to a node again after that';

  describe.each([
    ['node-redis 6', createCluster],
    ['node-redis 5', loadClient('redis-5').createCluster],
    ['node-redis 4', loadClient('redis-4').createCluster],
  ] as const)('%s', (_version, create) => {
    let client: ReturnType<typeof clientOf>;
    function clientOf(nodeAddressMap?: Record<string, { host: string; port: number }>) {
      return create({
        rootNodes: cluster.addresses.map((socket) => ({
          socket: nodeAddressMap?.[`${socket.host}:${socket.port}`] ?? socket,
        })),
        ...(nodeAddressMap && { nodeAddressMap }),
      }).on('error', () => {});
    }
    beforeAll(async () => {
      client = clientOf();
      await client.connect();
    });
    afterAll(() => endNodeRedis(client));

    declareStore('a client', () => ({ redis: client }));
    declareClient(
      'a client',
      () => ({
        open: async () => {
          const made = clientOf(relays.addresses);
          await made.connect();
          return { redis: made, close: () => endNodeRedis(made) };
        },
        faults: relays.faults,
      }),
      {
        'reports away when the connection is lost, and ready when it is back': lost,
        'a send under way when the connection is lost settles': lost,
        'every decision meets its deadline when the server goes away during the call': lost,
      },
    );
  });

  describe('valkey-glide', () => {
    let client: Glide;
    beforeAll(async () => {
      client = await GlideClusterClient.createClient({
        addresses: cluster.addresses,
        requestTimeout: UNREACHED_MS,
      });
    });
    afterAll(() => client.close());

    declareStore('a client', () => ({ redis: client }));
    test('a silent node does not affect the slots of the others', async () => {
      const [, , silent] = cluster.nodes;
      const identities = { silent: [] as string[], others: [] as string[] };
      for (let i = 0; i < 30; i++) {
        const digest = createHash('sha256').update(`user:${i}`).digest('hex');
        const node = await cluster.nodeOfKey(`silent:token_bucket:${digest}`);
        identities[node === silent ? 'silent' : 'others'].push(`user:${i}`);
      }
      const limiter = new RateLimiter({
        redis: client,
        namespace: 'silent',
        rate: 100,
        period: '1h',
      });
      const ask = async (who: readonly string[]): Promise<unknown> =>
        new Set((await Promise.all(who.map((id) => limiter.allow(id)))).map((d) => d.degraded));
      await limiter.ready();
      await silent!.stop();
      for (let round = 0; round < 3; round++) {
        const [one, others] = await Promise.all([ask(identities.silent), ask(identities.others)]);
        expect({ one, others }).toEqual({ one: new Set([true]), others: new Set([false]) });
      }
      await silent!.cont();
      await waitUntil(
        'all of it',
        async () => !(await limiter.peek(identities.silent[0]!)).degraded,
      );
    });

    declareClient(
      'a client',
      () => ({
        open: async () => {
          const made = await GlideClusterClient.createClient({
            addresses: Object.values(relays.addresses),
            addressResolver: (host, port) => {
              const address = relays.addresses[`${host}:${port}`];
              return address ? [address.host, address.port] : [host, port];
            },
          });
          return { redis: made, close: () => made.close() };
        },
        faults: relays.faults,
      }),
      {
        'the server runs calls in the order in which they were sent':
          'valkey-glide hands each command to a task of its own',
        'a refused write on a replica is an answer of the server, READONLY':
          'valkey-glide keeps it, looks for the new primary, and times out',
      },
    );
  });
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

  test('CROSSSLOT occurs once; later calls are split by slot', async () => {
    const own = new Redis(cluster.nodes[0]!.port, { maxRetriesPerRequest: 0 });
    const limiter = new RateLimiter({ redis: own, rate: 2, period: '1h', namespace: 'crossslot' });
    await limiter.peek('user'); // `ready()` would itself call it
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
    // These names put twenty identities into twenty slots.
    expect(growth).toEqual([
      { ran: 20, rejected: 1 },
      { ran: 20, rejected: 0 },
      { ran: 20, rejected: 0 },
    ]);
  });
});
