// @ts-check
import { randomBytes } from 'node:crypto';
import { startReplicated } from './redis-replica.mjs';
import { startRedis } from './redis-server.mjs';
import { waitUntil } from './wait-until.mjs';

/** @typedef {import('./redis-server.mjs').RedisServer} RedisServer */
/** @typedef {import('./redis-server.mjs').RedisOptions} RedisOptions */

/**
 * @typedef {object} SentinelRedis
 * @property {string} name under which the Sentinels know the primary
 * @property {RedisServer} primary the one that began as the primary
 * @property {RedisServer} replica
 * @property {import('./fault-proxy.mjs').FaultProxy | undefined} wire as of `startReplicated`; the Sentinels, too, know the primary by its port
 * @property {RedisServer[]} sentinels
 * @property {{ host: string, port: number }[]} addresses of the Sentinels, as clients want them
 * @property {() => Promise<RedisServer>} currentPrimary whom the Sentinels that still answer name as the primary
 * @property {(server: RedisServer) => Promise<void>} becomesPrimary resolves when a majority of the Sentinels that
 *   still answer names `server`, and it accepts writes
 * @property {() => Promise<void>} close ends them all
 */

/**
 * Starts a primary, a replica and three Sentinels that already know each other. After `primary.kill()` or
 * `primary.stop()` the replica is promoted `downAfterMs` and one or two seconds later.
 *
 * @param {object} [options]
 * @param {number} [options.downAfterMs] silence after which a Sentinel takes the primary for down (1 s)
 * @param {number} [options.failoverTimeoutMs] after a failed attempt the next one comes after twice this time (3 s)
 * @param {string} [options.name] default `mymaster`
 * @param {RedisOptions} [options.primary]
 * @param {RedisOptions} [options.replica]
 * @param {boolean} [options.proxied] for a primary that can be parted from its replica and the Sentinels
 * @returns {Promise<SentinelRedis>}
 */
export async function startSentinel({
  downAfterMs = 1000,
  failoverTimeoutMs = 3000,
  name = 'mymaster',
  primary: primaryOptions,
  replica: replicaOptions,
  proxied = false,
} = {}) {
  const pair = await startReplicated({
    proxied,
    ...(primaryOptions && { primary: primaryOptions }),
    ...(replicaOptions && { replica: replicaOptions }),
  });
  const { primary, replica, wire } = pair;
  /** @type {RedisServer[]} */
  const sentinels = [];
  const close = async () => {
    await Promise.all(sentinels.map((sentinel) => sentinel.close()));
    await pair.close();
  };
  try {
    while (sentinels.length < 3) {
      sentinels.push(
        await startRedis({
          sentinel: true,
          config: {
            sentinel: [
              `myid ${randomBytes(20).toString('hex')}`,
              `monitor ${name} ${primary.host} ${(wire ?? primary).port} 2`,
              `down-after-milliseconds ${name} ${downAfterMs}`,
              `failover-timeout ${name} ${failoverTimeoutMs}`,
              `known-replica ${name} ${replica.host} ${replica.port}`,
            ],
          },
        }),
      );
    }
    await waitUntil('the Sentinels to know each other', async () => {
      const states = await Promise.all(sentinels.map((sentinel) => stateOf(sentinel, name)));
      return states.every(
        (state) =>
          state['num-other-sentinels'] === '2' &&
          state['num-slaves'] === '1' &&
          state['flags'] === 'master',
      );
    });
  } catch (error) {
    await close();
    throw error;
  }

  /** @returns {Promise<number[]>} the port that each answering Sentinel names */
  const votes = () =>
    Promise.all(
      sentinels
        .filter((sentinel) => sentinel.answers)
        .map(async (sentinel) =>
          Number((await sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name))[1]),
        ),
    );

  return {
    name,
    primary,
    replica,
    wire,
    sentinels,
    addresses: sentinels.map(({ host, port }) => ({ host, port })),
    currentPrimary: async () => ((await votes())[0] === replica.port ? replica : primary),
    becomesPrimary: async (server) => {
      await waitUntil(
        `the failover to port ${server.port}`,
        async () => {
          const ports = await votes();
          if (ports.filter((port) => port === server.port).length * 2 <= ports.length) return false;
          return (await server.info('replication'))['role'] === 'master';
        },
        { timeoutMs: downAfterMs + 4 * failoverTimeoutMs + 10_000 },
      );
    },
    close,
  };
}

/**
 * @param {RedisServer} sentinel
 * @param {string} name
 * @returns {Promise<Record<string, string>>}
 */
async function stateOf(sentinel, name) {
  /** @type {string[]} */
  const flat = await sentinel.command('SENTINEL', 'MASTER', name);
  /** @type {Record<string, string>} */
  const state = {};
  for (let i = 0; i < flat.length; i += 2) state[flat[i] ?? ''] = flat[i + 1] ?? '';
  return state;
}
