/** A redis-server for this run alone, without persistence. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startRedis } from '../test/kit/servers/redis-server.mjs';
import { Problem } from './problem.mjs';

const LOOK_EVERY_MS = 200;
/** Long enough to try an outage of Redis by hand. */
const AWAY_MS = 3_000;

/**
 * @typedef {object} PrivateRedis
 * @property {string} url
 * @property {() => number} pid 0 while no process runs
 * @property {() => 'runs' | 'stopped' | 'gone'} state
 * @property {() => number} starts how often it has been started, each time empty
 * @property {Readonly<Record<RedisDeed, () => Promise<void>>>} deeds what can be done to it; each resolves when it is done
 * @property {() => Promise<void>} close
 *
 * @typedef {'stop' | 'continue' | 'kill' | 'restart'} RedisDeed
 */

/**
 * After a kill from outside the demo shows an outage of Redis; then the server restarts by itself, empty. After the deed
 * `kill` it is gone until the deed `restart`.
 *
 * @returns {Promise<PrivateRedis>}
 */
export async function startPrivateRedis() {
  const server = await startRedis().catch((error) => {
    throw new Problem(error.message);
  });
  let starts = 1;
  let closed = false;
  let away = false;
  let keptAway = false;
  const start = async () => {
    if (closed || server.pid !== 0) return;
    await server.start();
    starts += 1;
  };
  const comeBack = async () => {
    await sleep(AWAY_MS, undefined, { ref: false });
    // Retries a start that failed: the next check finds no process.
    if (!keptAway) await start().catch(() => {});
    away = false;
  };
  const watch = setInterval(() => {
    if (away || keptAway || server.pid !== 0) return;
    away = true;
    void comeBack();
  }, LOOK_EVERY_MS);
  watch.unref();
  return {
    url: server.url,
    pid: () => server.pid,
    state: () => (server.pid === 0 ? 'gone' : server.stopped ? 'stopped' : 'runs'),
    starts: () => starts,
    deeds: {
      stop: async () => {
        if (server.answers) await server.stop();
      },
      continue: async () => {
        if (server.stopped) await server.cont();
      },
      kill: async () => {
        keptAway = true;
        await server.kill();
      },
      restart: async () => {
        keptAway = true;
        await server.kill();
        await start();
        keptAway = false;
      },
    },
    close: async () => {
      closed = true;
      clearInterval(watch);
      await server.close();
    },
  };
}
