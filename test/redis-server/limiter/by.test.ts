import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit, RateLimiterOptions } from 'distributed-rate-limiter';
import { slotOf } from '../../../src/redis/connection/slot.ts';
import { startRedis, startShardingProxy, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

type AnyLimits = readonly Limit<string, string>[];

const hour = { period: '1h' } as const;
const MIXED: AnyLimits = [
  tokenBucket({ name: 'key', by: ['org', 'key'], rate: 5, burst: 3, ...hour }),
  slidingWindow({ name: 'org', by: 'org', rate: 50, ...hour }),
  slidingWindowLog({ name: 'log', by: ['org', 'ip'], rate: 9, ...hour }),
  fixedWindow({ name: 'day', by: ['org', 'ip'], rate: 9, period: 'day' }),
];

/** A server that takes keys of any slots, and a cluster of one node, which does not. */
let plain: RedisServer;
let cluster: RedisServer;
let client: Redis;
let ofCluster: Redis;
let made = 0;

beforeAll(async () => {
  [plain, cluster] = await Promise.all([
    startRedis(),
    startRedis({ config: { 'cluster-enabled': 'yes' } }),
  ]);
  await cluster.command('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await waitUntil('the cluster of one', async () =>
    String(await cluster.command('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  );
  client = new Redis({ host: '127.0.0.1', port: plain.port, maxRetriesPerRequest: 0 });
  ofCluster = new Redis({ host: '127.0.0.1', port: cluster.port, maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  ofCluster.disconnect();
  await Promise.all([plain.close(), cluster.close()]);
});
beforeEach(async () => {
  await plain.command('FLUSHALL');
});

function limiterOn(
  redis: RateLimiterOptions['redis'],
  limits: AnyLimits,
  options: Partial<RateLimiterOptions<string>> = {},
): RateLimiter<string> {
  return new RateLimiter({
    redis,
    namespace: `by-${++made}`,
    failStrategy: 'throw',
    timeoutMs: 10_000,
    ...options,
    limits,
  } as never);
}

async function keysOf(server: RedisServer): Promise<readonly string[]> {
  return ((await server.command('KEYS', '*')) as string[]).sort();
}

/** Every key with all that it holds, and when it expires. */
async function contentOf(server: RedisServer): Promise<unknown> {
  const keys = await keysOf(server);
  return Promise.all(
    keys.map(async (key) => [
      key,
      await server.command('DUMP', key),
      await server.command('PEXPIRETIME', key),
    ]),
  );
}

const identity = { org: 'acme', key: 'k', ip: '::1' };

describe('limits by parts on a server', () => {
  test('keep each home under a key of its own, all of a call in one slot', async () => {
    const limiter = limiterOn(
      ofCluster,
      [...MIXED, concurrency({ name: 'c', by: ['org', 'key'], max: 5, ttl: '1m' })],
      {
        blocks: true,
      },
    );
    await limiter.acquire(identity);
    await limiter.block({ org: 'acme' }, '1h');
    const keys = await keysOf(cluster);
    expect(new Set(keys.map((key) => slotOf(key))).size).toBe(1);
    const forms = keys.map((key) => key.replaceAll(/[0-9a-f]{64}/g, '…').replace(/by-\d+/, 'ns'));
    expect(forms.sort()).toEqual([
      '{ns:limits:…}:…',
      '{ns:limits:…}:…',
      '{ns:limits:…}:…',
      '{ns:limits:…}:…#block',
      '{ns:limits:…}:…/c:concurrency',
      '{ns:limits:…}:…/log:sliding_window_log',
    ]);
  });

  test('decide in one script call', async () => {
    const limiter = limiterOn(client, MIXED, { blocks: true });
    await limiter.allow(identity);
    const calls = async (): Promise<number> => {
      const info = String(await plain.command('INFO', 'commandstats'));
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(info)?.[1]);
    };
    const before = await calls();
    await limiter.allow(identity);
    expect(await calls()).toBe(before + 1);
  });

  test.each(MIXED.map((limit, i) => [limit.name, i] as const))(
    'leave every key byte for byte as it was if the limit %s refuses',
    async (_, at) => {
      const tight = MIXED.map((limit, i) =>
        i === at
          ? (
              [
                tokenBucket({ name: 'key', by: ['org', 'key'], rate: 1, ...hour }),
                slidingWindow({ name: 'org', by: 'org', rate: 1, ...hour }),
                slidingWindowLog({ name: 'log', by: ['org', 'ip'], rate: 1, ...hour }),
                fixedWindow({ name: 'day', by: ['org', 'ip'], rate: 1, period: 'day' }),
              ] as AnyLimits
            )[i]!
          : limit,
      );
      const limiter = limiterOn(client, tight);
      expect((await limiter.allow(identity)).allowed).toBe(true);
      const before = await contentOf(plain);
      const refused = await limiter.allow(identity);
      expect(refused).toMatchObject({ allowed: false, limitedBy: [tight[at]!.name] });
      expect(await limiter.reserve(identity, { ttl: '1m' })).toMatchObject({ allowed: false });
      expect((await limiter.allowUpTo(identity, 5)).granted).toBe(0);
      expect(await contentOf(plain)).toEqual(before);
    },
  );

  test.each<[string, string, (key: string) => readonly string[]]>([
    ['holds garbage', 'UNREADABLE', (key) => ['SET', key, 'garbage']],
    ['is of another type', 'WRONGTYPE', (key) => ['RPUSH', key, 'a']],
  ])('leave every key as it was if one %s', async (_, message, spoil) => {
    const limiter = limiterOn(client, MIXED);
    await limiter.allow(identity);
    const homes = (await keysOf(plain)).filter((key) => !key.includes('/'));
    expect(homes).toHaveLength(3);
    for (const home of homes) {
      const value = (await plain.command('GET', home)) as string;
      await plain.command('DEL', home);
      await plain.command(...(spoil(home) as [string]));
      const before = await contentOf(plain);
      await expect(limiter.allow(identity)).rejects.toMatchObject({
        code: 'ERR_STORE',
        message: expect.stringContaining(message),
      });
      expect(await contentOf(plain)).toEqual(before);
      await plain.command('DEL', home);
      await plain.command('SET', home, value, 'PX', 3_600_000);
    }
    expect((await limiter.allow(identity)).allowed).toBe(true);
  });

  test('share one home between calls that name different others, in one batch', async () => {
    const limiter = limiterOn(client, MIXED);
    const decisions = await Promise.all(
      Array.from({ length: 60 }, (_, i) => limiter.allow({ org: 'acme', key: i, ip: i })),
    );
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(50);
    const repeated = await Promise.all(
      Array.from({ length: 9 }, (_, i) => limiter.allow({ org: 'b', key: i % 2, ip: 'x' })),
    );
    // Three of each key.
    expect(repeated.map(({ allowed }) => allowed)).toEqual([
      ...Array<boolean>(6).fill(true),
      ...Array<boolean>(3).fill(false),
    ]);
  });

  test('lend places in several homes, which the lease gives back and renews', async () => {
    const places: AnyLimits = [
      concurrency({ name: 'org', by: 'org', max: 2, ttl: '1m' }),
      concurrency({ name: 'key', by: ['org', 'key'], max: 1, ttl: '1m' }),
    ];
    const limiter = limiterOn(client, places);
    const first = await limiter.acquire({ org: 'a', key: 1 });
    expect((await limiter.acquire({ org: 'a', key: 1 })).allowed).toBe(false);
    const second = await limiter.acquire({ org: 'a', key: 2 });
    expect(await limiter.acquire({ org: 'a', key: 3 })).toMatchObject({ limitedBy: ['org'] });
    expect(await keysOf(plain)).toHaveLength(3);
    expect(await first.renew()).toBe(true);
    expect(await first.release()).toBe(true);
    expect(await first.release()).toBe(true);
    const third = await limiter.acquire({ org: 'a', key: 3 });
    expect(third.allowed).toBe(true);
    await Promise.all([second.release(), third.release()]);
    expect(await keysOf(plain)).toEqual([]);
  });

  test('reserve in several homes, and settle and cancel in the same', async () => {
    const limits: AnyLimits = [
      tokenBucket({ name: 'key', by: ['org', 'key'], rate: 100, ...hour }),
      fixedWindow({ name: 'org', by: 'org', rate: 1_000, period: 'day' }),
    ];
    const limiter = limiterOn(client, limits);
    const left = async (): Promise<unknown> =>
      (await limiter.peek({ org: 'a', key: 1 })).limits.map(({ remaining }) => remaining);
    const settled = await limiter.reserve({ org: 'a', key: 1 }, { cost: 40, ttl: '1m' });
    expect(await left()).toEqual([60, 960]);
    expect(await settled.settle(10)).toEqual({ charged: 10, uncharged: 0, expired: false });
    expect(await left()).toEqual([90, 990]);
    const cancelled = await limiter.reserve({ org: 'a', key: 1 }, { cost: 40, ttl: '1m' });
    await cancelled.cancel();
    expect(await left()).toEqual([90, 990]);
    const withoutKey = limiterOn(client, [
      ...limits,
      tokenBucket({ name: 'u', by: ['org', 'user'], rate: 9, ...hour }),
    ]);
    const partly = await withoutKey.reserve(
      { org: 'a', key: 1, user: null },
      { cost: 5, ttl: '1m' },
    );
    expect(partly.limits.map(({ name }) => name)).toEqual(['key', 'org']);
    expect((await partly.settle(2)).charged).toBe(2);
  });

  test('warm up without touching any identity', async () => {
    const limiter = limiterOn(client, MIXED, { blocks: true });
    await limiter.ready();
    expect(await keysOf(plain)).toEqual([]);
  });
});

describe('limits without a common part', () => {
  const APART: AnyLimits = [
    tokenBucket({ name: 'org', by: 'org', rate: 5, ...hour }),
    tokenBucket({ name: 'ip', by: 'ip', rate: 5, ...hour }),
    tokenBucket({ name: 'both', by: ['ip', 'org'], rate: 5, ...hour }),
  ];
  const TEXT =
    /^`limits` must have a part of the identity in common on a Redis Cluster, .* the limit "org" counts by org and the limit "ip" by ip\. /;
  const error = { code: 'ERR_INVALID_OPTION', message: expect.stringMatching(TEXT) };

  test('are decided on one server, all or nothing', async () => {
    const limiter = limiterOn(client, APART);
    await limiter.allow({ org: 'a', ip: 1 }, { cost: 5 });
    const before = await contentOf(plain);
    expect((await limiter.allow({ org: 'b', ip: 1 })).allowed).toBe(false);
    expect(await contentOf(plain)).toEqual(before);
    expect(await keysOf(plain)).toHaveLength(3);
  });

  test.each(['throw', 'open', 'closed'] as const)(
    'are refused by the first CROSSSLOT under failStrategy: %s, naming two of them',
    async (failStrategy) => {
      const limiter = limiterOn(ofCluster, APART, { failStrategy });
      const calls = [1, 2, 3].map((ip) => limiter.allow({ org: 'a', ip }));
      for (const call of calls) {
        await expect(call).rejects.toMatchObject(error);
      }
      await expect(limiter.reserve({ org: 'a', ip: 1 }, { ttl: '1m' })).rejects.toMatchObject(
        error,
      );
      // A call of one home has one slot.
      await limiter.penalize({ org: 'a' }, 1);
      await limiter.reset({ org: 'a', ip: 2 });
    },
  );

  test('are refused when the limiter is made, where a cluster is known', () => {
    const known = new Cluster([{ host: '127.0.0.1', port: cluster.port }], { lazyConnect: true });
    expect(() => limiterOn(known, APART)).toThrow(TEXT);
    expect(() => limiterOn('redis://127.0.0.1:1', APART, { cluster: true })).toThrow(
      'the limit "org" counts by org',
    );
    expect(() => limiterOn(known, MIXED, { tagBy: [] })).toThrow(
      'the limit "key" counts by key, org and the limit "org" by org',
    );
    expect(() => limiterOn(known, MIXED)).not.toThrow();
    known.disconnect();
  });

  test('are refused where `sharding` is set, and limits with a common part are not', async () => {
    expect(() => limiterOn(client, APART, { sharding: 'hash_tag' } as never)).toThrow(
      "where `sharding` is 'hash_tag'",
    );
    expect(() => limiterOn(client, MIXED, { sharding: 'key' } as never)).toThrow("'hash_tag'");
    const servers = await Promise.all([startRedis(), startRedis()]);
    const proxy = await startShardingProxy(servers, { unsupported: 'close', hashTags: true });
    const limiter = limiterOn(proxy.url, MIXED, { sharding: 'hash_tag', blocks: true } as never);
    const decisions = await Promise.all(
      Array.from({ length: 200 }, (_, i) => limiter.allow({ org: i % 20, key: i, ip: i })),
    );
    expect(decisions.every(({ allowed }) => allowed)).toBe(true);
    const left = await Promise.all(
      Array.from({ length: 20 }, (_, org) => limiter.peek({ org, key: 'x', ip: 'x' })),
    );
    expect(left.map(({ limits }) => limits[1]!.remaining)).toEqual(Array(20).fill(40));
    await limiter.close();
    await proxy.close();
    await Promise.all(servers.map((server) => server.close()));
  });
});
