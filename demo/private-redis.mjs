/** A redis-server for this run alone, without persistence. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startRedis } from '../test/kit/servers/redis-server.mjs';
import { Problem } from './problem.mjs';

const LOOK_EVERY_MS = 200;
/** Long enough to try an outage of Redis by hand. */
const AWAY_MS = 3_000;

/**
 * After a kill the demo shows an outage of Redis; then the server restarts by itself, empty.
 * @returns {Promise<{ url: string, pid: () => number, close: () => Promise<void> }>}
 */
export async function startPrivateRedis() {
  const server = await startRedis().catch((error) => {
    throw new Problem(error.message);
  });
  let closed = false;
  let away = false;
  const comeBack = async () => {
    await sleep(AWAY_MS, undefined, { ref: false });
    // Retries a start that failed: the next check finds no process.
    if (!closed) await server.start().catch(() => {});
    away = false;
  };
  const watch = setInterval(() => {
    if (away || server.pid !== 0) return;
    away = true;
    void comeBack();
  }, LOOK_EVERY_MS);
  watch.unref();
  return {
    url: server.url,
    pid: () => server.pid,
    close: async () => {
      closed = true;
      clearInterval(watch);
      await server.close();
    },
  };
}
