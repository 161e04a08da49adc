import { randomUUID } from 'node:crypto';
import { rateLimit } from 'distributed-rate-limiter/web';
import { defineLimiter } from 'distributed-rate-limiter/workers';
import type { DefinedLimiterOptions, RedisClient } from 'distributed-rate-limiter/workers';
import { Cluster, Redis } from 'ioredis';
import { createClient, createClientPool, createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SocketPort } from '../contracts/socket-port.ts';
import { loadClient } from '../../installs/clients/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import {
  freePort,
  openResp,
  startCluster,
  startRedis,
  startRestServer,
  waitUntil,
} from '../../kit/servers/index.mjs';

const { Redis: Upstash } = loadClient('@upstash/redis');

let redis: Awaited<ReturnType<typeof startRedis>>;
let rest: Awaited<ReturnType<typeof startRestServer>>;
let observer: Awaited<ReturnType<typeof openResp>>;
/** Connections of the tests themselves. */
let ours: number;
const warnings = collectWarnings();

beforeAll(async () => {
  redis = await startRedis();
  rest = await startRestServer(redis);
  observer = await openResp({ port: redis.port });
  ours = await connectedClients();
});
afterAll(async () => {
  observer.close();
  await rest.close();
  await redis.close();
});

interface Env {
  readonly port: number;
}

/** The context of one request: `over` resolves when nothing keeps the request alive. */
class Context {
  readonly #kept: Promise<unknown>[] = [];

  waitUntil(promise: Promise<unknown>): void {
    this.#kept.push(promise);
  }

  get kept(): number {
    return this.#kept.length;
  }

  async over(): Promise<void> {
    for (const each of this.#kept) await each;
  }
}

let made = 0;

/** As a user would write it: without a listener for errors, with one line of settings. */
const ioredis = ({ port }: Env): RedisClient => {
  made += 1;
  const client = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  return client;
};

const MAKES: Readonly<Record<string, (env: Env) => RedisClient>> = {
  ioredis,
  'node-redis, not connected': ({ port }) => {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', () => {});
    return client;
  },
  'a pool of node-redis, not connected': ({ port }) =>
    createClientPool({ url: `redis://127.0.0.1:${port}` }).on('error', () => {}),
  'a RedisPort': ({ port }) => new SocketPort({ host: '127.0.0.1', port }),
  '@upstash/redis': () =>
    new Upstash({
      url: rest.url,
      token: rest.token,
      enableTelemetry: false,
      retry: { retries: 0 },
    }),
};

function define(options: Partial<DefinedLimiterOptions<Env>> = {}) {
  return defineLimiter<Env>({
    redis: ioredis,
    namespace: `workers-${randomUUID()}`,
    timeoutMs: 5_000,
    rate: 5,
    period: '1h',
    ...options,
  } as DefinedLimiterOptions<Env>);
}

async function connectedClients(): Promise<number> {
  const list = String(await observer.command('CLIENT', 'LIST', 'TYPE', 'normal'));
  return list.trim().split('\n').length;
}

/** Waits until only the clients of this file are connected: a server hears of a client's end a little later. */
async function allClosed(): Promise<void> {
  await waitUntil('every client is closed', async () => (await connectedClients()) === ours);
}

describe.each(Object.entries(MAKES))('a limiter for each request, on %s', (_, make) => {
  test('requests at once and after one another pass exactly as often as the limit says', async () => {
    const limits = define({ redis: make });
    const contexts: Context[] = [];
    const request = async (): Promise<string> => {
      const context = new Context();
      contexts.push(context);
      return (await limits.forRequest(context, { port: redis.port }).allow('user:1')).reason;
    };
    const atOnce = await Promise.all([request(), request(), request()]);
    expect(atOnce).toEqual(['within_limit', 'within_limit', 'within_limit']);
    const inTurn = [await request(), await request(), await request(), await request()];
    expect(inTurn).toEqual(['within_limit', 'within_limit', 'limited', 'limited']);
    await Promise.all(contexts.map((context) => context.over()));
    await allClosed();
    expect(await warnings()).toEqual([]);
  });
});

describe('on a Redis Cluster', () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  beforeAll(async () => {
    cluster = await startCluster();
  });
  afterAll(() => cluster.close());

  const clientsOf = async (): Promise<number> => {
    const lists = await Promise.all(
      cluster.nodes.map((node) => node.command('CLIENT', 'LIST', 'TYPE', 'normal')),
    );
    return lists.flatMap((list) => String(list).trim().split('\n')).length;
  };

  test.each<[string, () => RedisClient]>([
    [
      'ioredis',
      () =>
        new Cluster(cluster.addresses, {
          redisOptions: { maxRetriesPerRequest: 0 },
          retryDelayOnFailover: 0,
        }).on('error', () => {}),
    ],
    [
      'node-redis, not connected',
      () =>
        createCluster({ rootNodes: cluster.addresses.map((socket) => ({ socket })) }).on(
          'error',
          () => {},
        ),
    ],
  ])(
    'each request has its own client, users on all nodes pass exactly as often as the limit says, and all connections close: %s',
    async (_, make) => {
      const before = await clientsOf();
      const limits = define({ redis: make });
      const users = Array.from({ length: 12 }, (__, i) => `user:${i}`);
      const contexts: Context[] = [];
      const request = async (): Promise<readonly string[]> => {
        const context = new Context();
        contexts.push(context);
        const limiter = limits.forRequest(context, { port: 0 });
        const decisions = await Promise.all(users.map((user) => limiter.allow(user)));
        return decisions.map(({ reason }) => reason);
      };
      const all = (reason: string) => users.map(() => reason);
      const atOnce = await Promise.all([request(), request(), request()]);
      expect(atOnce).toEqual([1, 2, 3].map(() => all('within_limit')));
      expect([await request(), await request()]).toEqual([1, 2].map(() => all('within_limit')));
      expect(await request()).toEqual(all('limited'));
      await Promise.all(contexts.map((context) => context.over()));
      await waitUntil('every client is closed', async () => (await clientsOf()) === before);
      expect(await warnings()).toEqual([]);
    },
  );
});

test('a RedisPort without `close` is refused, because its connection would be left open', async () => {
  const limits = define({
    redis: () => ({
      state: 'ready',
      onStateChange() {},
      send: () => Promise.reject(new Error('not sent')),
      isReply: () => false,
    }),
  });
  const limiter = limits.forRequest(new Context(), { port: redis.port });
  await expect(limiter.allow('user:1')).rejects.toMatchObject({
    code: 'ERR_INVALID_OPTION',
    message: expect.stringMatching(/RedisPort has `close`/),
  });
});

test('under `cluster.tags` the keys are those of a `RateLimiter` with as many tags', async () => {
  const namespace = `workers-${randomUUID()}`;
  const context = new Context();
  const limits = define({ namespace, cluster: { tags: 16 } });
  await limits.forRequest(context, { port: redis.port }).allow('user:1');
  await context.over();
  const keys = await observer.command('KEYS', `{${namespace}:16:*`);
  expect(keys).toHaveLength(1);
  await allClosed();
});

test('calls of one turn of a request travel as one script call on one client', async () => {
  const context = new Context();
  const limiter = define().forRequest(context, { port: redis.port });
  await limiter.ready();
  const calls = async (): Promise<number> =>
    Number(
      /cmdstat_evalsha:calls=(\d+)/.exec(
        String(await observer.command('INFO', 'commandstats')),
      )?.[1],
    );
  const before = await calls();
  await Promise.all(['a', 'b', 'c'].map((user) => limiter.allow(user)));
  expect((await calls()) - before).toBe(1);
  await context.over();
});

test('limiters of one request whose definitions have the same `redis` share its client', async () => {
  const [perUser, perAddress] = [define(), define()];
  const context = new Context();
  made = 0;
  await perUser.forRequest(context, { port: redis.port }).allow('user:1');
  await perAddress.forRequest(context, { port: redis.port }).allow('192.0.2.1');
  await perUser.forRequest(context, { port: redis.port }).allow('user:1');
  expect(made).toBe(1);
  expect(context.kept).toBe(1);
  const another = new Context();
  await perUser.forRequest(another, { port: redis.port }).allow('user:1');
  expect(made).toBe(2);
  await context.over();
  await another.over();
  await allClosed();
});

test('opens nothing, and keeps no request alive, where nothing is asked', () => {
  made = 0;
  const context = new Context();
  define().forRequest(context, { port: redis.port });
  expect(made).toBe(0);
  expect(context.kept).toBe(0);
});

test('a call after the client was closed is decided on a new one, and that is closed too', async () => {
  const context = new Context();
  const limiter = define().forRequest(context, { port: redis.port });
  made = 0;
  const decision = await limiter.allow('user:1');
  await context.over();
  await allClosed();
  const refunded = await limiter.refund(decision);
  expect(refunded).toMatchObject({ degraded: false, remaining: 5 });
  expect(made).toBe(2);
  await context.over();
  await allClosed();
});

test('a call that nobody awaits is decided before the request ends', async () => {
  const limits = define({ namespace: 'not-awaited' });
  const context = new Context();
  void limits.forRequest(context, { port: redis.port }).allow('user:1', { cost: 2 });
  await context.over();
  const later = new Context();
  const { remaining } = await limits.forRequest(later, { port: redis.port }).peek('user:1');
  expect(remaining).toBe(3);
  await later.over();
});

describe('while Redis is away', () => {
  test.each([
    ['open', true],
    ['closed', false],
  ] as const)('failStrategy %s makes allowed %s, without Redis', async (failStrategy, allowed) => {
    const env = { port: await freePort() };
    const limits = define({ failStrategy, onError() {} });
    const contexts = Array.from({ length: 8 }, () => new Context());
    const decisions = await Promise.all(
      contexts.map((context) => limits.forRequest(context, env).allow('user:1')),
    );
    for (const decision of decisions) {
      expect(decision).toMatchObject({ allowed, degraded: true, reason: 'store_away' });
    }
    await Promise.all(contexts.map((context) => context.over()));
  });

  test('failStrategy throw rejects with what kept the client from connecting', async () => {
    const context = new Context();
    const limits = define({ failStrategy: 'throw', onError() {} });
    const limiter = limits.forRequest(context, { port: await freePort() });
    await expect(limiter.allow('user:1')).rejects.toMatchObject({ reason: 'store_away' });
    await context.over();
  });

  test('many requests emit one warning', async () => {
    const env = { port: await freePort() };
    const limits = define();
    for (let i = 0; i < 4; i++) {
      const context = new Context();
      await limits.forRequest(context, env).allow('user:1');
      await context.over();
    }
    expect((await warnings()).map(({ code }) => code)).toEqual(['DRL_DEGRADED']);
  });
});

test('warns of a harmful setting once, not once for each request', async () => {
  const limits = define({
    redis: ({ port }) => new Redis({ host: '127.0.0.1', port }).on('error', () => {}),
  });
  for (let i = 0; i < 3; i++) {
    const context = new Context();
    await limits.forRequest(context, { port: redis.port }).allow('user:1');
    await context.over();
  }
  expect((await warnings()).map(({ code }) => code)).toEqual(['DRL_CLIENT_RESENDS']);
});

test('a `redis` that throws or makes no client rejects the call, whatever `failStrategy`', async () => {
  const broken = define({
    redis: () => {
      throw new TypeError('no REDIS_HOST');
    },
  });
  const env = { port: redis.port };
  await expect(broken.forRequest(new Context(), env).allow('user:1')).rejects.toThrow(
    'no REDIS_HOST',
  );
  const wrong = define({ redis: () => 'redis://localhost' as never });
  await expect(wrong.forRequest(new Context(), env).allow('user:1')).rejects.toMatchObject({
    code: 'ERR_INVALID_OPTION',
  });
});

test('the guard of /web limits by a limiter of its request', async () => {
  const limits = define();
  const statuses = [];
  for (let i = 0; i < 6; i++) {
    const context = new Context();
    const limiter = limits.forRequest(context, { port: redis.port });
    const limited = rateLimit(limiter, { identify: () => 'user:1' })(() => new Response('done'));
    statuses.push((await limited(new Request('http://localhost'))).status);
    await context.over();
  }
  expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
});
