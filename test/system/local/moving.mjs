// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { slotOfKey, startCluster, waitUntil } from '../../kit/servers/index.mjs';
import { LIBRARIES } from '../processes/clients.mjs';
import { Callers } from './callers.mjs';
import { excess } from './envelope.mjs';

/** @typedef {16 | 64 | 256 | undefined} Tags `undefined`: every identity is in a slot of its own */

/** One identity, which asks for six times its rate in the old processes, and as much in the new ones. */
export const LIMIT = { rate: 100, burst: 300 };
const OVERLOAD = 6;
const PROCESSES = 2;
/** The burst is spent within this time. */
const SETTLING_MS = 1_500;
/** For so long at least old processes and new ones run beside each other. */
const ROLLOUT_MS = 2_000;
/** Longer than a busy machine takes for any call. */
const PATIENT_MS = 10_000;

/**
 * @typedef {object} Move
 * @property {number} twice units beyond `burst + rate · Δ` in the worst time, for certain
 * @property {number} most that can pass twice: one burst, and the rate for as long as the rollout took
 * @property {number} before how far above the limit the old processes were alone, in their worst time; below 0 for none
 * @property {number} after the same of the new ones
 * @property {number} rolloutMs from the first call of a new process to the last call of an old one
 * @property {number} keys of the identity in the middle of the rollout
 * @property {number} goneMs from the last call of an old process until its key had expired
 * @property {number} degraded decisions
 */

/**
 * Replaces processes with one number of tags by processes with another, on a real cluster and under load.
 *
 * @param {Tags} from
 * @param {Tags} to
 * @returns {Promise<Move>}
 */
export async function move(from, to) {
  const cluster = await startCluster();
  const groups = /** @type {Callers[]} */ ([]);
  /** @param {Tags} tags */
  const start = async (tags) => {
    const group = new Callers({
      doors: Array.from({ length: PROCESSES }, (_, i) => ({
        library: LIBRARIES[i % 2] ?? 'ioredis',
        cluster: cluster.addresses,
      })),
      perSecond: (OVERLOAD * LIMIT.rate) / PROCESSES,
      timeoutMs: PATIENT_MS,
      local: {},
      limit: { rate: LIMIT.rate, period: '1s', burst: LIMIT.burst },
      ...(tags === undefined ? {} : { cluster: { tags } }),
    });
    groups.push(group);
    await group.going;
    group.count();
    return group;
  };
  const keys = async () => {
    const found = await Promise.all(cluster.nodes.map((node) => node.command('KEYS', '*local:*')));
    return /** @type {string[][]} */ (found).flat();
  };
  try {
    const old = await start(from);
    await sleep(SETTLING_MS);
    const [oldKey = ''] = await keys();
    const fresh = await start(to);
    await sleep(ROLLOUT_MS);
    const together = await keys();
    const told = await old.stop();
    const stopped = performance.now();
    const owner = await cluster.nodeOfSlot(slotOfKey(oldKey));
    await waitUntil('the old key to expire', async () => {
      return (await owner.command('EXISTS', oldKey)) === 0;
    });
    const goneMs = performance.now() - stopped;
    told.push(...(await fresh.stop()));

    const [left, right] = [old.admissions, fresh.admissions];
    const rolloutMicros =
      Math.max(...left.map(({ after }) => after)) - Math.min(...right.map(({ before }) => before));
    return {
      twice: excess([...left, ...right], LIMIT),
      most: LIMIT.burst + (LIMIT.rate * rolloutMicros) / 1e6,
      before: excess(left, LIMIT),
      after: excess(right, LIMIT),
      rolloutMs: rolloutMicros / 1e3,
      keys: together.length,
      goneMs,
      degraded: told.reduce((sum, { degraded }) => sum + degraded, 0),
    };
  } finally {
    await Promise.all(groups.map((group) => group.close()));
    await cluster.close();
  }
}
