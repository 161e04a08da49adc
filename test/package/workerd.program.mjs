// @ts-check
/** The worker: each path of the URL is one way to limit, and answers with its result as JSON. */
import { Hono } from 'hono';
// @ts-expect-error -- it is installed in test/installs/clients
import { Redis as Upstash } from '@upstash/redis';
import { Cluster, Redis } from 'ioredis';
import { createClient, createCluster } from 'redis';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import * as express from 'distributed-rate-limiter/express';
import * as hono from 'distributed-rate-limiter/hono';
import * as http from 'distributed-rate-limiter/http';
import * as koa from 'distributed-rate-limiter/koa';
import * as limited from 'distributed-rate-limiter/limited';
import * as nodeHttp from 'distributed-rate-limiter/node-http';
import * as web from 'distributed-rate-limiter/web';
import { defineLimiter } from 'distributed-rate-limiter/workers';

/** @typedef {{ PORT: string, OBJECTS: { idFromName(name: string): object, get(id: object): { fetch(request: Request): Promise<Response> } } }} Env */

const RATE = /** @type {const} */ ({ rate: 5, period: '1h' });

const ONE = { identify: () => 'user:1' };

/** @param {string} port */
function openIoredis(port) {
  const client = new Redis({
    host: '127.0.0.1',
    port: Number(port),
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  client.on('error', () => {});
  return { client, end: () => client.disconnect() };
}

/** @param {string} port */
function openNodeRedis(port) {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  client.on('error', () => {});
  client.connect().catch(() => {});
  return { client, end: () => client.destroy() };
}

/** @param {string} port */
function openPort(port) {
  const { client, end } = openIoredis(port);
  /** @type {import('../../src/index.ts').RedisPort} */
  const redisPort = {
    state: 'ready',
    onStateChange() {},
    send: (command, args) => client.call(command, ...args),
    isReply: (error) => error instanceof Error && error.name === 'ReplyError',
  };
  return { client: redisPort, end };
}

const CLIENTS = { ioredis: openIoredis, 'node-redis': openNodeRedis, RedisPort: openPort };

/** @typedef {keyof typeof CLIENTS} Library */

/** @param {unknown} error */
const codeOf = (error) => /** @type {{ code?: unknown }} */ (error).code ?? String(error);

/** @param {Promise<import('../../src/index.ts').Decision>} decision */
const told = (decision) =>
  decision.then(
    ({ reason, degraded }) => (degraded ? `degraded: ${reason}` : reason),
    (error) => codeOf(error),
  );

/** @param {() => unknown} make */
function thrownBy(make) {
  try {
    make();
    return 'made';
  } catch (error) {
    return codeOf(error);
  }
}

// Objects that a program makes once, when it is loaded.
const store = new MemoryStore();
const inMemory = new RateLimiter({ store, namespace: 'core', ...RATE });
const waitsInMemory = new RateLimiter({
  store,
  namespace: 'wait',
  rate: 20,
  burst: 1,
  period: '1s',
});
const guardedByWeb = web.rateLimit(
  { store, namespace: 'web', ...RATE },
  ONE,
)(() => new Response('done'));
const app = new Hono();
app.use(hono.rateLimit({ store, namespace: 'hono', ...RATE }, ONE));
app.get('*', (c) => c.text('done'));

const outside = thrownBy(
  () => new RateLimiter({ redis: new Redis({ lazyConnect: true }), ...RATE }),
);

/** @type {Record<string, (redis: any) => unknown>} */
const WAYS_IN = {
  RateLimiter: (redis) => new RateLimiter({ redis, ...RATE }),
  '/express': (redis) => express.rateLimit({ redis, ...RATE }),
  '/hono': (redis) => hono.rateLimit({ redis, ...RATE }, ONE),
  '/http': (redis) => http.createGuard({ redis, ...RATE }, ONE),
  '/koa': (redis) => koa.rateLimit({ redis, ...RATE }),
  '/limited': (redis) => limited.limited(async () => 1, { limiter: { redis, ...RATE }, ...ONE }),
  '/node-http': (redis) => nodeHttp.rateLimit({ redis, ...RATE }),
  '/web': (redis) => web.rateLimit({ redis, ...RATE }, ONE),
};

/** A port that tells its state, and can be closed. @param {string} port @returns {import('../../src/index.ts').RedisPort} */
function openOwnPort(port) {
  const { client, end } = openIoredis(port);
  let hasFailed = false;
  client.on('close', () => (hasFailed = true));
  client.connect().catch(() => {});
  return {
    get state() {
      if (client.status === 'ready') return 'ready';
      return hasFailed ? 'away' : 'connecting';
    },
    onStateChange(listener) {
      for (const event of ['ready', 'close', 'end']) client.on(event, listener);
    },
    send: (command, args) => client.call(command, ...args),
    isReply: (error) => error instanceof Error && error.name === 'ReplyError',
    close: async () => end(),
  };
}

/** Where the state of the entry /workers is: the port of Redis, or the REST server in front of it. */
/** @typedef {{ port: string, rest: string, token: string }} Place */

/** @type {Record<string, (place: Place) => import('distributed-rate-limiter/workers').RedisClient>} */
const MAKES = {
  ioredis: ({ port }) => openIoredis(port).client,
  'node-redis': ({ port }) => {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', () => {});
    return client;
  },
  RedisPort: ({ port }) => openOwnPort(port),
  'ioredis-cluster': ({ port }) => {
    const redisOptions = { maxRetriesPerRequest: 0 };
    const options = { redisOptions, retryDelayOnFailover: 0 };
    const client = new Cluster([{ host: '127.0.0.1', port: Number(port) }], options);
    client.on('error', () => {});
    return client;
  },
  'node-redis-cluster': ({ port }) => {
    const client = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] });
    client.on('error', () => {});
    return client;
  },
  upstash: ({ rest, token }) =>
    new Upstash({ url: rest, token, enableTelemetry: false, retry: { retries: 0 } }),
};

/** Defined once, outside of requests. @param {string} library @param {'open' | 'closed' | 'throw'} failStrategy */
const define = (library, failStrategy) =>
  defineLimiter({
    redis: (/** @type {Place} */ place) =>
      MAKES[library]?.(place) ?? openIoredis(place.port).client,
    namespace: `workers-${library}`,
    failStrategy,
    onError() {},
    ...RATE,
  });

const defined = Object.fromEntries(
  Object.keys(MAKES).flatMap((library) =>
    /** @type {const} */ (['open', 'closed', 'throw']).map((strategy) => [
      `${library}-${strategy}`,
      define(library, strategy),
    ]),
  ),
);

/** @param {string} name */
const definedAs = (name) => defined[name] ?? define('ioredis', 'open');

const perRequest = new Hono();
perRequest.use((c, next) => {
  const place = /** @type {Place} */ (c.env);
  const limiter = definedAs('ioredis-open').forRequest(c.executionCtx, place);
  return hono.rateLimit(limiter, { identify: () => 'user:hono' })(c, next);
});
perRequest.get('*', (c) => c.text('done'));

/** A limiter of the entry /workers that a request has left behind. @type {RateLimiter | undefined} */
let leftBehind;

/**
 * @param {Request} request
 * @param {Place} place
 * @param {{ waitUntil(promise: Promise<unknown>): void, passThroughOnException(): void, props: unknown }} context
 */
async function answerPerRequest(request, place, context) {
  const { pathname, searchParams } = new URL(request.url);
  const [, , library = '', strategy = 'open', what = 'allow'] = pathname.split('/');
  const user = searchParams.get('user') ?? 'user:1';
  const limiter = definedAs(`${library}-${strategy}`).forRequest(context, place);
  switch (what) {
    case 'allow':
      return told(limiter.allow(user));
    case 'three':
      return Promise.all([1, 2, 3].map(() => told(limiter.allow(user))));
    case 'left':
      void limiter.allow(user);
      return 'left';
    case 'late-refund': {
      const decision = await limiter.allow(user);
      await new Promise((resolve) => setTimeout(resolve, 400));
      return told(limiter.refund(decision));
    }
    case 'remaining':
      return (await limiter.peek(user)).remaining;
    case 'web': {
      const limit = web.rateLimit(limiter, { identify: () => 'user:web' });
      return (await limit(() => new Response('done'))(request)).status;
    }
    case 'hono':
      return (await perRequest.fetch(request, place, context)).status;
    case 'leave-limiter':
      leftBehind = limiter;
      return told(limiter.allow(user));
    case 'left-limiter':
      return told(/** @type {RateLimiter} */ (leftBehind).allow(user));
    default:
      throw new Error(`unknown: ${what}`);
  }
}

/** Limiters that the first request makes, and later ones use. @type {Map<string, RateLimiter>} */
const kept = new Map();
/** Clients that the first request makes, and later ones use. @type {Map<string, any>} */
const keptClients = new Map();

/**
 * @template T
 * @param {Map<string, T>} among
 * @param {string} name
 * @param {() => T} make
 * @returns {T}
 */
function keep(among, name, make) {
  const found = among.get(name) ?? make();
  among.set(name, found);
  return found;
}

/** @type {string[]} */
const warnings = [];
process.on('warning', ({ name, message }) => warnings.push(`${name}: ${message}`));

/**
 * @param {Request} request
 * @param {Env} env
 * @param {Parameters<typeof answerPerRequest>[2]} context
 * @returns {Promise<unknown>}
 */
async function answer(request, { PORT, OBJECTS }, context) {
  const { pathname, search, searchParams } = new URL(request.url);
  const [, what = '', library = 'ioredis', failStrategy] = pathname.split('/');
  const open = CLIENTS[/** @type {Library} */ (library)];
  const options = {
    namespace: `${what}-${library}`,
    ...RATE,
    ...(failStrategy ? { failStrategy: /** @type {'open'} */ (failStrategy) } : {}),
  };
  switch (what) {
    case 'memory':
      return told(inMemory.allow('user:1'));
    case 'memory-wait': {
      const waiting = told(waitsInMemory.wait('user:1'));
      return search === '?leave' ? 'left' : waiting;
    }
    case 'web':
      return (await guardedByWeb(request)).status;
    case 'hono':
      return (await app.fetch(request)).status;
    case 'outside':
      return outside;
    case 'url':
      return Object.fromEntries(
        Object.entries(WAYS_IN).map(([way, make]) => [
          way,
          thrownBy(() => make(`redis://127.0.0.1:${PORT}`)),
        ]),
      );
    case 'shared-limiter': {
      const make = () => new RateLimiter({ redis: open(PORT).client, ...options });
      return told(keep(kept, pathname, make).allow('user:1'));
    }
    case 'shared-client': {
      const client = keep(keptClients, library, () => open(PORT).client);
      return Object.fromEntries(
        Object.entries(WAYS_IN).map(([way, make]) => [way, thrownBy(() => make(client))]),
      );
    }
    case 'used-client': {
      const client = keep(keptClients, `used-${library}`, () => open(PORT).client);
      if (search === '?use') return await client.ping();
      return told(new RateLimiter({ redis: client, ...options }).allow('user:1')).catch(codeOf);
    }
    case 'own': {
      const { client, end } = open(PORT);
      const limiter = new RateLimiter({ redis: client, ...options });
      const decisions = await Promise.all([
        told(limiter.allow('user:1')),
        told(limiter.allow('user:1')),
      ]);
      await limiter.close();
      end();
      return decisions;
    }
    case 'own-web': {
      const { client, end } = open(PORT);
      const limit = web.rateLimit({ redis: client, ...options }, ONE);
      const { status } = await limit(() => new Response('done'))(request);
      await limit.limiter.close();
      end();
      return status;
    }
    case 'workers': {
      const { port = PORT, rest = '', token = '' } = Object.fromEntries(searchParams);
      return answerPerRequest(request, { port, rest, token }, context);
    }
    case 'object':
      return (await OBJECTS.get(OBJECTS.idFromName('one')).fetch(request)).json();
    case 'warnings':
      return warnings;
    default:
      return 'ready';
  }
}

export default {
  /**
   * @param {Request} request
   * @param {Env} env
   * @param {Parameters<typeof answerPerRequest>[2]} context
   */
  async fetch(request, env, context) {
    return Response.json(await answer(request, env, context).catch((error) => codeOf(error)));
  },
};

/** A Durable Object: all its requests may share the client that the first one opened. */
export class LimiterObject {
  /**
   * @param {object} _
   * @param {Env} env
   */
  constructor(_, env) {
    const { client } = openIoredis(env.PORT);
    this.limiter = new RateLimiter({ redis: client, namespace: 'object', ...RATE });
  }

  async fetch() {
    return Response.json(await told(this.limiter.allow('user:1')));
  }
}
