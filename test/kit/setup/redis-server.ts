import { ensureRedisServer } from '../../../scripts/redis-server.mjs';
import { once } from './once.ts';

/** Makes sure that the program `redis-server` is there. */
export default async function setup(): Promise<void> {
  await once('redis-server', ensureRedisServer);
}
