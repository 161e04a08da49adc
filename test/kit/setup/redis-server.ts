import { ensureRedisServer } from '../../../scripts/redis-server.mjs';
import { ensureServer } from '../../../scripts/servers.mjs';
import { once } from './once.ts';

/** Makes sure that the server for the tests is there: `redis-server`, or the one that `DRL_SERVER` names. */
export default async function setup(): Promise<void> {
  await once('redis-server', () => {
    const name = process.env['DRL_SERVER'];
    if (name) ensureServer(name);
    else ensureRedisServer();
  });
}
