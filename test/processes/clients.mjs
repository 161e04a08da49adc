// @ts-check
import { Redis } from 'ioredis';
import { createClient } from 'redis';

/** @typedef {'ioredis' | 'node-redis'} Library */
/** @typedef {import('../../src/index.ts').RedisClient} RedisClient */

/** @type {readonly Library[]} */
export const LIBRARIES = ['ioredis', 'node-redis'];

/**
 * A connected client that sends nothing twice, so that what is charged can be counted.
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
