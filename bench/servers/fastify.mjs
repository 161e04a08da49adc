// @ts-check
import theirs from '@fastify/rate-limit';
import fastify from 'fastify';
import { Redis } from 'ioredis';
import { RateLimiter } from '../../dist/index.js';
import { rateLimit as ours } from '../../dist/http/adapters/fastify.js';
import { ANSWER, NEVER_REFUSES, PREPAID_WINDOW_MS, WINDOW_MS } from './index.mjs';

const identify = (/** @type {import('fastify').FastifyRequest} */ request) =>
  /** @type {string} */ (request.headers['x-user']);

/**
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Serving>}
 */
export async function open({ redisPort, db, limiter }) {
  const app = fastify();
  const redis = new Redis({ port: redisPort, db, maxRetriesPerRequest: 0 });
  if (limiter === 'ours' || limiter === 'local') {
    const isLocal = limiter === 'local';
    await app.register(ours, {
      limiter: new RateLimiter({
        redis,
        rate: NEVER_REFUSES,
        period: (isLocal ? PREPAID_WINDOW_MS : WINDOW_MS) / 1_000,
        prepay: isLocal,
        denyCache: isLocal,
      }),
      identify,
    });
  } else if (limiter === 'own') {
    await app.register(theirs, {
      redis,
      max: NEVER_REFUSES,
      timeWindow: WINDOW_MS,
      keyGenerator: identify,
    });
  }
  app.get('/', async () => ANSWER);
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: /** @type {import('node:net').AddressInfo} */ (app.server.address()).port };
}
