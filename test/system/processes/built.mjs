// @ts-check
/**
 * The package as `npm run build` writes it: worker processes run it as users do, since Node 20 runs no TypeScript. The
 * specifiers are variables, because the types come from the sources, which exist before the first build.
 *
 * @param {string} file
 */
const built = (file) => import(new URL(`../../../dist/${file}`, import.meta.url).href);

/**
 * @type {Pick<
 *   typeof import('../../../src/index.ts'),
 *   'RateLimiter' | 'concurrency' | 'fixedWindow' | 'slidingWindow' | 'slidingWindowLog' | 'tokenBucket'
 * >}
 */
export const {
  RateLimiter,
  concurrency,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} = await built('index.js');

/** @type {Pick<typeof import('../../../src/redis/clients/connect.ts'), 'connectionOfClient'>} */
export const { connectionOfClient } = await built('redis/clients/connect.js');

/** @type {Pick<typeof import('../../../src/stores/redis.ts'), 'decideBatch'>} */
export const { decideBatch } = await built('stores/redis.js');

/** @type {Pick<typeof import('../../../src/http/adapters/node-http.ts'), 'rateLimit'>} */
export const { rateLimit } = await built('http/adapters/node-http.js');
