import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  RateLimiter,
  StoreError,
  fixedWindow,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { RedisClient } from 'distributed-rate-limiter';
import { startFaultProxy, startRedis } from '../../kit/servers/index.mjs';

let redis: Awaited<ReturnType<typeof startRedis>>;
let proxy: Awaited<ReturnType<typeof startFaultProxy>>;
beforeAll(async () => {
  redis = await startRedis();
  proxy = await startFaultProxy(redis);
});
afterAll(async () => {
  await proxy.close();
  await redis.close();
});

async function openIoredis(): Promise<{ client: RedisClient; end: () => void }> {
  const client = new Redis(proxy.port, proxy.host, { maxRetriesPerRequest: 0, lazyConnect: true });
  client.on('error', () => {});
  await client.connect();
  return { client, end: () => client.disconnect() };
}

async function openNodeRedis(): Promise<{ client: RedisClient; end: () => void }> {
  const client = createClient({ url: proxy.url });
  await client.on('error', () => {}).connect();
  return { client, end: () => client.destroy() };
}

test('one script text serves every limit and identity', async () => {
  const { client, end } = await openIoredis();
  const hostile = [
    '"] redis.call("FLUSHALL") --',
    "'..redis.sha1hex('')..'",
    '\r\n*1\r\n$8\r\nFLUSHALL\r\n',
    ']]',
  ];
  for (const [i, rate] of [1, 7, 1_000].entries()) {
    const limiter = new RateLimiter({
      redis: client,
      namespace: `one-text-${i}`,
      limits: [
        tokenBucket({ rate, period: '1h' }),
        slidingWindow({ name: 'w', rate, period: '1h' }),
        fixedWindow({ name: 'q', rate, period: '1h' }),
      ],
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    for (const identity of hostile) {
      expect((await limiter.allow(identity)).allowed).toBe(true);
      expect((await limiter.allow([identity, identity])).allowed).toBe(true);
    }
  }
  expect((await redis.info('memory'))['number_of_cached_scripts']).toBe('1');
  end();
  expect(await redis.command('DBSIZE')).toBe(3 * 8);
});

describe.each([
  ['ioredis', openIoredis],
  ['node-redis', openNodeRedis],
])('a hostile server in place of Redis, with %s', (_, open) => {
  let client: RedisClient;
  let end: () => void;
  beforeEach(async () => {
    await proxy.pass();
    ({ client, end } = await open());
  });
  afterEach(() => end());

  test.each<[string, string]>([
    ['arrays in arrays, 5,000 deep', `${'*1\r\n'.repeat(5_000)}:1`],
    ['a number beyond 2^53 for the time', '*2\r\n:9007199254740993\r\n:1'],
    ['a negative time', '*2\r\n:-99999999999999999\r\n:1'],
    ['a time that is not a number', '*2\r\n$9\r\n__proto__\r\n:1'],
    ['the names of properties', '*2\r\n$9\r\n__proto__\r\n$11\r\nconstructor'],
    ['hexadecimal digits', '*2\r\n:1700000000000000\r\n$4\r\n0x10'],
    ['an exponent', '*2\r\n:1700000000000000\r\n$3\r\n1e3'],
    ['NaN', '*2\r\n:1700000000000000\r\n$3\r\nNaN'],
    ['text instead of numbers', '+OK'],
  ])('%s as reply is a failed decision that grants nothing', async (_what, reply) => {
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'peer',
      rate: 1,
      period: '1h',
      failStrategy: 'closed',
      timeoutMs: 1_000,
      onError: () => {},
    });
    await proxy.reply(reply, { times: 1 });
    const decision = await limiter.allow('user');
    expect(decision).toMatchObject({ allowed: false, degraded: true, limits: [] });
    // After an unparsable reply a client may hear nothing until its connection ends.
    await proxy.cut();
    await expect
      .poll(async () => (await limiter.peek('user')).degraded, { timeout: 30_000 })
      .toBe(false);
  });

  test("no word quoted in an error reply is repeated in the library's error", async () => {
    await proxy.reply(
      "-ERR wrong args 'alice@example.org' password hunter2 key peer:token_bucket:ab",
      {
        times: 1,
      },
    );
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'peer',
      rate: 1,
      period: '1h',
      failStrategy: 'throw',
      timeoutMs: 2_000,
    });
    const error: unknown = await limiter
      .allow('alice@example.org')
      .catch((raised: unknown) => raised);
    expect(error).toBeInstanceOf(StoreError);
    expect((error as Error).message).toBe('Redis refused: ERR.');
  });
});
