/** What the live page may do to the demo: to its private Redis, and to what saves calls to Redis. */
import { NOT_SAVING } from './limits.mjs';

/**
 * @typedef {import('./limits.mjs').Saving} Saving
 * @typedef {import('./private-redis.mjs').PrivateRedis} PrivateRedis
 * @typedef {import('./private-redis.mjs').RedisDeed} RedisDeed
 *
 * @typedef {object} Setting how the demo is set up now
 * @property {{ kind: import('./text.mjs').Place['kind'], state?: 'runs' | 'stopped' | 'gone', pid?: number, starts?: number }} redis
 * @property {Saving} saving
 *
 * @typedef {{ done: true } | { done: false, status: 403 | 409 | 500, error: string }} Outcome of a deed
 *
 * @typedef {object} Controls
 * @property {() => Setting} setting
 * @property {(deed: Deed) => Promise<Outcome>} act
 */

/** @type {readonly RedisDeed[]} */
const REDIS_DEEDS = ['stop', 'continue', 'kill', 'restart'];

/** @type {Readonly<Record<string, Partial<Saving>>>} */
const SAVING_DEEDS = {
  'prepay/on': { prepay: true },
  'prepay/off': { prepay: false },
  'deny-cache/on': { denyCache: true },
  'deny-cache/off': { denyCache: false },
};

/** @typedef {string} Deed one of `DEEDS`: the path by which the page asks for it, without the first slash */

/** All that can be asked for: nothing of a request but its path has a meaning. @type {ReadonlySet<Deed>} */
export const DEEDS = new Set([
  ...REDIS_DEEDS.map((deed) => `redis/${deed}`),
  ...Object.keys(SAVING_DEEDS),
]);

/**
 * @param {import('./text.mjs').Place['kind']} kind
 * @param {PrivateRedis | undefined} redis the demo's own; undefined in memory and on the user's Redis
 * @param {(saving: Saving) => void} onSaving tells all processes
 * @returns {Controls}
 */
export function openControls(kind, redis, onSaving) {
  let saving = NOT_SAVING;
  let busy = false;

  /** @param {Deed} deed @returns {Promise<Outcome>} */
  async function act(deed) {
    const change = SAVING_DEEDS[deed];
    if (change !== undefined) {
      if (kind === 'memory') return refused('Limits in memory need no calls to Redis to be saved.');
      saving = { ...saving, ...change };
      onSaving(saving);
      return { done: true };
    }
    const redisDeed = REDIS_DEEDS.find((one) => deed === `redis/${one}`);
    if (redisDeed === undefined) return refused('There is no such button.');
    if (redis === undefined) {
      return refused(
        kind === 'memory'
          ? 'There is no Redis.'
          : 'The demo did not start this Redis, so it leaves it alone.',
      );
    }
    if (busy)
      return { done: false, status: 409, error: 'Redis is still busy with the last button.' };
    busy = true;
    try {
      await redis.deeds[redisDeed]();
      return { done: true };
    } catch (error) {
      return { done: false, status: 500, error: /** @type {Error} */ (error).message };
    } finally {
      busy = false;
    }
  }

  return {
    setting: () => ({
      redis:
        redis === undefined
          ? { kind }
          : { kind, state: redis.state(), pid: redis.pid(), starts: redis.starts() },
      saving,
    }),
    act,
  };
}

/** @param {string} error @returns {Outcome} */
function refused(error) {
  return { done: false, status: 403, error };
}
