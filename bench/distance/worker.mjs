// @ts-check
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RateLimiter } from '../../dist/index.js';
import { serve } from '../child.mjs';
import { makeIdentities } from '../identities.mjs';
import { median } from '../report.mjs';
import { zipf } from '../zipf.mjs';

/** Draws between those of two processes, so that they do not call for the same identities at the same time. */
const APART = 300_000;
const TRIPS = 20;

/** @type {Map<string, { redis: Redis, limiter: RateLimiter, next: () => string }>} */
const opened = new Map();

serve(async (request) => {
  switch (request.kind) {
    case 'open': {
      const { way, port, limit, local, identities, index } = request;
      const redis = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 0 });
      await once(redis, 'ready');
      const limiter = new RateLimiter({
        redis,
        namespace: way.replace(/\W+/, '-'),
        ...limit,
        period: '1s',
        // A call that waits here counts as slow, not as failed.
        timeoutMs: 5_000,
        failStrategy: 'throw',
        ...local,
      });
      await limiter.ready();
      const next = zipf(makeIdentities(identities));
      for (let i = 0; i < index * APART; i++) next();
      opened.set(way, { redis, limiter, next });
      return undefined;
    }
    case 'trip': {
      const { redis } = theOpened(request.way);
      const trips = [];
      while (trips.length < TRIPS) {
        const from = performance.now();
        await redis.ping();
        trips.push(performance.now() - from);
      }
      return median(trips);
    }
    case 'load':
      return steadyLoad(theOpened(request.way), request);
    default:
      throw new Error(`no request is called ${request.kind}`);
  }
});

/**
 * Makes calls at a steady rate, whenever the answers come: every millisecond those that are due.
 *
 * @param {{ limiter: RateLimiter, next: () => string }} subject
 * @param {{ perSecond: number, ms: number }} load
 * @returns {Promise<import('../distance.mjs').Told>}
 */
async function steadyLoad({ limiter, next }, { perSecond, ms }) {
  /** @type {number[]} */
  const waits = [];
  let allowed = 0;
  const call = async () => {
    const from = performance.now();
    const decision = await limiter.allow(next());
    waits.push(performance.now() - from);
    if (decision.allowed) allowed += 1;
  };
  /** @type {Set<Promise<void>>} */
  const pending = new Set();
  /** @type {unknown} */
  let failed;
  const askedBefore = limiter.stats().sources.store;
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  for (let made = 0, past = 0; past < ms; past = performance.now() - began) {
    for (const due = Math.floor((past * perSecond) / 1_000); made < due; made++) {
      const called = call();
      pending.add(called);
      called
        .catch((/** @type {unknown} */ error) => (failed ??= error))
        .finally(() => pending.delete(called));
    }
    await sleep(1);
  }
  await Promise.allSettled(pending);
  if (failed !== undefined) throw new Error('a call failed', { cause: failed });
  const { user, system } = process.cpuUsage(cpuBefore);
  waits.sort((a, b) => a - b);
  const quantileUs = (/** @type {number} */ q) =>
    1_000 * (waits[Math.min(waits.length - 1, Math.floor(q * waits.length))] ?? Number.NaN);
  return {
    decisions: waits.length,
    asked: limiter.stats().sources.store - askedBefore,
    allowed,
    nodeUs: user + system,
    p50Us: quantileUs(0.5),
    p99Us: quantileUs(0.99),
  };
}

/** @param {string} way */
function theOpened(way) {
  const found = opened.get(way);
  if (found === undefined) throw new Error(`nothing is open as ${way}`);
  return found;
}
