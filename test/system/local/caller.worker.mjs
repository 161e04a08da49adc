// @ts-check
import { existsSync, openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter } from '../processes/built.mjs';
import { openDoor } from '../processes/clients.mjs';
import { micros } from './envelope.mjs';

/**
 * A process that calls for one identity at a steady rate, whatever the answers. It writes each call that passed to a file
 * at once, so that its admissions outlive it.
 *
 * @typedef {object} Task
 * @property {string} folder of the files: `admitted-<index>` for each process, `count` once decisions are to be counted,
 *   and `stop` once the calls are to end
 * @property {import('../processes/clients.mjs').Door[]} doors one for each process
 * @property {number} clients limiters with connections of their own in each process, which call in turn
 * @property {number} perSecond calls of each process
 * @property {number} timeoutMs of each call
 * @property {Pick<import('../../../src/index.ts').RateLimiterOptions, 'prepay' | 'denyCache'>} local
 * @property {import('../../../src/index.ts').TokenBucketOptions} limit
 * @property {{ tags: 16 | 64 | 256 }} [cluster]
 *
 * @typedef {Record<import('../../../src/index.ts').Decision['source'] | 'calls' | 'refused' | 'degraded', number>} Tally
 */

const EVERY_MS = 4;

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { folder, doors, clients, perSecond, timeoutMs, local, limit, cluster } = data;
    const door = doors[index];
    if (door === undefined) throw new Error('more processes than doors');
    const file = openSync(`${folder}/admitted-${index}`, 'a');
    /** @type {import('../../../src/index.ts').RateLimiter[]} */
    const limiters = [];
    while (limiters.length < clients) {
      const limiter = new RateLimiter({
        redis: await openDoor(door),
        namespace: 'local',
        ...limit,
        ...local,
        ...(cluster && { cluster }),
        failStrategy: 'closed',
        timeoutMs,
        onError: () => {},
      });
      while ((await limiter.peek('everybody')).degraded) await sleep(20);
      limiters.push(limiter);
    }
    await ready();

    /** @type {Tally} */
    const none = { calls: 0, refused: 0, degraded: 0, store: 0, slice: 0, deny_cache: 0, none: 0 };
    let tally = { ...none };
    let counts = false;
    const record = new Float64Array(2);
    /** @param {import('../../../src/index.ts').RateLimiter} limiter */
    const call = async (limiter) => {
      const before = micros();
      const { allowed, source, degraded } = await limiter.allow('everybody');
      const after = micros();
      tally.calls += 1;
      tally[source] += 1;
      if (degraded) tally.degraded += 1;
      if (!allowed) {
        tally.refused += 1;
        return;
      }
      record[0] = before;
      record[1] = after;
      writeSync(file, record);
    };
    /** @type {Set<Promise<void>>} */
    const pending = new Set();
    let made = 0;
    const began = micros();
    while (!existsSync(`${folder}/stop`)) {
      if (!counts && existsSync(`${folder}/count`)) {
        counts = true;
        tally = { ...none };
      }
      const due = Math.floor(((micros() - began) * perSecond) / 1e6);
      for (; made < due; made++) {
        const limiter = limiters[made % clients];
        if (limiter === undefined) throw new Error('there must be a client');
        const called = call(limiter);
        pending.add(called);
        void called.finally(() => pending.delete(called));
      }
      await sleep(EVERY_MS);
    }
    await Promise.all(pending);
    await Promise.all(limiters.map((limiter) => limiter.close()));
    return tally;
  },
);
