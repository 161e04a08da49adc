// @ts-check
import { freePort } from './free-port.mjs';
import { linkUp } from './redis-replica.mjs';
import { startRedis } from './redis-server.mjs';
import { waitUntil } from './wait-until.mjs';

/** @typedef {import('./redis-server.mjs').RedisServer} RedisServer */
/** @typedef {import('./redis-server.mjs').RedisOptions} RedisOptions */
/** @typedef {RedisServer & { id: string }} ClusterNode `id` is the one that `CLUSTER` commands use */

const SLOTS = 16_384;

/**
 * @typedef {object} RedisCluster
 * @property {ClusterNode[]} nodes first those that began as primaries, in the order of their slots, then the replicas
 *   in the same order. `kill()`, `stop()` and `cont()` of a node are the faults of a cluster
 * @property {{ host: string, port: number }[]} addresses of all nodes, as clients want them
 * @property {(slot: number) => Promise<ClusterNode>} nodeOfSlot the slot's primary, as a node that still answers sees it
 * @property {(key: string) => Promise<ClusterNode>} nodeOfKey
 * @property {(slot: number, from: ClusterNode, to: ClusterNode, options?: { during?: () => unknown }) => Promise<void>} moveSlot
 *   moves a slot with its keys while the cluster is in use. `during` runs in the middle: the keys have left and the
 *   slot still belongs to `from`, which answers `ASK`. Resolves when all nodes that answer know the new owner
 * @property {() => Promise<void>} settled resolves when all nodes that answer say `cluster_state:ok`
 * @property {() => Promise<void>} close ends all nodes
 */

/**
 * Starts a real cluster, all slots covered, in about three seconds. Needs Redis 7.
 *
 * @param {object} [options]
 * @param {number} [options.primaries] 3; a cluster with fewer cannot elect a replica
 * @param {0 | 1} [options.replicas] per primary (0)
 * @param {number} [options.nodeTimeoutMs] silence after which a node is taken for down (1 s)
 * @param {RedisOptions} [options.node] for every node. `config: { 'cluster-require-full-coverage': 'no' }` lets the
 *   other slots work while one has no primary; Redis's default stops them all
 * @returns {Promise<RedisCluster>}
 */
export async function startCluster({
  primaries = 3,
  replicas = 0,
  nodeTimeoutMs = 1000,
  node: nodeOptions,
} = {}) {
  /** @type {ClusterNode[]} */
  const nodes = [];
  const answering = () => nodes.filter((node) => node.answers);
  const close = async () => {
    await Promise.all(nodes.map((node) => node.close()));
  };

  const settled = async () => {
    await waitUntil('all nodes of the cluster to agree', async () => {
      const answers = await Promise.all(answering().map((node) => node.command('CLUSTER', 'INFO')));
      return answers.every(
        (info) =>
          info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodes.length}`),
      );
    });
  };

  /** @type {RedisCluster['nodeOfSlot']} */
  const nodeOfSlot = async (slot) => {
    const witness = answering()[0];
    /** @type {[number, number, [string, number, string]][]} */
    const ranges = witness ? await witness.command('CLUSTER', 'SLOTS') : [];
    const id = ranges.find(([first, last]) => first <= slot && slot <= last)?.[2][2];
    const owner = nodes.find((node) => node.id === id);
    if (!owner) throw new Error(`no node serves slot ${slot}`);
    return owner;
  };

  try {
    while (nodes.length < primaries * (1 + replicas)) {
      const bus = await freePort();
      const server = await startRedis({
        ...nodeOptions,
        config: {
          'cluster-enabled': 'yes',
          'cluster-config-file': 'nodes.conf',
          'cluster-node-timeout': nodeTimeoutMs,
          'cluster-port': bus,
          // A replica just started counts as disconnected for too long, and would not stand for election.
          'cluster-replica-validity-factor': 0,
          ...nodeOptions?.config,
        },
      });
      const id = String(await server.command('CLUSTER', 'MYID'));
      nodes.push(Object.assign(server, { id }));
      await server.command('CLUSTER', 'SET-CONFIG-EPOCH', nodes.length);
      await nodes[0]?.command('CLUSTER', 'MEET', server.host, server.port, bus);
    }
    await Promise.all(
      nodes.slice(0, primaries).map((node, i) => {
        const first = Math.ceil((i * SLOTS) / primaries);
        const last = Math.ceil(((i + 1) * SLOTS) / primaries) - 1;
        return node.command('CLUSTER', 'ADDSLOTSRANGE', first, last);
      }),
    );
    await Promise.all(
      nodes.slice(primaries).map(async (node, i) => {
        const primary = nodes[i];
        if (!primary) return;
        await waitUntil('the replica to know its primary', () =>
          node.command('CLUSTER', 'REPLICATE', primary.id),
        );
        await linkUp(node);
      }),
    );
    await settled();
    // Nodes learn of replicas by gossip, and clients may ask any node for all of them.
    await waitUntil('all nodes to know the replicas', async () => {
      const tables = await Promise.all(nodes.map((node) => node.command('CLUSTER', 'NODES')));
      return tables.every(
        (table) => (table.match(/[ ,]slave /g) ?? []).length === primaries * replicas,
      );
    });
  } catch (error) {
    await close();
    throw error;
  }

  return {
    nodes,
    addresses: nodes.map(({ host, port }) => ({ host, port })),
    nodeOfSlot,
    nodeOfKey: (key) => nodeOfSlot(slotOfKey(key)),
    moveSlot: async (slot, from, to, { during } = {}) => {
      await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
      await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
      const moveKeys = async () => {
        for (;;) {
          const keys = await from.command('CLUSTER', 'GETKEYSINSLOT', slot, 100);
          if (keys.length === 0) return;
          await from.command('MIGRATE', to.host, to.port, '', 0, 5000, 'KEYS', ...keys);
        }
      };
      await moveKeys();
      await during?.();
      // Tells the new owner first: if it were told last, both nodes would for a moment redirect clients to each other.
      for (const node of new Set([to, from, ...answering()])) {
        // A replica rejects the command, and learns the slot's owner from its primary.
        if ((await node.info('replication'))['role'] !== 'master') continue;
        await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
      }
      await waitUntil(`slot ${slot} to belong to its new node everywhere`, async () => {
        const tables = await Promise.all(
          answering().map((node) => node.command('CLUSTER', 'SLOTS')),
        );
        return tables.every((ranges) =>
          ranges.some(
            (/** @type {[number, number, [string, number, string]]} */ [first, last, [, , id]]) =>
              first <= slot && slot <= last && id === to.id,
          ),
        );
      });
    },
    settled,
    close,
  };
}

/**
 * The slot of a key: CRC-16 (XMODEM) of the key, or of its hash tag: the text between its first `{` and the next `}`,
 * if not empty.
 *
 * @param {string} key
 * @returns {number} 0 to 16383
 */
export function slotOfKey(key) {
  const open = key.indexOf('{');
  const end = open < 0 ? -1 : key.indexOf('}', open + 1);
  const hashed = end > open + 1 ? key.slice(open + 1, end) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) !== 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    crc &= 0xffff;
  }
  return crc % SLOTS;
}

/** @type {Map<number, string>} */
const tags = new Map();
let tried = 0;

/**
 * Returns a hash tag that puts a key into this slot: `{${tagOfSlot(slot)}}anything`.
 *
 * @param {number} slot
 * @returns {string}
 */
export function tagOfSlot(slot) {
  for (; !tags.has(slot); tried++) {
    const tag = tried.toString(36);
    if (!tags.has(slotOfKey(tag))) tags.set(slotOfKey(tag), tag);
  }
  return /** @type {string} */ (tags.get(slot));
}
