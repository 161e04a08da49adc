import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  RateLimiter,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { RateLimiterOptions, RedisClient } from 'distributed-rate-limiter';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startRedis, startShardingProxy } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { ioredisProxySettings, nodeRedisProxySettings } from './recommended.ts';
import { exactly, identities, passed } from './sharded-calls.ts';
import { declareStore } from './subjects.ts';

type Proxy = Awaited<ReturnType<typeof startShardingProxy>>;

let servers: Awaited<ReturnType<typeof startRedis>>[];
/** Choosing the server by the whole key, and by the hash tag. */
let byKey: Proxy;
let byTag: Proxy;
beforeAll(async () => {
  servers = await Promise.all([startRedis(), startRedis()]);
  byKey = await startShardingProxy(servers, { unsupported: 'close' });
  byTag = await startShardingProxy(servers, { unsupported: 'close', hashTags: true });
});
afterAll(async () => {
  await Promise.all([byKey.close(), byTag.close()]);
  await Promise.all(servers.map((server) => server.close()));
});

const limiters: RateLimiter[] = [];
afterEach(async () => {
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()));
});

let made = 0;
function limiterOn(
  redis: string | RedisClient,
  options: Partial<RateLimiterOptions> = {},
): RateLimiter {
  const limiter = new RateLimiter({
    redis,
    namespace: `sharding-${(made += 1)}`,
    timeoutMs: 10_000,
    failStrategy: 'throw',
    ...(options.limits === undefined ? { rate: 10, period: '1h' } : {}),
    ...options,
  } as RateLimiterOptions);
  limiters.push(limiter);
  return limiter;
}

describe('behind a proxy that chooses the server by the first key', () => {
  test('limits are exceeded without the option `sharding`', async () => {
    const client = new Redis({ ...ioredisProxySettings, port: byKey.port });
    const exceeded = await passed(limiterOn(client));
    expect(Math.max(...exceeded)).toBeGreaterThan(10);
    client.disconnect();
  });

  test("limits are exact with `sharding: 'key'`", async () => {
    expect(await passed(limiterOn(byKey.url, { sharding: 'key' }))).toEqual(exactly(10));
  });

  test.each(['sliding_window', 'sliding_window_log', 'fixed_window'] as const)(
    "%s is exact with `sharding: 'key'`",
    async (algorithm) => {
      const options = { sharding: 'key', algorithm } as Partial<RateLimiterOptions>;
      expect(await passed(limiterOn(byKey.url, options))).toEqual(exactly(10));
    },
  );

  test("several token buckets and windows are exact with `sharding: 'key'`", async () => {
    const limits = [
      tokenBucket({ rate: 10, period: '1h' }),
      slidingWindow({ name: 'window', rate: 9, period: '1h' }),
      fixedWindow({ name: 'hour', rate: 8, period: '1h' }),
    ];
    expect(await passed(limiterOn(byKey.url, { sharding: 'key', limits }))).toEqual(exactly(8));
  });

  test('limits given with a call are exact', async () => {
    const limiter = limiterOn(byKey.url, { sharding: 'key' });
    const named = ['a', 'b', 'c', 'd'].map((name) => [
      tokenBucket({ name, rate: 10, period: '1h' }),
    ]);
    const counts = named.map(() => 0);
    for (let turn = 0; turn < 20; turn++) {
      await Promise.all(
        named.map(async (_, i) => {
          const which = (i + turn) % named.length;
          const { allowed } = await limiter.allow('user', { limits: named[which]! });
          counts[which]! += allowed ? 1 : 0;
        }),
      );
    }
    expect(counts).toEqual([10, 10, 10, 10]);
  });

  test('two limiters on one client may differ in `sharding`', async () => {
    const client = new Redis({ ...ioredisProxySettings, port: byKey.port });
    const without = limiterOn(client);
    const [counts] = await Promise.all([
      passed(limiterOn(client, { sharding: 'key' })),
      passed(without),
    ]);
    expect(counts).toEqual(exactly(10));
    client.disconnect();
  });
});

describe("`sharding: 'hash_tag'` behind a proxy that hashes the text between braces", () => {
  declareStore('a URL', () => ({ redis: byTag.url, sharding: 'hash_tag' }));

  test('several limits, blocks and reservations are exact', async () => {
    const limiter = limiterOn(byTag.url, {
      sharding: 'hash_tag',
      blocks: true,
      limits: [
        tokenBucket({ rate: 10, period: '1h' }),
        fixedWindow({ name: 'hour', rate: 8, period: '1h' }),
      ],
    });
    expect(await passed(limiter)).toEqual(exactly(8));
    for (const identity of identities) {
      await limiter.reset(identity);
      await limiter.block(identity, '1h');
    }
    const blocked = await Promise.all(identities.map((identity) => limiter.allow(identity)));
    expect(blocked.filter(({ allowed }) => allowed)).toEqual([]);
    for (const identity of identities) await limiter.unblock(identity);
    const reservations = await Promise.all(
      identities.map((identity) => limiter.reserve(identity, { cost: 5, ttl: '1m' })),
    );
    await Promise.all(reservations.map((reservation) => reservation.settle(2)));
    const left = await Promise.all(identities.map((identity) => limiter.peek(identity)));
    expect(left.map(({ remaining }) => remaining)).toEqual(exactly(6));
  });
});

describe("`sharding: 'key'` refuses calls that need several keys in one script call", () => {
  const two = [
    tokenBucket({ rate: 1, period: '1h' }),
    slidingWindowLog({ name: 'b', rate: 1, period: '1h' }),
  ];
  const refused = (what: string) => ({
    code: 'ERR_INVALID_OPTION',
    message: expect.stringMatching(
      new RegExp(
        `^\`sharding\` must be 'hash_tag' for ${what}, which needs \\d keys.*got "key"\\. .*hash_tag: "\\{\\}"`,
      ),
    ),
  });
  const errorOf = (make: () => unknown): unknown => {
    try {
      return make();
    } catch (error) {
      return error;
    }
  };

  test('refuses several limits that do not share a key', () => {
    const make = (): RateLimiter => limiterOn(byKey.url, { sharding: 'key', limits: two });
    expect(errorOf(make)).toMatchObject(refused('a call under limits that do not share a key'));
  });

  test('refuses `blocks: true`', () => {
    const make = (): RateLimiter => limiterOn(byKey.url, { sharding: 'key', blocks: true });
    expect(errorOf(make)).toMatchObject(refused('a limiter with `blocks: true`'));
  });

  test('refuses such limits given with a call, for every verb', async () => {
    const limiter = limiterOn(byKey.url, { sharding: 'key' });
    const several = refused('a call under limits that do not share a key');
    const calls = [
      limiter.allow('user', { limits: two }),
      limiter.peek('user', { limits: two }),
      limiter.allowUpTo('user', 1, { limits: two }),
      limiter.penalize('user', 1, { limits: two }),
      limiter.reset('user', { limits: two }),
      limiter.wait('user', { limits: two }),
    ];
    for (const call of calls) await expect(call).rejects.toMatchObject(several);
  });

  test('refuses a reservation', async () => {
    const limiter = limiterOn(byKey.url, { sharding: 'key' });
    await expect(limiter.reserve('user', { cost: 1, ttl: '1m' })).rejects.toMatchObject(
      refused('a reservation'),
    );
  });
});

describe('`ready()` warns with DRL_SHARDED', () => {
  const warnings = collectWarnings();
  const codes = async () => (await warnings()).map(({ code }) => code);

  test('once per client where servers share the keys and `sharding` is left out', async () => {
    const client = new Redis({ ...ioredisProxySettings, port: byKey.port });
    await limiterOn(client).ready();
    await limiterOn(client).ready();
    expect(await codes()).toEqual(['DRL_SHARDED']);
    client.disconnect();
  });

  test("where `sharding` is 'hash_tag' and the proxy hashes whole keys", async () => {
    await limiterOn(byKey.url, { sharding: 'hash_tag' }).ready();
    expect(await codes()).toEqual(['DRL_SHARDED']);
  });

  test('not where `sharding` matches the proxy, nor on one server', async () => {
    await limiterOn(byKey.url, { sharding: 'key' }).ready();
    await limiterOn(byTag.url, { sharding: 'hash_tag' }).ready();
    await limiterOn(servers[0]!.url).ready();
    await limiterOn(servers[0]!.url, { sharding: 'key' }).ready();
    await limiterOn(servers[0]!.url, { sharding: 'hash_tag' }).ready();
    expect(await codes()).toEqual([]);
  });

  test('without leaving a key behind', async () => {
    const { keys } = await servers[0]!.keyCounts();
    await limiterOn(byTag.url, { sharding: 'hash_tag' }).ready();
    expect((await servers[0]!.keyCounts()).keys).toBe(keys);
  });
});

describe('clients with the recommended settings, through a proxy that ends a connection on an unknown command', () => {
  test.each([
    ['ioredis 6', Redis],
    ['ioredis 5', loadClient('ioredis-5').Redis],
    ['iovalkey', loadClient('iovalkey').Redis],
  ] as const)('%s', async (_, Client) => {
    const client = new Client({ ...ioredisProxySettings, port: byKey.port });
    client.on('error', () => {});
    expect(await passed(limiterOn(client, { sharding: 'key' }))).toEqual(exactly(10));
    client.disconnect();
  });

  test.each([
    ['node-redis 6', createClient],
    ['node-redis 5', loadClient('redis-5').createClient],
    ['node-redis 4', loadClient('redis-4').createClient],
  ] as const)('%s', async (name, create) => {
    const { socket, ...settings } = nodeRedisProxySettings;
    const client = create({
      ...settings,
      ...(name === 'node-redis 6' ? { RESP: 2 as const } : {}),
      socket: { ...socket, port: byKey.port },
    });
    client.on('error', () => {});
    await client.connect();
    expect(await passed(limiterOn(client, { sharding: 'key' }))).toEqual(exactly(10));
    endNodeRedis(client);
  });
});

test('`sharding` is refused beside `cluster: true` and when its value is unknown', () => {
  const make = (more: object) => () => new RateLimiter({ rate: 1, period: '1h', ...more } as never);
  expect(make({ redis: 'redis://h', cluster: true, sharding: 'key' })).toThrow(
    /`sharding` must be left out where `cluster` is true/,
  );
  expect(make({ redis: 'redis://h', sharding: 'twemproxy' })).toThrow(
    /`sharding` must be one of 'key', 'hash_tag'/,
  );
  expect(make({ redis: 'redis://h', twemproxy: true })).toThrow(/Did you mean `sharding`\?/);
});
