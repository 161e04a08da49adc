// @ts-check
import { RedisStore } from 'rate-limit-redis';
import { connect } from './client.mjs';
import { NEVER_REFUSES } from './index.mjs';

/** @param {{ totalHits: number }} info */
const passes = ({ totalHits }) => totalHits <= NEVER_REFUSES;

/**
 * A fixed window, driven through its `Store` interface as express-rate-limit does, which compares the hits itself.
 *
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Opened>}
 */
export async function open(options) {
  const client = await connect(options);
  const store = new RedisStore({
    sendCommand: (/** @type {string} */ command, /** @type {string[]} */ ...args) =>
      /** @type {Promise<any>} */ (client.call(command, ...args)),
  });
  await store.init({ windowMs: 3_600_000 });
  const decide = (/** @type {string} */ identity) => store.increment(identity).then(passes);
  return { decide, fill: decide, close: () => client.disconnect() };
}
