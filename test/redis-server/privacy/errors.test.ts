import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import type { RedisClient } from 'distributed-rate-limiter';
import { digestIdentity } from '../../../src/base/identity.ts';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startFaultProxy, startRedis } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

const { GlideClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs the server's text, keys and all, to the console

interface Opened {
  readonly redis: string | RedisClient;
  close(): unknown;
}

const ioredis =
  (Client: typeof Redis) =>
  (port: number): Opened => {
    const client = new Client({ port, maxRetriesPerRequest: 0 });
    client.on('error', () => {});
    return { redis: client, close: () => client.disconnect() };
  };
const nodeRedis =
  (create: typeof createClient) =>
  async (port: number): Promise<Opened> => {
    const client = create({ socket: { port } });
    client.on('error', () => {});
    await client.connect();
    return { redis: client as RedisClient, close: () => endNodeRedis(client) };
  };

const clients = {
  'a URL': (port: number): Opened => ({ redis: `redis://127.0.0.1:${port}`, close: () => {} }),
  'ioredis 6': ioredis(Redis),
  'ioredis 5': ioredis(loadClient('ioredis-5').Redis),
  iovalkey: ioredis(loadClient('iovalkey').Redis),
  'node-redis 6': nodeRedis(createClient),
  'node-redis 5': nodeRedis(loadClient('redis-5').createClient),
  'node-redis 4': nodeRedis(loadClient('redis-4').createClient),
  'valkey-glide': async (port: number): Promise<Opened> => {
    const addresses = [{ host: '127.0.0.1', port }];
    const client = await GlideClient.createClient({ addresses, requestTimeout: 2_000 });
    return { redis: client, close: () => client.close() };
  },
} as const;

const identity = 'canary';
const digest = digestIdentity(identity, undefined);
/** Servers shorten their quotes: any part of a key is a leak. */
const leaks = [digest.slice(0, 8), 'secret-namespace', identity];

describe('no error names a key that the server quoted', () => {
  const warnings = collectWarnings();
  let withoutEvalsha: Awaited<ReturnType<typeof startRedis>>;
  let withoutScripts: Awaited<ReturnType<typeof startRedis>>;
  let plain: Awaited<ReturnType<typeof startRedis>>;
  let quoting: Awaited<ReturnType<typeof startFaultProxy>>;
  beforeAll(async () => {
    withoutEvalsha = await startRedis({ config: { 'rename-command': 'EVALSHA ""' } });
    withoutScripts = await startRedis({ config: { 'rename-command': ['EVALSHA ""', 'EVAL ""'] } });
    plain = await startRedis();
    quoting = await startFaultProxy(plain);
    await quoting.reply(([, , , key]) => `-ERR 'other' and ${key} are not on one server`);
  });
  afterAll(async () => {
    await quoting.close();
    await Promise.all([withoutEvalsha, withoutScripts, plain].map((server) => server.close()));
  });

  const places = [
    ['EVALSHA is renamed', () => withoutEvalsha.port],
    ['EVALSHA and EVAL are renamed', () => withoutScripts.port],
    ['a proxy quotes the key bare', () => quoting.port],
  ] as const;
  const rows = Object.keys(clients).flatMap((name) =>
    places.map(([what, port]) => [name, what, port] as const),
  );

  test.each(rows)('%s, when %s', async (name, _what, port) => {
    const { redis, close } = await clients[name as keyof typeof clients](port());
    const heard: unknown[] = [];
    const limiter = new RateLimiter({
      redis,
      namespace: 'secret-namespace',
      rate: 5,
      period: '1m',
      timeoutMs: 5_000,
      onError: (error) => heard.push(error),
    });
    heard.push(await limiter.allow(identity));
    expect(heard[1]).toMatchObject({ degraded: true, reason: 'store_error' });
    heard.push(await limiter.reset(identity).catch((error: unknown) => error));
    heard.push(await limiter.ready().catch((error: unknown) => error));
    heard.push(...(await warnings()));
    const shown = inspect(heard, { depth: Infinity, showHidden: true, maxStringLength: null });
    const words = heard.map((each) => (each instanceof Error ? `${each.stack}` : '')).join('\n');
    for (const leak of leaks) expect(`${shown}${words}`).not.toContain(leak);
    await limiter.close();
    close();
  });
});
