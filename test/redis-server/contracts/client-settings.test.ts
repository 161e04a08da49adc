import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimiter } from 'distributed-rate-limiter';
import type { RedisClient } from 'distributed-rate-limiter';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { Cluster, Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { glideSettings, ioredisSettings, nodeRedisSettings } from './recommended.ts';
import { declareClient } from './subjects.ts';

const { GlideClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs every error to the console

let redis: Awaited<ReturnType<typeof startRedis>>;
let relay: Relay;
beforeAll(async () => {
  redis = await startRedis();
  relay = await startRelay(redis);
});
afterAll(async () => {
  await relay.close();
  await redis.close();
});

const docs = readFileSync(new URL('../../../docs/clients.md', import.meta.url), 'utf8');
const limit = { rate: 3, period: '1h' } as const;

interface Opened {
  readonly redis: RedisClient;
  close(): unknown;
}

/**
 * Calls until an answer is as wanted, with pauses: while Redis is away, answers come within one turn of the event loop.
 */
async function until(limiter: RateLimiter, what: 'real' | 'degraded'): Promise<void> {
  await waitUntil(`a ${what} decision`, async () => {
    const { degraded } = await limiter.peek('anybody');
    return degraded === (what === 'degraded');
  });
}

/** Connects through the proxy, with the settings that the documentation recommends. */
const recommended: Readonly<Record<string, () => Opened | Promise<Opened>>> = {
  'ioredis 6': () => openIoredis(Redis),
  'ioredis 5': () => openIoredis(loadClient('ioredis-5').Redis),
  iovalkey: () => openIoredis(loadClient('iovalkey').Redis),
  'node-redis 6': () => openNodeRedis(createClient),
  'node-redis 5': () => openNodeRedis(loadClient('redis-5').createClient),
  'node-redis 4': () => openNodeRedis(loadClient('redis-4').createClient),
  'valkey-glide': async () => {
    const { host, port } = relay;
    const made = await GlideClient.createClient({ ...glideSettings, addresses: [{ host, port }] });
    return { redis: made, close: () => made.close() };
  },
};

function openIoredis(Client: typeof Redis): Opened {
  const made = new Client({ ...ioredisSettings, host: relay.host, port: relay.port });
  made.on('error', () => {});
  return { redis: made, close: () => made.disconnect() };
}

function openNodeRedis(create: typeof createClient): Opened {
  const { host, port } = relay;
  const made = create({
    ...nodeRedisSettings,
    socket: { ...nodeRedisSettings.socket, host, port },
  });
  made.on('error', () => {});
  made.connect().catch(() => {});
  return { redis: made, close: () => endNodeRedis(made) };
}

test('the documentation shows the settings tested here', () => {
  const code = readFileSync(new URL('recommended.ts', import.meta.url), 'utf8');
  expect(docs).toContain(`\`\`\`ts\n${code}\`\`\`\n`);
});

for (const [name, open] of Object.entries(recommended)) {
  const isGlide = name === 'valkey-glide';
  declareClient(
    `${name} with the recommended settings`,
    () => ({ open, faults: relay }),
    isGlide
      ? {
          'the server runs calls in the order in which they were sent':
            'valkey-glide hands each command to a task of its own',
        }
      : {},
    { tellsOfLoss: !isGlide },
  );
}

describe('calls made while Redis is away are never sent later', () => {
  test.each(Object.keys(recommended))('%s sends none of them after the reconnect', async (name) => {
    const { redis: client, close } = await recommended[name]!();
    const limiter = new RateLimiter({ redis: client, ...limit, namespace: name.replace(' ', '-') });
    await limiter.ready();
    await relay.lose();
    await waitUntil('the loss to be known', async () => {
      const { degraded, reason } = await limiter.peek('anybody');
      // valkey-glide holds calls made before the library notices the outage; the next test covers these.
      return name === 'valkey-glide' ? reason === 'store_timeout' : degraded;
    });
    const calls = await Promise.all(Array.from({ length: 100 }, () => limiter.allow('user')));
    expect(calls.every(({ degraded }) => degraded)).toBe(true);
    await relay.restore();
    await until(limiter, 'real');
    expect(await limiter.peek('user')).toMatchObject({ degraded: false, remaining: 3 });
    await close();
  });

  test('valkey-glide sends calls made before the first timeout at most once', async () => {
    const { redis: client, close } = await recommended['valkey-glide']!();
    const namespace = 'valkey-glide-held';
    const limiter = new RateLimiter({ redis: client, rate: 1_000, period: '1h', namespace });
    await limiter.ready();
    await relay.lose();
    const calls = await Promise.all(Array.from({ length: 100 }, () => limiter.allow('user')));
    expect(calls.every(({ degraded }) => degraded)).toBe(true);
    await relay.restore();
    await until(limiter, 'real');
    await sleep(glideSettings.requestTimeout); // by then it has dropped its unsent commands
    const { remaining } = await limiter.peek('user');
    expect([1_000, 900]).toContain(remaining); // the hundred were one script call
    await close();
  });
});

describe('warnings', () => {
  const warnings = collectWarnings();
  // The outage itself causes a warning as well, whatever the settings.
  const codes = async () =>
    (await warnings()).map(({ code }) => code).filter((code) => code !== 'DRL_STORE_STATE');
  const use = (client: RedisClient) => new RateLimiter({ redis: client, ...limit });

  test.each(Object.keys(recommended))(
    '%s with the recommended settings causes no warning, even when it fails',
    async (name) => {
      const { redis: client, close } = await recommended[name]!();
      const limiter = use(client);
      await limiter.ready();
      await relay.lose();
      await until(limiter, 'degraded');
      await relay.restore();
      await close();
      expect(await codes()).toEqual([]);
    },
  );

  const ioredisLike = [
    ['ioredis 6', Redis],
    ['ioredis 5', loadClient('ioredis-5').Redis],
    ['iovalkey', loadClient('iovalkey').Redis],
  ] as const;

  test.each(ioredisLike)(
    '%s with its defaults warns that it may send twice, once per client',
    async (_, Client) => {
      const clients = [1, 2].map(() => new Client(redis.port));
      for (const client of clients) {
        await use(client).ready();
        await use(client).ready();
      }
      expect(await codes()).toEqual(['DRL_CLIENT_RESENDS', 'DRL_CLIENT_RESENDS']);
      for (const client of clients) client.disconnect();
    },
  );

  test.each(ioredisLike)(
    '%s with a keyPrefix warns, and every key has the prefix',
    async (name, Client) => {
      const client = new Client({ ...ioredisSettings, port: redis.port, keyPrefix: `${name}:` });
      const limiter = new RateLimiter({ redis: client, ...limit, namespace: 'prefixed' });
      await limiter.allow('user');
      expect(await redis.command('KEYS', `${name}:prefixed:*`)).toHaveLength(1);
      expect(await codes()).toEqual(['DRL_CLIENT_KEY_PREFIX']);
      client.disconnect();
    },
  );

  test('the settings of a cluster client of ioredis are read from its redisOptions', async () => {
    const options = { redisOptions: { keyPrefix: 'a:' }, lazyConnect: true };
    const client = new Cluster([{ port: redis.port }], options);
    client.on('error', () => {});
    await use(client).peek('user');
    expect(await codes()).toEqual(['DRL_CLIENT_RESENDS', 'DRL_CLIENT_KEY_PREFIX']);
    client.disconnect();
  });

  test.each([
    ['node-redis 6', createClient],
    ['node-redis 5', loadClient('redis-5').createClient],
    ['node-redis 4', loadClient('redis-4').createClient],
  ] as const)('%s without an error listener warns at the first error', async (_, create) => {
    const { host, port } = relay;
    const client = create({ socket: { host, port } });
    const limiter = use(client);
    await client.connect();
    await limiter.ready();
    await use(client).ready();
    expect(await codes()).toEqual([]);
    await relay.lose();
    await waitUntil('the warning', async () => (await codes()).length > 0);
    await relay.restore();
    await until(limiter, 'real');
    expect(await codes()).toEqual(['DRL_CLIENT_NO_ERROR_LISTENER']);
    endNodeRedis(client);
  });

  test('node-redis 4 warns and stops being used once it is out of step after half a reply', async () => {
    const proxy = await startFaultProxy(redis);
    const client = loadClient('redis-4').createClient({ url: proxy.url });
    client.on('error', () => {});
    await client.connect();
    const limiter = use(client);
    await limiter.ready();
    await proxy.halfReply(5, { times: 1 });
    expect(await limiter.allow('user')).toMatchObject({ degraded: true });
    await proxy.cut();
    await waitUntil('the warning', async () => (await codes()).length > 0);
    expect(await codes()).toEqual(['DRL_CLIENT_OUT_OF_STEP']);
    expect(await limiter.allow('user')).toMatchObject({ degraded: true, reason: 'store_away' });
    endNodeRedis(client);
    await proxy.close();
  });

  test('a custom port causes no warning, since it declares its own behaviour', async () => {
    const port: RedisClient = {
      state: 'away',
      onStateChange: () => {},
      send: () => Promise.reject(new Error('not sent')),
      isReply: () => false,
    };
    await use(port).peek('user');
    expect(await codes()).toEqual([]);
  });
});

test('node-redis puts no prefix before the keys of a script', async () => {
  const client = createClient({ socket: { port: redis.port }, keyPrefix: 'p:' });
  client.on('error', () => {});
  await client.connect();
  await new RateLimiter({ redis: client, ...limit, namespace: 'bare' }).allow('user');
  expect(await redis.command('KEYS', 'bare:*')).toHaveLength(1);
  client.destroy();
});

test('a node-redis 4 client in legacy mode is refused with a cure', async () => {
  const client = loadClient('redis-4').createClient({ legacyMode: true } as object);
  client.on('error', () => {});
  expect(() => new RateLimiter({ redis: client, ...limit })).toThrow(
    /`redis` must be .*duplicate\(\{ legacyMode: false \}\)/s,
  );
});
