// @ts-check
import { once } from 'node:events';
import express from 'express';
import { rateLimit as theirs } from 'express-rate-limit';
import { Redis } from 'ioredis';
import { RedisStore } from 'rate-limit-redis';
import { rateLimit as ours } from '../../dist/http/adapters/express.js';
import { RateLimiter } from '../../dist/index.js';
import { ANSWER, NEVER_REFUSES, WINDOW_MS } from './index.mjs';

const identify = (/** @type {import('node:http').IncomingMessage} */ request) =>
  /** @type {string} */ (request.headers['x-user']);

/**
 * @param {import('./index.mjs').OpenOptions} options
 * @returns {Promise<import('./index.mjs').Serving>}
 */
export async function open({ redisPort, db, limiter }) {
  const app = express();
  const redis = new Redis({ port: redisPort, db, maxRetriesPerRequest: 0 });
  if (limiter === 'ours') {
    const inRedis = new RateLimiter({ redis, rate: NEVER_REFUSES, period: WINDOW_MS / 1_000 });
    app.use(ours(inRedis, { identify }));
  } else if (limiter === 'own') {
    app.use(
      theirs({
        limit: NEVER_REFUSES,
        windowMs: WINDOW_MS,
        standardHeaders: 'draft-8',
        legacyHeaders: false,
        keyGenerator: identify,
        store: new RedisStore({
          // ioredis takes the command, the first word, as an argument of its own.
          sendCommand: (/** @type {[string, ...string[]]} */ ...words) =>
            /** @type {Promise<any>} */ (redis.call(...words)),
        }),
      }),
    );
  }
  app.get('/', (_, response) => {
    response.json(ANSWER);
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: /** @type {import('node:net').AddressInfo} */ (server.address()).port };
}
