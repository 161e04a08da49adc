import { createHash, createHmac } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { RateLimiterOptions } from 'distributed-rate-limiter';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

const hour = { rate: 5, period: '1h' } as const;
const SECRET = 'a secret of thirty-two bytes, or more';
/** A key under one of sixteen tags, with one pair of braces. */
const TAGGED = /^\{app:16:[0-7]{6}\}:[a-z_]+:[0-9a-f]{64}[^{}]*$/;

/** A cluster of one node, which refuses keys of different slots; and a server that is none. */
let cluster: RedisServer;
let plain: RedisServer;
let client: Redis;

beforeAll(async () => {
  [plain, cluster] = await Promise.all([
    startRedis(),
    startRedis({ config: { 'cluster-enabled': 'yes' } }),
  ]);
  await cluster.command('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await waitUntil('the cluster of one', async () =>
    String(await cluster.command('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  );
  client = new Redis({ host: '127.0.0.1', port: cluster.port, maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  await Promise.all([plain.close(), cluster.close()]);
});
beforeEach(async () => {
  await cluster.command('FLUSHALL');
  await plain.command('FLUSHALL');
});

type Options = { readonly [Option in keyof RateLimiterOptions<string>]?: unknown };

function limiterOf(options: Options = {}): RateLimiter<string> {
  return new RateLimiter({
    redis: client,
    namespace: 'app',
    cluster: { tags: 16 },
    failStrategy: 'throw',
    timeoutMs: 10_000,
    ...(options.limits === undefined ? hour : {}),
    ...options,
  } as never);
}

async function keysOf(server: RedisServer): Promise<readonly string[]> {
  return ((await server.command('KEYS', '*')) as string[]).sort();
}

const tagIn = (key: string): string => key.slice(0, key.indexOf('}'));

describe('under cluster: { tags }', () => {
  test.each([
    ['', {}, createHash('sha256')],
    [', under a secret', { hashSecret: SECRET }, createHmac('sha256', SECRET)],
  ] as const)(
    'a key ends with the algorithm and digest that it has without tags%s',
    async (_, options, hash) => {
      await limiterOf(options).allow('user:12345');
      const [key, ...others] = await keysOf(cluster);
      expect(others).toEqual([]);
      expect(key).toMatch(TAGGED);
      expect(key).toMatch(
        new RegExp(`\\}:token_bucket:${hash.update('user:12345').digest('hex')}$`),
      );
    },
  );

  test('the keys are the same on one server, by URL too', async () => {
    await limiterOf().allow('user');
    const byUrl = limiterOf({ redis: plain.url, cluster: { tags: 16, enabled: false } });
    await byUrl.allow('user');
    await byUrl.close();
    expect(await keysOf(plain)).toEqual(await keysOf(cluster));
  });

  test('logs, places, blocks, bans, slices and reservations of an identity have its tag, and one pair of braces', async () => {
    expect(await limiterOf().reserve('user', { ttl: '1h' })).toMatchObject({ allowed: true });
    const many = limiterOf({
      blocks: true,
      limits: [
        tokenBucket({ ...hour, ban: { after: 1, within: '1h', for: '1h' } }),
        slidingWindowLog({ ...hour, name: 'log' }),
        concurrency({ name: 'jobs', max: 5, ttl: '1h' }),
      ],
    });
    await many.acquire('user', { cost: 4 });
    await many.acquire('user');
    const busy = limiterOf({ rate: 1_000_000, prepay: true });
    for (let i = 0; i < 40; i++) await busy.allow('user');
    const keys = await keysOf(cluster);
    for (const key of keys) expect(key).toMatch(TAGGED);
    expect(new Set(keys.map(tagIn)).size).toBe(1);
    const ends = keys.map((key) => key.replace(/^.*:token_bucket:[0-9a-f]{64}/, ''));
    expect(ends).toEqual(
      expect.arrayContaining(['', '#block', '#s', '/jobs:concurrency', '/log:sliding_window_log']),
    );
    expect(ends.some((end) => end.startsWith('#r:'))).toBe(true);
  });

  test('all homes of a call have one tag, which the common parts choose', async () => {
    const limits = [
      tokenBucket({ ...hour, name: 'key', by: ['org', 'key'] }),
      fixedWindow({ ...hour, name: 'org', by: 'org' }),
    ] as const;
    const limiter = limiterOf({ limits, blocks: true });
    for (let key = 0; key < 20; key++) {
      expect(await limiter.allow({ org: 'acme', key })).toMatchObject({ allowed: key < 5 });
    }
    await limiter.block({ org: 'acme' }, '1h');
    expect(await limiter.peek({ org: 'acme', key: 3 })).toMatchObject({ reason: 'blocked' });
    await limiter.allow({ org: 'other', key: 1 });
    const keys = await keysOf(cluster);
    for (const key of keys) expect(key).toMatch(TAGGED);
    expect(keys).toHaveLength(5 + 1 + 1 + 2);
    expect(new Set(keys.map(tagIn)).size).toBe(2);
  });

  test('one counter for all has one tag', async () => {
    const limiter = limiterOf({ limits: [tokenBucket({ ...hour, by: [] })] });
    await limiter.allow({});
    expect(await limiter.peek({})).toMatchObject({ remaining: 4 });
    expect(await keysOf(cluster)).toEqual([expect.stringMatching(TAGGED)]);
  });

  test('ready() leaves no key', async () => {
    await limiterOf({ blocks: true }).ready();
    expect(await keysOf(cluster)).toEqual([]);
  });

  test('calls of one turn share a script call for each tag', async () => {
    const limiter = limiterOf();
    const ids = Array.from({ length: 200 }, (_, i) => `user:${i}`);
    await limiter.ready();
    await cluster.command('CONFIG', 'RESETSTAT');
    await Promise.all(ids.map((id) => limiter.allow(id)));
    expect((await cluster.commandStats())['evalsha']).toMatchObject({ calls: 16 });
    expect(await keysOf(cluster)).toHaveLength(200);
    const untagged = limiterOf({ cluster: undefined });
    await cluster.command('CONFIG', 'RESETSTAT');
    await Promise.all(ids.map((id) => untagged.allow(id)));
    expect((await cluster.commandStats())['evalsha']?.calls).toBeGreaterThan(180);
  });

  test('another number of tags, or none, shares no state', async () => {
    const all = [16, 64, 256].map((tags) => limiterOf({ cluster: { tags } }));
    for (const limiter of [...all, limiterOf({ cluster: undefined })]) {
      for (let i = 0; i < 50; i++) {
        expect(await limiter.allow(`user:${i}`)).toMatchObject({ remaining: 4 });
      }
    }
  });
});

describe('a token of a reservation under tags', () => {
  const plans = { a: { tags: 16 }, b: { tags: 64 }, c: undefined } as const;

  test.each(['a', 'b', 'c'] as const)(
    'is settled by a process with other limits and other tags: %s',
    async (kind) => {
      const api = limiterOf();
      const worker = limiterOf({
        cluster: plans[kind],
        limits: [fixedWindow({ rate: 1, period: '1s', name: 'other' })],
      });
      const { token } = await api.reserve('user', { cost: 4, ttl: '1h' });
      expect(token).toMatch(
        /^1\.[0-9a-f]{32}\.16-[0-7]{6}-token_bucket\.[0-9a-f]{64}\.[0-9a-f]{32}$/,
      );
      expect(await worker.resume(token).settle(1)).toMatchObject({ charged: 1 });
      expect(await api.peek('user')).toMatchObject({ remaining: 4 });
    },
  );

  test('is settled in all homes of limits that count by parts', async () => {
    const limits = [
      tokenBucket({ ...hour, name: 'key', by: ['org', 'key'] }),
      fixedWindow({ ...hour, name: 'org', by: 'org' }),
    ] as const;
    const api = limiterOf({ limits });
    const identity = { org: 'acme', key: 1 };
    const { token } = await api.reserve(identity, { cost: 4, ttl: '1h' });
    expect(
      await limiterOf({ cluster: { tags: 256 } })
        .resume(token)
        .settle(1),
    ).toMatchObject({
      charged: 1,
    });
    expect(await api.peek(identity)).toMatchObject({ remaining: 4 });
  });

  test.each([
    (token: string) => token.replace('.16-', '.64-'),
    (token: string) => token.replace(/-([0-7])/, (_, digit) => `-${(Number(digit) + 1) % 8}`),
    (token: string) => token.replace('-token_bucket', '-fixed_window'),
  ])('is refused when its tag was changed (%#)', async (change) => {
    const { token } = await limiterOf().reserve('user', { ttl: '1h' });
    expect(change(token)).not.toBe(token);
    expect(() => limiterOf().resume(change(token))).toThrow(
      expect.objectContaining({ code: 'ERR_UNKNOWN_TOKEN' }),
    );
  });
});

test('a MemoryStore takes the options of a limiter on a cluster', async () => {
  const limiter = new RateLimiter({ store: new MemoryStore(), cluster: { tags: 16 }, ...hour });
  expect(await limiter.allow('user')).toMatchObject({ remaining: 4 });
});

test.each([
  [
    'a client',
    () => ({ redis: client }),
    '`cluster.enabled` must be left out where `redis` is a client',
  ],
  [
    'a MemoryStore',
    () => ({ store: new MemoryStore() }),
    '`cluster.enabled` must be left out where `store` is given',
  ],
])('cluster.enabled is refused beside %s', (_, place, message) => {
  const make = () =>
    new RateLimiter({ ...place(), cluster: { tags: 16, enabled: true }, ...hour } as never);
  expect(make).toThrow(message);
});
