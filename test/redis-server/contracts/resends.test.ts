import { Cluster, Redis } from 'ioredis';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import type { RedisClient } from 'distributed-rate-limiter';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import {
  startCluster,
  startFaultProxy,
  startRedis,
  startSentinel,
  waitUntil,
} from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import {
  glideSettings,
  ioredisClusterSettings,
  ioredisSettings,
  nodeRedisSettings,
} from './recommended.ts';

/**
 * If a client loses the reply to a call that the server executed, it must not resend the call, or must cause the
 * warning DRL_CLIENT_RESENDS. Every loss here is real, and the charges are read from the servers.
 */

const { GlideClient, GlideClusterClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs every error to the console

type Proxy = Awaited<ReturnType<typeof startFaultProxy>>;

interface Opened {
  readonly redis: RedisClient;
  close(): unknown;
}

interface Row {
  readonly client: string;
  readonly settings: string;
  /** Whether the client resends, charges twice, and causes the warning. */
  readonly resends: boolean;
  open(): Opened | Promise<Opened>;
}

/** Longer than any client here waits before it resends. */
const SETTLED_MS = 400;

const warnings = collectWarnings();

/** Loses the reply to a call; returns how often the call was charged, and whether the client caused a warning. */
async function loseReply(
  { client, settings, resends, open }: Row,
  direct: RedisClient,
  proxies: readonly Proxy[],
): Promise<{ charges: number; warned: boolean }> {
  const namespace = `${client}-${settings}`.replaceAll(/[^a-z0-9]/gi, '-').slice(0, 60);
  const options = { namespace, rate: 100, period: '1h', onError: () => {} } as const;
  const opened = await open();
  const limiter = new RateLimiter({ ...options, redis: opened.redis, timeoutMs: 2_000 });
  const observer = new RateLimiter({ ...options, redis: direct, timeoutMs: 10_000 });
  const charged = async (): Promise<number> => 100 - (await observer.peek('user')).remaining!;

  await waitUntil('a real decision', async () => !(await limiter.peek('user')).degraded);
  for (const proxy of proxies) proxy.resetCounts();
  await Promise.all(proxies.map((proxy) => proxy.dropReplies({ cut: true, times: 1 })));
  const decided = limiter.allow('user');
  await waitUntil('the loss', () => proxies.some(({ counts }) => counts.hits > 0));
  await Promise.all(proxies.map((proxy) => proxy.pass()));
  await decided;
  if (resends) await waitUntil('the second charge', async () => (await charged()) > 1);
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
  const codes = (await warnings()).map(({ code }) => code);
  opened.close();
  return { charges: await charged(), warned: codes.includes('DRL_CLIENT_RESENDS') };
}

/** `setup` is read when a test runs, because its servers start before the tests. */
function testEach(
  rows: readonly Row[],
  setup: () => { direct: RedisClient; proxies: readonly Proxy[] },
): void {
  test.each(rows)(
    '$client $settings: a call whose reply was lost is resent and warned of: $resends',
    async (row) => {
      const { direct, proxies } = setup();
      expect(await loseReply(row, direct, proxies)).toEqual({
        charges: row.resends ? 2 : 1,
        warned: row.resends,
      });
    },
  );
}

/** One row per setting of a client, all opened in the same way. */
function rowsOf(
  client: string,
  settings: readonly (readonly [settings: string, options: object])[],
  open: (options: object) => Promise<Opened>,
): Row[] {
  return settings.map(([name, options]) => ({
    client,
    settings: name,
    resends: false,
    open: () => open(options),
  }));
}

/** node-redis 5 throws if the client of a node is already closed. */
function endIfOpen(client: Parameters<typeof endNodeRedis>[0]): void {
  try {
    endNodeRedis(client);
  } catch (error) {
    if (!String(error).includes('The client is closed')) throw error;
  }
}

const ioredises = [
  ['ioredis 6', { Redis, Cluster }],
  ['ioredis 5', loadClient('ioredis-5')],
  ['iovalkey', loadClient('iovalkey')],
] as const;
const nodeRedises = [
  ['node-redis 6', { createClient, createCluster }],
  ['node-redis 5', loadClient('redis-5')],
  ['node-redis 4', loadClient('redis-4')],
] as const;

/** Those that have pools and Sentinel clients. */
const grownNodeRedises = [
  ['node-redis 6', { createClientPool, createSentinel }],
  ['node-redis 5', loadClient('redis-5')],
] as const;

const GLIDE_SETTINGS: readonly (readonly [settings: string, options: object])[] = [
  ['as recommended', glideSettings],
  ['with its defaults', {}],
];

describe('on one server', () => {
  let server: Awaited<ReturnType<typeof startRedis>>;
  let proxy: Proxy;
  let direct: Redis;
  beforeAll(async () => {
    server = await startRedis();
    proxy = await startFaultProxy(server);
    direct = new Redis({ ...ioredisSettings, port: server.port, enableOfflineQueue: true });
  });
  afterAll(async () => {
    direct.disconnect();
    await proxy.close();
    await server.close();
  });

  const rows: Row[] = [
    ...ioredises.flatMap(([client, library]): Row[] => {
      const open = (options: object): Opened => {
        const made = new library.Redis({ ...options, port: proxy.port });
        made.on('error', () => {});
        return { redis: made, close: () => made.disconnect() };
      };
      const row = (settings: string, resends: boolean, options: object): Row => ({
        client,
        settings,
        resends,
        open: () => open(options),
      });
      return [
        row('as recommended', false, ioredisSettings),
        row('with its defaults', true, {}),
        row('with `maxRetriesPerRequest: null`', true, { maxRetriesPerRequest: null }),
        row('with `maxRetriesPerRequest: -1`', true, { maxRetriesPerRequest: -1 }),
        row('with `maxRetriesPerRequest: 0`', false, { maxRetriesPerRequest: 0 }),
        row('with `autoResendUnfulfilledCommands: false`', false, {
          autoResendUnfulfilledCommands: false,
        }),
        row('with pipelines by itself, and `maxRetriesPerRequest: 0`', false, {
          enableAutoPipelining: true,
          maxRetriesPerRequest: 0,
        }),
      ];
    }),
    ...nodeRedises.flatMap(([client, library]) =>
      rowsOf(
        client,
        [
          ['as recommended', nodeRedisSettings],
          ['with its defaults', { socket: {} }],
        ],
        async (options) => {
          const { socket, ...rest } = options as typeof nodeRedisSettings;
          const made = library.createClient({ ...rest, socket: { ...socket, port: proxy.port } });
          made.on('error', () => {});
          await made.connect();
          return { redis: made, close: () => endNodeRedis(made) };
        },
      ),
    ),
    ...grownNodeRedises.flatMap(([client, library]) =>
      rowsOf(`a pool of ${client}`, [['with its defaults', {}]], async () => {
        const made = library.createClientPool({ socket: { port: proxy.port } });
        made.on('error', () => {});
        await made.connect();
        return { redis: made, close: () => made.destroy() };
      }),
    ),
    ...rowsOf('valkey-glide', GLIDE_SETTINGS, async (options) => {
      const { host, port } = proxy;
      const made = await GlideClient.createClient({
        ...options,
        addresses: [{ host, port }],
      });
      return { redis: made, close: () => made.close() };
    }),
  ];

  testEach(rows, () => ({ direct, proxies: [proxy] }));
});

describe('on a primary that Sentinels watch', () => {
  let group: Awaited<ReturnType<typeof startSentinel>>;
  let proxy: Proxy;
  let direct: Redis;
  beforeAll(async () => {
    group = await startSentinel();
    proxy = await startFaultProxy(group.primary);
    direct = new Redis({ ...ioredisSettings, port: group.primary.port, enableOfflineQueue: true });
  });
  afterAll(async () => {
    direct.disconnect();
    await proxy.close();
    await group.close();
  });

  const rows = grownNodeRedises.flatMap(([client, library]) =>
    rowsOf(
      `Sentinel client of ${client}`,
      [
        ['with its defaults', {}],
        ['with `maxCommandRediscovers: 0`', { maxCommandRediscovers: 0 }],
      ],
      async (options) => {
        const { host, port } = group.primary;
        const made = library.createSentinel({
          ...options,
          name: group.name,
          sentinelRootNodes: group.addresses,
          nodeAddressMap: { [`${host}:${port}`]: { host: proxy.host, port: proxy.port } },
        });
        made.on('error', () => {});
        await made.connect();
        return { redis: made, close: () => made.destroy() };
      },
    ),
  );

  testEach(rows, () => ({ direct, proxies: [proxy] }));
});

describe('on a cluster', () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let proxies: Proxy[];
  let direct: Cluster;
  /** The client reaches each node through its proxy. */
  let natMap: Record<string, { host: string; port: number }>;
  beforeAll(async () => {
    cluster = await startCluster();
    proxies = await Promise.all(cluster.nodes.map((node) => startFaultProxy(node)));
    natMap = Object.fromEntries(
      cluster.nodes.map(({ host, port }, i) => [
        `${host}:${port}`,
        { host: proxies[i]!.host, port: proxies[i]!.port },
      ]),
    );
    direct = new Cluster(cluster.addresses, ioredisClusterSettings);
  });
  afterAll(async () => {
    direct.disconnect();
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await cluster.close();
  });

  const reconnecting = { clusterNodeRetryStrategy: () => 50 };
  const rows: Row[] = [
    ...ioredises.flatMap(([client, library]): Row[] => {
      const row = (settings: string, resends: boolean, options: object): Row => ({
        client,
        settings,
        resends,
        open: () => {
          const made = new library.Cluster(Object.values(natMap), { natMap, ...options });
          made.on('error', () => {});
          return { redis: made, close: () => made.disconnect() };
        },
      });
      const redisOptions = { maxRetriesPerRequest: 0 };
      return [
        row('as recommended', false, ioredisClusterSettings),
        row('with its defaults', true, {}),
        row('with `maxRetriesPerRequest: 0` alone', true, { redisOptions }),
        row('with `maxRetriesPerRequest: 0` where no cluster looks for it', true, redisOptions),
        row('with `retryDelayOnFailover: 0`', false, { retryDelayOnFailover: 0 }),
        // iovalkey has no `clusterNodeRetryStrategy`, and the clients of its nodes never reconnect.
        ...(client === 'iovalkey'
          ? []
          : [
              row('with `retryDelayOnFailover: 0` and nodes that reconnect', true, {
                retryDelayOnFailover: 0,
                ...reconnecting,
              }),
            ]),
        row('with both, and nodes that reconnect', false, {
          retryDelayOnFailover: 0,
          redisOptions,
          ...reconnecting,
        }),
      ];
    }),
    ...nodeRedises.flatMap(([client, library]) =>
      rowsOf(
        client,
        [
          ['as recommended', { defaults: nodeRedisSettings }],
          ['with its defaults', {}],
          ['with many redirections', { maxCommandRedirections: 64 }],
        ],
        async (options) => {
          const made = library.createCluster({
            ...options,
            rootNodes: Object.values(natMap).map((socket) => ({ socket })),
            nodeAddressMap: natMap,
          });
          made.on('error', () => {});
          await made.connect();
          return { redis: made, close: () => endIfOpen(made) };
        },
      ),
    ),
    ...rowsOf('valkey-glide', GLIDE_SETTINGS, async (options) => {
      const made = await GlideClusterClient.createClient({
        ...options,
        addresses: Object.values(natMap),
        addressResolver: (host, port) => {
          const address = natMap[`${host}:${port}`];
          return address ? [address.host, address.port] : [host, port];
        },
      });
      return { redis: made, close: () => made.close() };
    }),
  ];

  testEach(rows, () => ({ direct, proxies }));
});
