// @ts-check
import { startFaultProxy } from './fault-proxy.mjs';
import { startRedis } from './redis-server.mjs';
import { waitUntil } from './wait-until.mjs';

/** @typedef {import('./redis-server.mjs').RedisServer} RedisServer */
/** @typedef {import('./redis-server.mjs').RedisOptions} RedisOptions */

/**
 * @typedef {object} ReplicatedRedis
 * @property {RedisServer} primary the one that began as the primary
 * @property {RedisServer} replica
 * @property {import('./fault-proxy.mjs').FaultProxy | undefined} wire with `proxied`, the way to the primary for everybody who learns of it: while it is
 *   stalled the primary is parted from them all, and still reached on its own port
 * @property {() => Promise<void>} caughtUp resolves when the replica has everything that the primary has executed
 * @property {() => Promise<void>} promote makes the replica a primary of its own; what it had not received is lost
 * @property {() => Promise<void>} close ends both
 */

/**
 * Starts a primary and a replica that is in sync with it.
 *
 * To lose writes at a failover: `replica.stop()`, write, `primary.kill()`, `replica.cont()`, `promote()`.
 *
 * @param {{ primary?: RedisOptions, replica?: RedisOptions, proxied?: boolean }} [options]
 * @returns {Promise<ReplicatedRedis>}
 */
export async function startReplicated({
  primary: primaryOptions,
  replica: replicaOptions,
  proxied = false,
} = {}) {
  const primary = await startRedis(primaryOptions);
  /** @type {import('./fault-proxy.mjs').FaultProxy | undefined} */
  let wire;
  /** @type {RedisServer} */
  let replica;
  try {
    if (proxied) {
      wire = await startFaultProxy(primary);
      // Once another server takes its place, the primary is a replica, and must be reached by this port, too.
      await primary.command('CONFIG', 'SET', 'replica-announce-port', wire.port);
    }
    replica = await startRedis({
      ...replicaOptions,
      config: { ...replicaOptions?.config, replicaof: `${primary.host} ${(wire ?? primary).port}` },
    });
  } catch (error) {
    await wire?.close();
    await primary.close();
    throw error;
  }
  const close = async () => {
    await wire?.close();
    await Promise.all([replica.close(), primary.close()]);
  };
  try {
    await linkUp(replica);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    primary,
    replica,
    wire,
    caughtUp: async () => {
      const { master_repl_offset: written = '' } = await primary.info('replication');
      await waitUntil('the replica to catch up', async () => {
        const { slave_repl_offset: received } = await replica.info('replication');
        return Number(received) >= Number(written);
      });
    },
    promote: async () => {
      await replica.command('REPLICAOF', 'NO', 'ONE');
    },
    close,
  };
}

/**
 * Resolves when a replica has its first full copy. Before that, Sentinel or a cluster cannot promote it.
 *
 * @param {RedisServer} replica
 */
export async function linkUp(replica) {
  await waitUntil('the replica to be in sync', async () => {
    const { role, master_link_status: link } = await replica.info('replication');
    return role === 'slave' && link === 'up';
  });
}
