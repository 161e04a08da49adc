// @ts-check
import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import { RateLimiter } from '../../dist/index.js';
import { serve } from '../child.mjs';
import { runLoad } from '../load.mjs';
import { NEVER_REFUSES } from '../subjects/index.mjs';

/** Each unit takes 600 ms to recover, so all of them take an hour: longer than any run. */
const KEPT_FOR_A_RUN = 6_000;
/** Calls in flight while identities are put into Redis. */
const FILLING = 1_024;
/**
 * A prime that divides none of the counts: steps of this size reach every identity, and each step goes far from the
 * last.
 */
const STRIDE = 7_368_787;

/**
 * @typedef {object} Target a server, or a cluster, and the identities that live there
 * @property {number[]} ports
 * @property {boolean} cluster
 * @property {16 | 64 | 256} [tags] that its keys share
 * @property {number} identities
 */

/** @param {number} number */
const identityOf = (number) => `user:${1_000_000_000 + number}`;

/** @type {Map<string, { redis: Redis | Cluster, limiter: RateLimiter, target: Target }>} */
const opened = new Map();

/** @param {Target} target */
async function connect({ ports, cluster }) {
  const addresses = ports.map((port) => ({ host: '127.0.0.1', port }));
  const redisOptions = { maxRetriesPerRequest: 0 };
  const client = cluster
    ? new Cluster(addresses, { redisOptions })
    : new Redis(ports[0] ?? 0, '127.0.0.1', redisOptions);
  await once(client, 'ready');
  return client;
}

const plenty = /** @type {const} */ ({
  // A call that waits here counts as slow, not as failed.
  timeoutMs: 5_000,
  failStrategy: 'throw',
});

serve(async (request) => {
  switch (request.kind) {
    case 'open': {
      /** @type {Target} */
      const target = request.target;
      const redis = await connect(target);
      const limiter = new RateLimiter({
        ...plenty,
        redis,
        ...(target.tags === undefined ? {} : { cluster: { tags: target.tags } }),
        rate: 100,
        period: '1m',
        burst: NEVER_REFUSES,
      });
      await limiter.ready();
      opened.set(request.name, { redis, limiter, target });
      return undefined;
    }
    case 'close': {
      for (const { redis, limiter } of opened.values()) {
        await limiter.close();
        redis.disconnect();
      }
      opened.clear();
      return undefined;
    }
    case 'fill': {
      const { limiter } = theOpened(request.name);
      let next = request.from;
      const lane = async () => {
        while (next < request.to) {
          await limiter.allow(identityOf(next++), { cost: KEPT_FOR_A_RUN });
        }
      };
      await Promise.all(Array.from({ length: FILLING }, lane));
      return undefined;
    }
    case 'load': {
      const { limiter, target } = theOpened(request.name);
      let at = request.from;
      return runLoad(
        async (identity) => (await limiter.allow(identity)).allowed,
        () => identityOf((at = (at + STRIDE) % target.identities)),
        request,
      );
    }
    case 'load-of-strangers': {
      const { redis } = theOpened(request.name);
      const limiter = new RateLimiter({
        ...plenty,
        redis,
        namespace: 'strangers',
        rate: 1,
        period: request.period,
      });
      let number = request.from;
      return runLoad(
        async (identity) => (await limiter.allow(identity)).allowed,
        () => identityOf(number++),
        request,
      );
    }
    default:
      throw new Error(`no request is called ${request.kind}`);
  }
});

/** @param {string} name */
function theOpened(name) {
  const found = opened.get(name);
  if (found === undefined) throw new Error(`nothing is open as ${name}`);
  return found;
}
