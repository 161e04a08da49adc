// @ts-check
// @ts-expect-error: the file of the store has no types of its own
import RedisStore from '@fastify/rate-limit/store/RedisStore.js';
import { connect } from './client.mjs';
import { NEVER_REFUSES } from './index.mjs';

/**
 * A fixed window, by the store of @fastify/rate-limit, driven through its `incr` callback as the plugin does.
 *
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Opened>}
 */
export async function open(options) {
  const client = await connect(options);
  const store = new RedisStore(false, false, client);
  const decide = (/** @type {string} */ identity) =>
    new Promise((resolve, reject) => {
      store.incr(
        identity,
        (/** @type {Error | null} */ error, /** @type {{ current: number }} */ result) => {
          if (error) reject(error);
          else resolve(result.current <= NEVER_REFUSES);
        },
        3_600_000,
        NEVER_REFUSES,
      );
    });
  return { decide, fill: decide, close: () => client.disconnect() };
}
