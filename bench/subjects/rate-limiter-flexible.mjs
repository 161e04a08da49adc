// @ts-check
import { RateLimiterRedis } from 'rate-limiter-flexible';
import { connect } from './client.mjs';
import { NEVER_REFUSES } from './index.mjs';

const passes = () => true;

/**
 * A refusal is a rejection whose reason is not an Error.
 *
 * @param {unknown} reason
 */
const refused = (reason) => {
  if (reason instanceof Error) throw reason;
  return false;
};

/**
 * A fixed window that begins with an identity's first call.
 *
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Opened>}
 */
export async function open(options) {
  const storeClient = await connect(options);
  const limiter = new RateLimiterRedis({ storeClient, points: NEVER_REFUSES, duration: 3_600 });
  const decide = (/** @type {string} */ identity) =>
    limiter.consume(identity).then(passes, refused);
  return { decide, fill: decide, close: () => storeClient.disconnect() };
}
