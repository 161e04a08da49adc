// @ts-check
import { Cluster, Redis } from 'ioredis';
import { createClient, createCluster } from 'redis';

/** @typedef {'ioredis' | 'node-redis'} Library */
/** @typedef {import('../../../src/index.ts').RedisClient} RedisClient */

/** @type {readonly Library[]} */
export const LIBRARIES = ['ioredis', 'node-redis'];

/**
 * A connected client that never resends, so that charges can be counted.
 *
 * @param {Library} library
 * @param {number} port
 * @param {string} [password]
 * @returns {Promise<{ client: RedisClient, end: () => void }>}
 */
export async function openClient(library, port, password) {
  if (library === 'ioredis') {
    const client = new Redis({
      host: '127.0.0.1',
      port,
      ...(password === undefined ? {} : { password }),
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
    });
    client.on('error', () => {});
    await client.connect();
    return { client: /** @type {RedisClient} */ (client), end: () => client.disconnect() };
  }
  const client = createClient({
    socket: { host: '127.0.0.1', port },
    ...(password === undefined ? {} : { password }),
  });
  client.on('error', () => {});
  await client.connect();
  return { client: /** @type {any} */ (client), end: () => client.destroy() };
}

/**
 * The servers that a client connects to, in a form that can be sent to another process. `seen` maps an address that
 * Sentinels report to one that this client uses in its place.
 *
 * @typedef {{ host: string, port: number }} Address
 * @typedef {{ library: Library, port: number }
 *   | { sentinels: Address[], name: string, seen?: Record<string, Address> }
 *   | { library: Library, cluster: Address[] }} Door
 */

/** After this time without an answer a client of several servers gives up the server that it asked. */
const SILENCE_MS = 500;

/**
 * @param {Door} door
 * @returns {Promise<RedisClient>} it lives as long as its process
 */
export async function openDoor(door) {
  if ('port' in door) return (await openClient(door.library, door.port)).client;
  if ('sentinels' in door) {
    const client = new Redis({
      sentinels: door.sentinels,
      name: door.name,
      ...(door.seen && { natMap: door.seen }),
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      socketTimeout: SILENCE_MS,
    });
    client.on('error', () => {});
    return client;
  }
  if (door.library === 'ioredis') {
    const client = new Cluster(door.cluster, {
      redisOptions: { maxRetriesPerRequest: 0, connectTimeout: 1_000, socketTimeout: SILENCE_MS },
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
    });
    client.on('error', () => {});
    return client;
  }
  const client = createCluster({
    rootNodes: door.cluster.map((socket) => ({ socket })),
    defaults: {
      disableOfflineQueue: true,
      pingInterval: 200,
      socket: {
        connectTimeout: 1_000,
        socketTimeout: SILENCE_MS,
        reconnectStrategy: () => 100,
      },
    },
  });
  client.on('error', () => {});
  await client.connect();
  return client;
}
