// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { MARGIN_MS, expectReal, isReal } from './caller.mjs';
import { callThroughLoss, checkExtra, runGroupScenario } from './groups.mjs';
import { chargesOf } from './run-scenario.mjs';
import { slotOfKey, startCluster, waitUntil } from '../../kit/servers/index.mjs';

/**
 * @typedef {Awaited<ReturnType<typeof startCluster>>} Cluster
 * @typedef {import('./groups.mjs').GroupClient<Cluster>} ClusterClient
 * @typedef {import('./groups.mjs').GroupScenario<Cluster>} ClusterScenario
 * @typedef {import('./groups.mjs').GroupResult} GroupResult
 */

const NODE_TIMEOUT_MS = 1_000;

/** @type {ClusterClient} */
const url = {
  name: 'URL (ioredis)',
  own: true,
  silenceMs: 2_500,
  open: async (cluster) => ({
    redis: cluster.nodes[0]?.url ?? '',
    cluster: true,
    close: () => {},
  }),
};

/** @type {ClusterClient} */
const ioredis = {
  name: 'ioredis',
  own: false,
  silenceMs: 500,
  open: async (cluster) => {
    const { Cluster } = await import('ioredis');
    const client = new Cluster(cluster.addresses, {
      redisOptions: { maxRetriesPerRequest: 0, connectTimeout: 1_000, socketTimeout: 500 },
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
    });
    client.on('error', () => {});
    return { redis: client, close: () => client.disconnect() };
  },
};

/** @type {ClusterClient} */
const nodeRedis = {
  name: 'node-redis',
  own: false,
  silenceMs: 500,
  takeoverMs: 6_000,
  staysWithHungNode: true,
  open: async (cluster) => {
    const { createCluster } = await import('redis');
    const client = createCluster({
      rootNodes: cluster.addresses.map((socket) => ({ socket })),
      defaults: {
        disableOfflineQueue: true,
        pingInterval: 200,
        socket: { connectTimeout: 1_000, socketTimeout: 500, reconnectStrategy: () => 100 },
      },
    });
    client.on('error', () => {});
    await client.connect();
    return {
      redis: /** @type {import('distributed-rate-limiter').RedisClient} */ (client),
      close: () => client.destroy(),
    };
  },
};

export const clusterClients = [url, ioredis, nodeRedis];

/**
 * The slot that has to move, the identity in it, and how many calls were made for it.
 *
 * @type {WeakMap<object, { identity: string, slot: number, calls: number }>}
 */
const hot = new WeakMap();

/** @type {ClusterScenario} */
const resharded = {
  name: 'a slot moves to another node under load (ASK, then MOVED)',
  timeoutMs: 2_000,
  choose: async () => () => true,
  async inject(cluster, clientRuns) {
    await waitUntil('the load to begin', () => clientRuns.every((clientRun) => hot.has(clientRun)));
    for (const clientRun of clientRuns) {
      const { slot } = /** @type {{ slot: number }} */ (hot.get(clientRun));
      const from = await cluster.nodeOfSlot(slot);
      const to = cluster.nodes.slice(0, 3).find((node) => node !== from);
      assert.ok(to);
      await cluster.moveSlot(slot, from, to, { during: () => sleep(100) });
    }
  },
  async callThrough(clientRun, progress) {
    const { caller } = clientRun;
    const identity = caller.fresh();
    const task = { identity, slot: slotOfKey(caller.keyOf(identity)), calls: 0 };
    hot.set(clientRun, task);
    const before = caller.errors.length;
    /** @type {ReturnType<typeof caller.call>[]} */
    const pending = [];
    while (!progress.over) {
      // Several calls in one batch, and others in a turn of their own.
      for (let i = 0; i < 3; i++) pending.push(caller.call(identity));
      task.calls += 3;
      pending.push(caller.call());
      await sleep(5);
    }
    for (const outcome of await Promise.all(pending)) assert.ok(expectReal(outcome).allowed);
    assert.equal(caller.errors.length, before, 'a redirect is no failure');
  },
  recover: undefined,
  async check(cluster, clientRun) {
    const { caller } = clientRun;
    const { identity, calls } = /** @type {{ identity: string, calls: number }} */ (
      hot.get(clientRun)
    );
    const key = caller.keyOf(identity);
    const owner = await cluster.nodeOfKey(key);
    assert.equal(await chargesOf(owner, key), calls, 'charged once each, wherever it was');
    clientRun.charges = await chargesInCluster(cluster, caller.namespace);
    assert.equal(clientRun.charges, caller.granted);
    await checkExtra(clientRun);
    assert.equal(clientRun.extra, 0, 'nothing was lost on the way');
  },
};

/**
 * @param {number} place of a node in the cluster, among those that began as primaries
 * @returns {ClusterScenario['choose']}
 */
const slotsOf = (place) => async (cluster) => {
  const node = cluster.nodes[place];
  /** @type {[number, number, [string, number, string]][]} */
  const ranges = await cluster.nodes[0]?.command('CLUSTER', 'SLOTS');
  const own = ranges.filter(([, , [, , id]]) => id === node?.id);
  assert.ok(own.length > 0);
  return (key) => {
    const slot = slotOfKey(key);
    return own.some(([first, last]) => first <= slot && slot <= last);
  };
};

/**
 * @param {number} place
 * @returns {Pick<ClusterScenario, 'choose' | 'check'>}
 */
const failover = (place) => ({
  choose: slotsOf(place),
  async check(cluster, clientRun) {
    const { caller, client } = clientRun;
    const back = await caller.recovered(performance.now(), 1_000 + MARGIN_MS);
    if (client.staysWithHungNode) clientRun.recoveryMs ??= back;
    await waitUntil('an end of the errors', async () => (await caller.burst(50)).every(isReal), {
      timeoutMs: 1_000,
    });
    await checkExtra(clientRun);
    clientRun.charges = await chargesInCluster(cluster, caller.namespace);
    if (client.own) assert.ok(clientRun.charges <= caller.calls, 'nothing was sent twice');
  },
});

/** @type {ClusterScenario} */
const hung = {
  name: 'a node hangs (SIGSTOP), its replica takes over, and it comes back',
  ...failover(1),
  async inject(cluster, _clientRuns, progress) {
    await cluster.nodes[1]?.stop();
    progress.since = performance.now();
  },
  callThrough: (clientRun, progress) =>
    callThroughLoss(
      clientRun,
      progress,
      clientRun.client.staysWithHungNode
        ? Infinity
        : recoveryBound(clientRun, clientRun.client.silenceMs),
    ),
  async recover(cluster) {
    const node = cluster.nodes[1];
    assert.ok(node);
    await node.cont();
    await waitUntil('the old primary to follow', async () => {
      return (await node.info('replication'))['role'] === 'slave';
    });
    await cluster.settled();
  },
};

/** @type {ClusterScenario} */
const killed = {
  name: 'a node dies (SIGKILL), and its replica takes over',
  ...failover(2),
  async inject(cluster, _clientRuns, progress) {
    await cluster.nodes[2]?.kill();
    progress.since = performance.now();
  },
  callThrough: (clientRun, progress) =>
    callThroughLoss(clientRun, progress, recoveryBound(clientRun, 0)),
  recover: undefined,
};

/** In this order: each scenario continues on the cluster as the previous one left it. */
export const clusterScenarios = [resharded, hung, killed];

/**
 * @param {import('./groups.mjs').ClientRun} clientRun
 * @param {number} silenceMs until the client knows as well
 */
function recoveryBound({ client }, silenceMs) {
  return Math.max(NODE_TIMEOUT_MS, silenceMs) + (client.takeoverMs ?? 3_000) + MARGIN_MS;
}

/**
 * @param {Cluster} cluster
 * @param {string} namespace
 */
async function chargesInCluster(cluster, namespace) {
  let charges = 0;
  for (const node of cluster.nodes) {
    if (!node.answers || (await node.info('replication'))['role'] !== 'master') continue;
    charges += await chargesOf(node, `${namespace}:*`);
  }
  return charges;
}

/**
 * Runs all scenarios on one cluster, one after another.
 *
 * @param {(result: GroupResult) => void} tell
 * @param {string} [words] in the name of the scenario
 */
export async function runClusterScenarios(tell, words = '') {
  const cluster = await startCluster({
    replicas: 1,
    nodeTimeoutMs: NODE_TIMEOUT_MS,
    node: { config: { 'cluster-require-full-coverage': 'no' } },
  });
  try {
    for (const scenario of clusterScenarios.filter(({ name }) => name.includes(words))) {
      for (const result of await runGroupScenario(scenario, cluster, clusterClients)) tell(result);
    }
  } finally {
    await cluster.close();
  }
}
