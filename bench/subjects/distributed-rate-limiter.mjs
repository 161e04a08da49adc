// @ts-check
import { connect } from './client.mjs';
import { NEVER_REFUSES } from './index.mjs';

/** Each unit takes 600 ms to recover, so all of them take about 17 minutes: longer than any run. */
const KEPT_FOR_A_RUN = 1_700;

/** @type {(name?: string) => { name?: string, rate: number, period: '1m', burst: number }} */
const bucket = (name) => ({
  ...(name === undefined ? {} : { name }),
  rate: 100,
  period: '1m',
  burst: NEVER_REFUSES,
});
/** @type {(name?: string) => { name?: string, rate: number, period: '1d' }} */
const window = (name) => ({
  ...(name === undefined ? {} : { name }),
  rate: NEVER_REFUSES,
  period: '1d',
});

/** @typedef {typeof import('../../dist/index.js')} Library */

/** @type {Record<import('./index.mjs').Limits, (library: Library) => import('../../dist/index.js').Limit[]>} */
const limitsOf = {
  'token bucket': ({ tokenBucket }) => [tokenBucket(bucket())],
  'fixed window': ({ fixedWindow }) => [fixedWindow(window())],
  'sliding window': ({ slidingWindow }) => [slidingWindow(window())],
  'two limits': ({ tokenBucket, fixedWindow }) => [
    tokenBucket(bucket('second')),
    fixedWindow(window('day')),
  ],
  'four limits': ({ tokenBucket }) =>
    ['second', 'minute', 'hour', 'day'].map((name) => tokenBucket(bucket(name))),
};

/** @param {import('../../dist/index.js').Decision} decision */
const passes = ({ allowed }) => allowed;

/**
 * This library, on a client passed to it, as the peers have it.
 *
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Opened>}
 */
export async function open(options) {
  /** @type {Library} */
  const library = await import(options.dist ? `${options.dist}/index.js` : '../../dist/index.js');
  const redis = await connect(options);
  const limiter = new library.RateLimiter({
    redis,
    limits: limitsOf[options.limits ?? 'token bucket'](library),
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
