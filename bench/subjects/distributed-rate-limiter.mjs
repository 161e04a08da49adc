// @ts-check
import { connect } from './client.mjs';
import { NEVER_REFUSES } from './index.mjs';

/** Each unit takes 600 ms to recover, so all of them take about 17 minutes: longer than any run. */
const KEPT_FOR_A_RUN = 1_700;

/** @param {import('../../dist/index.js').Decision} decision */
const passes = ({ allowed }) => allowed;

/**
 * This library, on a client passed to it, as the peers have it.
 *
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Opened>}
 */
export async function open(options) {
  /** @type {typeof import('../../dist/index.js')} */
  const { RateLimiter } = await import(
    options.dist ? `${options.dist}/index.js` : '../../dist/index.js'
  );
  const redis = await connect(options);
  const limiter = new RateLimiter({
    redis,
    rate: 100,
    period: '1m',
    burst: NEVER_REFUSES,
    failStrategy: 'throw',
    // The peers have no deadline. A long one here makes a busy machine show as latency, not as failures.
    timeoutMs: 5_000,
  });
  await limiter.ready();
  return {
    decide: (identity) => limiter.allow(identity).then(passes),
    fill: (identity) => limiter.allow(identity, { cost: KEPT_FOR_A_RUN }).then(passes),
    close: () => redis.disconnect(),
  };
}
