// @ts-check
import assert from 'node:assert/strict';
import { register } from 'node:module';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';

/** @typedef {import('distributed-rate-limiter').RedisClient} RedisClient */

/**
 * One way in which a limiter gets its connection.
 *
 * @typedef {object} ClientKind
 * @property {string} name
 * @property {'ioredis' | 'node-redis' | 'valkey-glide'} library
 * @property {boolean} own whether the connection is opened from a URL, by this library, and so never sends anything
 *   twice
 * @property {boolean} tellsOfLoss whether it notices by itself that its connection is lost
 * @property {true} [staysOutOfStep] whether it cannot be used any more once a connection broke off in a reply
 * @property {number} reconnectMs the longest pause between two attempts to connect, after a short outage
 * @property {boolean} opensSlowly whether the library occupies the event loop for long when a first call makes its client
 * @property {number} lingersMs how long a process may live on for the client's own sake when it was told to disconnect
 * @property {(url: string) => Promise<{ redis: string | RedisClient, close: () => void }>} open with the library's
 *   default settings, where the client is the user's, but for what says so; returns before it is connected
 */

/** @type {ClientKind} */
const urlWithIoredis = {
  name: 'URL (ioredis)',
  library: 'ioredis',
  own: true,
  tellsOfLoss: true,
  reconnectMs: 1_000,
  opensSlowly: false,
  lingersMs: 0,
  open: async (url) => {
    await import('ioredis'); // loaded now, so that the first call does not block the event loop with it
    return { redis: url, close: () => {} };
  },
};

/** @type {ClientKind} */
const urlWithNodeRedis = {
  name: 'URL (node-redis)',
  library: 'node-redis',
  own: true,
  tellsOfLoss: true,
  reconnectMs: 1_000,
  opensSlowly: true,
  lingersMs: 0,
  open: async (url) => {
    await hideIoredis();
    const { createClient } = await import('redis');
    createClient({ url }); // the first client in a process takes a fifth of a second of processor time
    return { redis: url, close: () => {} };
  },
};

/**
 * @param {string} name
 * @param {() => Pick<typeof import('ioredis'), 'Redis'> | Promise<Pick<typeof import('ioredis'), 'Redis'>>} load
 * @returns {ClientKind}
 */
function ioredisKind(name, load) {
  return {
    name,
    library: 'ioredis',
    own: false,
    tellsOfLoss: true,
    reconnectMs: 2_000,
    opensSlowly: false,
    // Without a connection to end, `disconnect()` still waits for `disconnectTimeout`.
    lingersMs: 2_000,
    open: async (url) => {
      const { Redis } = await load();
      const client = new Redis(url);
      client.on('error', () => {});
      return { redis: client, close: () => client.disconnect() };
    },
  };
}

/**
 * @param {string} name
 * @param {() => Pick<typeof import('redis'), 'createClient'> | Promise<Pick<typeof import('redis'), 'createClient'>>} load
 * @returns {ClientKind}
 */
function nodeRedisKind(name, load) {
  return {
    name,
    library: 'node-redis',
    own: false,
    tellsOfLoss: true,
    reconnectMs: 2_200,
    opensSlowly: false,
    lingersMs: 0,
    open: async (url) => {
      const { createClient } = await load();
      const client = createClient({ url });
      client.on('error', () => {});
      client.connect().catch(() => {});
      return { redis: /** @type {RedisClient} */ (client), close: () => endNodeRedis(client) };
    },
  };
}

/** @type {ClientKind} */
const glide = {
  name: 'valkey-glide',
  library: 'valkey-glide',
  own: false,
  tellsOfLoss: false,
  reconnectMs: 2_200,
  opensSlowly: false,
  lingersMs: 0,
  open: async (url) => {
    const { GlideClient, Logger } = loadClient('@valkey/valkey-glide');
    Logger.setLoggerConfig('off'); // it logs every error to the console
    const { hostname, port, username, password } = new URL(url);
    const client = await GlideClient.createClient({
      addresses: [{ host: hostname, port: Number(port) }],
      ...(password === '' ? {} : { credentials: { username, password } }),
      lazyConnect: true,
      // Its default of 250 ms would expire first, and takes a blocked event loop for a hanging server.
      requestTimeout: 2_000,
    });
    return { redis: client, close: () => client.close() };
  },
};

export const clients = {
  urlWithIoredis,
  urlWithNodeRedis,
  ioredis: ioredisKind('ioredis', () => import('ioredis')),
  ioredis5: ioredisKind('ioredis 5', () => loadClient('ioredis-5')),
  iovalkey: ioredisKind('iovalkey', () => loadClient('iovalkey')),
  nodeRedis: nodeRedisKind('node-redis', () => import('redis')),
  nodeRedis5: nodeRedisKind('node-redis 5', () => loadClient('redis-5')),
  nodeRedis4: {
    ...nodeRedisKind('node-redis 4', () => loadClient('redis-4')),
    staysOutOfStep: /** @type {const} */ (true),
  },
  glide,
};

let hidden = false;

/** From here on this process resolves no ioredis, as if only node-redis were installed. */
async function hideIoredis() {
  if (hidden) return;
  hidden = true;
  register(new URL('without-ioredis.hooks.mjs', import.meta.url));
  await assert.rejects(import('ioredis'), { code: 'ERR_MODULE_NOT_FOUND' });
}
