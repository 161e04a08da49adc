// @ts-check
import assert from 'node:assert/strict';
import { register } from 'node:module';

/** @typedef {import('distributed-rate-limiter').RedisClient} RedisClient */

/**
 * One way in which a limiter comes to its connection.
 *
 * @typedef {object} ClientKind
 * @property {string} name
 * @property {'ioredis' | 'node-redis'} library
 * @property {boolean} own whether the connection is opened from a URL, by this library, and so never sends anything
 *   twice
 * @property {number} reconnectMs the longest pause between two attempts to connect, after a short outage
 * @property {boolean} opensSlowly whether the library occupies the event loop for long when a first call makes its client
 * @property {number} lingersMs how long a process may live on for the client's own sake when it was told to disconnect
 * @property {(url: string) => Promise<{ redis: string | RedisClient, close: () => void }>} open with the library's
 *   default settings, where the client is the user's; returns before it is connected
 */

/** @type {ClientKind} */
const urlWithIoredis = {
  name: 'URL (ioredis)',
  library: 'ioredis',
  own: true,
  reconnectMs: 1_000,
  opensSlowly: false,
  lingersMs: 0,
  open: async (url) => {
    await import('ioredis'); // now, so that the first call does not block the event loop by it
    return { redis: url, close: () => {} };
  },
};

/** @type {ClientKind} */
const urlWithNodeRedis = {
  name: 'URL (node-redis)',
  library: 'node-redis',
  own: true,
  reconnectMs: 1_000,
  opensSlowly: true,
  lingersMs: 0,
  open: async (url) => {
    await hideIoredis();
    const { createClient } = await import('redis');
    createClient({ url }); // the first one in a process takes a fifth of a second of its processor
    return { redis: url, close: () => {} };
  },
};

/** @type {ClientKind} */
const ioredis = {
  name: 'ioredis',
  library: 'ioredis',
  own: false,
  reconnectMs: 2_000,
  opensSlowly: false,
  // With no connection to end, `disconnect()` waits for `disconnectTimeout` all the same.
  lingersMs: 2_000,
  open: async (url) => {
    const { Redis } = await import('ioredis');
    const client = new Redis(url);
    client.on('error', () => {});
    return { redis: client, close: () => client.disconnect() };
  },
};

/** @type {ClientKind} */
const nodeRedis = {
  name: 'node-redis',
  library: 'node-redis',
  own: false,
  reconnectMs: 2_200,
  opensSlowly: false,
  lingersMs: 0,
  open: async (url) => {
    const { createClient } = await import('redis');
    const client = createClient({ url });
    client.on('error', () => {});
    client.connect().catch(() => {});
    return { redis: /** @type {RedisClient} */ (client), close: () => client.destroy() };
  },
};

export const clients = { urlWithIoredis, urlWithNodeRedis, ioredis, nodeRedis };

let hidden = false;

/** From here on this process finds no ioredis, as where only node-redis is installed. */
async function hideIoredis() {
  if (hidden) return;
  hidden = true;
  register(new URL('without-ioredis.hooks.mjs', import.meta.url));
  await assert.rejects(import('ioredis'), { code: 'ERR_MODULE_NOT_FOUND' });
}
