// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import {
  startCluster,
  startFaultProxy,
  startRedis,
  startSentinel,
  waitUntil,
} from '../../kit/servers/index.mjs';
import { LIBRARIES } from '../processes/clients.mjs';
import { Callers } from './callers.mjs';
import { excess, micros, shareUsed } from './envelope.mjs';

/** @typedef {import('../../kit/servers/index.mjs').RedisServer} RedisServer */
/** @typedef {import('./caller.worker.mjs').Tally} Tally */
/** @typedef {import('./caller.worker.mjs').Task['local']} Local */

export const PROCESSES = 8;
/** Processes together ask for so many times the rate. */
export const OVERLOAD = 3;
export const RATE = 1_000;
export const BURST = 4_000;
/** Within this time the burst is spent. */
const SETTLING_MS = 3_000;
/** @type {import('../../../src/index.ts').TokenBucketOptions} */
const limit = { rate: RATE, period: '1s', burst: BURST };
const SPENT = { rate: RATE, burst: BURST, settlingMs: SETTLING_MS };

/** Longer than a busy machine takes for any call: a call that is given up is charged to nobody. */
const PATIENT_MS = 10_000;
/** The deadline of calls where replies are lost. */
const TIMEOUT_MS = 250;
/** A process is frozen for so long. */
const STOPPED_MS = 2_000;
/** So often the next reply of a connection is lost, and the connection with it. */
const EVERY_LOSS_MS = 200;

/** The limit and the load of a failover: the burst lasts for 4 s. The first second is over before writes are lost. */
export const FAILOVER = { rate: 100, burst: 12_000, perSecond: 3_000, settlingMs: 1_000 };

/** The identity's key, under tags or not. The key that says who holds slices ends with an `s`. */
const KEYS = '*local:*token_bucket:*[0-9a-f]';

/** @type {Local} */
const PREPAID = { prepay: true, denyCache: true };

/**
 * @typedef {object} Outcome
 * @property {import('./envelope.mjs').Admission[]} admissions
 * @property {number} over units beyond `burst + rate · Δ` in the worst interval, for certain; below 0 if there are none
 * @property {number} used of the limit, after the burst was spent
 * @property {Tally} tally of the processes that lived
 * @property {number} asked decisions that Redis was asked for, of all in `tally`
 */

/**
 * Runs processes on one identity at a multiple of its limit, three times if not told.
 *
 * @param {object} [options]
 * @param {Local} [options.local]
 * @param {number} [options.processes]
 * @param {number} [options.clients] of each process
 * @param {number} [options.load] times the rate
 * @param {number} [options.burst]
 * @param {number} [options.ms]
 * @returns {Promise<Outcome>}
 */
export async function overload({
  local = PREPAID,
  processes = PROCESSES,
  clients = 1,
  load = OVERLOAD,
  burst = BURST,
  ms = 5_000,
} = {}) {
  const redis = await startRedis();
  const callers = new Callers({
    doors: Array.from({ length: processes }, (_, i) => doorOf(redis, i)),
    clients,
    perSecond: (load * RATE) / processes,
    timeoutMs: PATIENT_MS,
    local,
    limit: { ...limit, burst },
  });
  try {
    await callers.going;
    return await outcome(callers, { ...SPENT, burst }, () => sleep(ms));
  } finally {
    await callers.close();
    await redis.close();
  }
}

/**
 * Runs eight processes on one identity at three times its limit while one is killed, one is frozen for 2 s, two have slow
 * connections, and two lose replies.
 *
 * @param {object} [options]
 * @param {Local} [options.local]
 * @param {number} [options.ms]
 * @returns {Promise<Outcome>}
 */
export async function overloadWithFaults({ local = PREPAID, ms = 5_000 } = {}) {
  const redis = await startRedis();
  const slow = await startFaultProxy(redis);
  const lossy = await startFaultProxy(redis);
  const servers = [redis, redis, redis, redis, slow, slow, lossy, lossy];
  const callers = new Callers({
    doors: servers.map(doorOf),
    perSecond: (OVERLOAD * RATE) / PROCESSES,
    timeoutMs: TIMEOUT_MS,
    local,
    limit,
  });
  try {
    await callers.going;
    return await outcome(callers, SPENT, async () => {
      const until = performance.now() + ms;
      await slow.delay(10, 30);
      await callers.kill(0);
      callers.signal(1, 'SIGSTOP');
      const thaws = sleep(STOPPED_MS).then(() => callers.signal(1, 'SIGCONT'));
      while (performance.now() < until) {
        await lossy.dropReplies({ cut: true, times: 1 });
        await sleep(EVERY_LOSS_MS);
      }
      await thaws;
      await lossy.pass();
    });
  } finally {
    await callers.close();
    await Promise.all([slow.close(), lossy.close()]);
    await redis.close();
  }
}

/**
 * Servers of which one has a replica that is promoted once it dies.
 *
 * @typedef {object} Group
 * @property {import('../processes/clients.mjs').Door[]} doors one for each process
 * @property {() => Promise<{ primary: RedisServer, replica: RedisServer }>} pair that has the identity's key
 * @property {(replica: RedisServer) => Promise<unknown>} promoted
 * @property {() => Promise<void>} close
 */

/** @returns {Promise<Group>} */
async function sentinelGroup() {
  const { primary, replica, addresses, name, becomesPrimary, close } = await startSentinel();
  return {
    doors: Array.from({ length: PROCESSES }, () => ({ sentinels: addresses, name })),
    pair: async () => ({ primary, replica }),
    promoted: becomesPrimary,
    close,
  };
}

/** @returns {Promise<Group>} */
async function clusterGroup() {
  const { nodes, addresses, close } = await startCluster({ replicas: 1 });
  const primaries = nodes.slice(0, nodes.length / 2);
  return {
    doors: Array.from({ length: PROCESSES }, (_, i) => ({
      library: LIBRARIES[i % 2] ?? 'ioredis',
      cluster: addresses,
    })),
    pair: async () => {
      const keys = await Promise.all(primaries.map((node) => node.command('KEYS', KEYS)));
      const at = keys.findIndex(({ length }) => length > 0);
      const [primary, replica] = [nodes[at], nodes[primaries.length + at]];
      if (primary === undefined || replica === undefined) throw new Error('no node has the key');
      await replica.command('READONLY');
      return { primary, replica };
    },
    promoted: (replica) =>
      waitUntil(
        'the cluster to promote the replica',
        async () => (await replica.info('replication'))['role'] === 'master',
      ),
    close,
  };
}

/**
 * Runs eight processes on one identity while its primary dies, and a replica that had not received its last writes is
 * promoted. The burst is not spent before, and recovers too slowly to hide what is lost.
 *
 * @param {object} [options]
 * @param {'sentinel' | 'cluster'} [options.of] who promotes the replica
 * @param {16 | 64 | 256} [options.tags] that the keys share
 * @param {number} [options.behindMs] for how long the replica receives nothing before
 * @param {number} [options.afterMs] for how long calls go on afterwards: long enough for the rest of the burst
 * @returns {Promise<Outcome & { lost: number }>} `lost`: the most units that only the server which died had charged
 */
export async function failover({ of = 'sentinel', tags, behindMs = 700, afterMs = 5_000 } = {}) {
  const group = await (of === 'sentinel' ? sentinelGroup() : clusterGroup());
  const callers = new Callers({
    doors: group.doors,
    perSecond: FAILOVER.perSecond / PROCESSES,
    timeoutMs: TIMEOUT_MS,
    local: PREPAID,
    limit: { rate: FAILOVER.rate, period: '1s', burst: FAILOVER.burst },
    ...(tags === undefined ? {} : { cluster: { tags } }),
  });
  try {
    await callers.going;
    let [died, kept] = [0, 0];
    const result = await outcome(callers, FAILOVER, async () => {
      const { primary, replica } = await group.pair();
      await replica.stop();
      await primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
      await sleep(behindMs);
      // No script runs from here on, so the state is all that this server has charged.
      await primary.command('ACL', 'SETUSER', 'default', '-eval', '-evalsha');
      died = await chargedUpTo(primary);
      await primary.kill();
      await replica.cont();
      await waitUntil('the replica to lose its primary', async () => {
        return (await replica.info('replication'))['master_link_status'] === 'down';
      });
      kept = await chargedUpTo(replica);
      await group.promoted(replica);
      await sleep(afterMs);
    });
    return { ...result, lost: ((died - kept) * FAILOVER.rate) / 1e6 };
  } finally {
    await callers.close();
    await group.close();
  }
}

/**
 * Returns up to when the identity's units are charged, in microseconds of the server's clock. Each unit takes a time of its
 * own before it.
 *
 * @param {RedisServer} server
 */
async function chargedUpTo(server) {
  const [key] = await server.command('KEYS', KEYS);
  const [arrival = ''] = String(await server.command('GET', key)).split(':');
  return Number(arrival);
}

/** @param {{ port: number }} server @param {number} index of the process */
function doorOf({ port }, index) {
  return { library: LIBRARIES[index % 2] ?? 'ioredis', port };
}

/**
 * @param {Callers} callers
 * @param {{ rate: number, burst: number, settlingMs: number }} limit
 * @param {() => Promise<void>} happens
 * @returns {Promise<Outcome>}
 */
async function outcome(callers, { rate, burst, settlingMs }, happens) {
  await sleep(settlingMs);
  callers.count();
  const from = micros();
  await happens();
  const to = micros();
  const tally = sum(await callers.stop());
  const { admissions } = callers;
  return {
    admissions,
    over: excess(admissions, { rate, burst }),
    used: shareUsed(admissions, rate, [from, to]),
    tally,
    asked: tally.store / tally.calls,
  };
}

/** @param {readonly Tally[]} tallies @returns {Tally} */
function sum([first, ...others]) {
  if (first === undefined) throw new Error('no process lived');
  const total = { ...first };
  for (const tally of others) {
    for (const what of /** @type {(keyof Tally)[]} */ (Object.keys(total))) {
      total[what] += tally[what];
    }
  }
  return total;
}
