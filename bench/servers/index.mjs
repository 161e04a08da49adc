// @ts-check

/** A limit higher than any run reaches. */
export const NEVER_REFUSES = 1_000_000;
export const WINDOW_MS = 3_600_000;
/** The shorter window of a limiter that prepays: so many units recover within it that some are worth holding. */
export const PREPAID_WINDOW_MS = 60_000;

/** The response body of the route on every server. */
export const ANSWER = { hello: 'world' };

/**
 * @typedef {object} OpenOptions
 * @property {number} redisPort on loopback
 * @property {number} db
 * @property {'bare' | 'ours' | 'local' | 'own'} limiter none, this library's, the same with units prepaid and refusals
 *   remembered, or the framework's usual one, on Redis
 *
 * @typedef {object} Serving
 * @property {number} port on loopback
 */

/** @type {readonly { name: string, module: string, framework: string, limiter: OpenOptions['limiter'] }[]} */
export const servers = [
  { name: 'Fastify', module: 'fastify.mjs', framework: 'Fastify', limiter: 'bare' },
  {
    name: 'distributed-rate-limiter',
    module: 'fastify.mjs',
    framework: 'Fastify',
    limiter: 'ours',
  },
  { name: '@fastify/rate-limit', module: 'fastify.mjs', framework: 'Fastify', limiter: 'own' },
  { name: 'Express', module: 'express.mjs', framework: 'Express', limiter: 'bare' },
  {
    name: 'distributed-rate-limiter',
    module: 'express.mjs',
    framework: 'Express',
    limiter: 'ours',
  },
  { name: 'express-rate-limit', module: 'express.mjs', framework: 'Express', limiter: 'own' },
];
