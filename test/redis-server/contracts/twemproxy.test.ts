import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  RateLimiter,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { RateLimiterOptions, RedisClient } from 'distributed-rate-limiter';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { startRedis, startTwemproxy, waitUntil } from '../../kit/servers/index.mjs';
import { ioredisProxySettings } from './recommended.ts';
import { exactly, identities, passed } from './sharded-calls.ts';
import { declareStore } from './subjects.ts';

/** The sharding proxy of the other tests is theirs; this one is Twemproxy itself, in front of two real servers. */

type Proxy = Awaited<ReturnType<typeof startTwemproxy>>;

let servers: Awaited<ReturnType<typeof startRedis>>[];
/** Choosing the server by the whole key, and by the hash tag. */
let byKey: Proxy;
let byTag: Proxy;
beforeAll(async () => {
  servers = await Promise.all([startRedis(), startRedis()]);
  byKey = await startTwemproxy(servers);
  byTag = await startTwemproxy(servers, { hashTags: true });
});
afterAll(async () => {
  await Promise.all([byKey?.close(), byTag?.close()]);
  await Promise.all(servers.map((server) => server.close()));
});

const open: { close(): unknown }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

let made = 0;
function limiterOn(
  redis: string | RedisClient,
  options: Partial<RateLimiterOptions> = {},
): RateLimiter {
  const limiter = new RateLimiter({
    redis,
    namespace: `twemproxy-${(made += 1)}`,
    timeoutMs: 10_000,
    failStrategy: 'throw',
    onError() {},
    ...(options.limits === undefined ? { rate: 10, period: '1h' } : {}),
    ...options,
  } as RateLimiterOptions);
  open.push(limiter);
  return limiter;
}

function ioredisOn({ port }: Proxy): Redis {
  const client = new Redis({ ...ioredisProxySettings, port });
  client.on('error', () => {});
  open.push({ close: () => client.disconnect() });
  return client;
}

describe('Twemproxy that chooses the server by the whole key', () => {
  test('shares the keys out over both servers, and limits are exceeded without `sharding`', async () => {
    expect(Math.max(...(await passed(limiterOn(ioredisOn(byKey)))))).toBeGreaterThan(10);
    for (const server of servers) expect((await server.keyCounts()).keys).toBeGreaterThan(0);
  });

  test.each([
    ['a URL', () => byKey.url],
    ['ioredis', () => ioredisOn(byKey)],
  ])("limits are exact with `sharding: 'key'`: %s", async (_, place) => {
    expect(await passed(limiterOn(place(), { sharding: 'key' }))).toEqual(exactly(10));
  });

  test.each(['sliding_window', 'sliding_window_log', 'fixed_window'] as const)(
    "%s is exact with `sharding: 'key'`",
    async (algorithm) => {
      const options = { sharding: 'key', algorithm } as Partial<RateLimiterOptions>;
      expect(await passed(limiterOn(ioredisOn(byKey), options))).toEqual(exactly(10));
    },
  );

  test("several token buckets and windows are exact with `sharding: 'key'`", async () => {
    const limits = [
      tokenBucket({ rate: 10, period: '1h' }),
      slidingWindow({ name: 'window', rate: 9, period: '1h' }),
      fixedWindow({ name: 'hour', rate: 8, period: '1h' }),
    ];
    expect(await passed(limiterOn(ioredisOn(byKey), { sharding: 'key', limits }))).toEqual(
      exactly(8),
    );
  });
});

describe('Twemproxy that chooses the server by the text between braces', () => {
  declareStore('a URL', () => ({ redis: byTag.url, sharding: 'hash_tag' }));

  test('several limits that do not share a key are exact', async () => {
    const limits = [
      tokenBucket({ rate: 10, period: '1h' }),
      slidingWindowLog({ name: 'log', rate: 8, period: '1h' }),
    ];
    const options = { sharding: 'hash_tag', blocks: true, limits } as const;
    expect(await passed(limiterOn(ioredisOn(byTag), options))).toEqual(exactly(8));
  });
});

describe('`ready()` through Twemproxy', () => {
  const warnings = collectWarnings();

  test('warns with DRL_SHARDED where `sharding` is left out, or is not what the proxy does', async () => {
    await limiterOn(ioredisOn(byKey)).ready();
    await limiterOn(ioredisOn(byKey), { sharding: 'hash_tag' }).ready();
    await limiterOn(ioredisOn(byKey), { sharding: 'key' }).ready();
    await limiterOn(ioredisOn(byTag), { sharding: 'hash_tag' }).ready();
    const codes = (await warnings()).map(({ code }) => code);
    expect(codes).toEqual(['DRL_SHARDED', 'DRL_SHARDED']);
  });
});

test('while a server behind Twemproxy is dead, calls to its keys are refused, and others decided', async () => {
  const own = await Promise.all([startRedis(), startRedis()]);
  const proxy = await startTwemproxy(own);
  open.push(proxy, ...own);
  const limiter = limiterOn(ioredisOn(proxy), { sharding: 'key' });
  const outcomes = async (): Promise<Set<string>> => {
    const results = await Promise.allSettled(identities.map((identity) => limiter.allow(identity)));
    return new Set(
      results.map((result) =>
        result.status === 'fulfilled' ? 'decided' : String(result.reason.code),
      ),
    );
  };
  expect(await outcomes()).toEqual(new Set(['decided']));
  await own[0].kill();
  await waitUntil('a refusal', async () => (await outcomes()).size > 1);
  expect(await outcomes()).toEqual(new Set(['decided', 'ERR_STORE']));
});
