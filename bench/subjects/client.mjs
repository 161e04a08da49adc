// @ts-check
import { once } from 'node:events';
import { Redis } from 'ioredis';

/**
 * Every subject gets the same client with ioredis's default settings, except for auto-pipelining.
 *
 * @param {import('./index.mjs').OpenOptions} options
 */
export async function connect({ port, db, autoPipelining }) {
  const client = new Redis({ host: '127.0.0.1', port, db, enableAutoPipelining: autoPipelining });
  await once(client, 'ready');
  return client;
}
