// @ts-check
/**
 * The limits under test while an earlier version and the present one run side by side. A period of a year is longer
 * than any test, so no unit recovers, and exactly the limit passes in total.
 */

/**
 * @typedef {typeof import('../../src/index.ts')} Library of any version
 * @typedef {import('../../src/index.ts').Limit} Limit
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {readonly string[]} needs what a version must have: exports, or methods of a limiter
 * @property {'allow' | 'acquire' | 'reserve'} verb
 * @property {(library: Library, units: number) => Limit[]} limits which all together let that many units pass
 */

const YEAR = '365d';

/** @type {readonly Row[]} */
export const ROWS = [
  {
    name: 'token_bucket in whole microseconds',
    needs: [],
    verb: 'allow',
    limits: ({ tokenBucket }, units) => [tokenBucket({ rate: 1_000, period: YEAR, burst: units })],
  },
  {
    name: 'token_bucket in sevenths of one',
    needs: [],
    verb: 'allow',
    limits: ({ tokenBucket }, units) => [tokenBucket({ rate: 700, period: YEAR, burst: units })],
  },
  {
    name: 'sliding_window',
    needs: ['slidingWindow'],
    verb: 'allow',
    limits: ({ slidingWindow }, units) => [slidingWindow({ rate: units, period: YEAR })],
  },
  {
    name: 'sliding_window_log',
    needs: ['slidingWindowLog'],
    verb: 'allow',
    limits: ({ slidingWindowLog }, units) => [slidingWindowLog({ rate: units, period: YEAR })],
  },
  {
    name: 'fixed_window',
    needs: ['fixedWindow'],
    verb: 'allow',
    limits: ({ fixedWindow }, units) => [fixedWindow({ rate: units, period: YEAR })],
  },
  {
    name: 'concurrency',
    needs: ['concurrency', 'acquire'],
    verb: 'acquire',
    limits: ({ concurrency }, units) => [concurrency({ max: units, ttl: '1h' })],
  },
  {
    name: 'four at once',
    needs: ['slidingWindow', 'slidingWindowLog', 'fixedWindow'],
    verb: 'allow',
    limits: ({ tokenBucket, slidingWindow, slidingWindowLog, fixedWindow }, units) => [
      tokenBucket({ rate: 700, period: YEAR, burst: units + 7 }),
      slidingWindow({ name: 'window', rate: units + 5, period: YEAR }),
      slidingWindowLog({ name: 'log', rate: units, period: YEAR }),
      fixedWindow({ name: 'quota', rate: units + 3, period: YEAR }),
    ],
  },
  {
    name: 'reservations of two units that cost one',
    needs: ['slidingWindow', 'fixedWindow', 'reserve'],
    verb: 'reserve',
    limits: ({ tokenBucket, slidingWindow, fixedWindow }, units) => [
      tokenBucket({ rate: 700, period: YEAR, burst: units }),
      slidingWindow({ name: 'window', rate: units, period: YEAR }),
      fixedWindow({ name: 'quota', rate: units, period: YEAR }),
    ],
  },
];

/**
 * Names the features in `needs` that a version lacks.
 *
 * @param {Library} library
 * @param {readonly string[]} needs
 */
export function lacks(library, needs) {
  return needs.filter((name) => !(name in library || name in library.RateLimiter.prototype));
}
