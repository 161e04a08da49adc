// @ts-check
import { openResp, runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter, tokenBucket } from './built.mjs';
import { openClient } from './clients.mjs';
import { keepInFlight, openBarrier, redisMicros } from './demand.mjs';

/**
 * @typedef {import('../../../src/index.ts').TokenBucketOptions} Numbers
 * @typedef {import('./clients.mjs').Library} Library
 *
 * @typedef {object} Round one identity, for all processes at once
 * @property {string} identity
 * @property {Numbers[]} limits
 * @property {number} cost
 * @property {Library} [library] with which client; default: every second process has the other one
 *
 * @typedef {object} Task
 * @property {number} port
 * @property {number} inFlight
 * @property {number} callsPerRound of each process
 * @property {Round[][]} rounds one after another, those of one array at the same time
 * @property {Round[]} refilled all of them at once, `inFlight` calls of each, for `refillMs`
 * @property {number} refillMs
 *
 * @typedef {object} Flow what one process saw of one round with refill; times are Redis's, in Unix milliseconds
 * @property {number[]} admitted when each call that passed was decided, give or take 1
 * @property {number[]} refused milliseconds in which a call was refused, give or take 1
 * @property {number} decided how many calls
 * @property {number} asked before the first call
 * @property {number} first when the first call was decided, give or take 1
 * @property {number} last when the last call was, give or take 1
 * @property {number} told after the last decision
 */

/** @param {readonly Numbers[]} limits */
const made = (limits) => limits.map((numbers) => tokenBucket(numbers));

await runAsWorker(
  /** @param {{ index: number, count: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, count, data, ready }) => {
    const redis = await openResp({ port: data.port });
    /** @param {Library} library */
    const open = async (library) => {
      const { client } = await openClient(library, data.port);
      const limiter = new RateLimiter({
        redis: client,
        namespace: 'exact',
        rate: 1,
        period: '1s',
        // A degraded decision would prove nothing: it fails the test.
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
      await limiter.ready();
      return limiter;
    };
    const limiters = { ioredis: await open('ioredis'), 'node-redis': await open('node-redis') };
    const own = index % 2 === 0 ? 'ioredis' : 'node-redis';
    const meet = await openBarrier(data.port, count);
    await ready();

    /** Returns how many calls passed. @param {Round} round */
    const offer = async ({ identity, limits, cost, library = own }) => {
      const limiter = limiters[library];
      const options = { limits: made(limits), cost };
      let left = data.callsPerRound;
      let passed = 0;
      await keepInFlight(data.inFlight, async () => {
        if (left === 0) return false;
        left -= 1;
        const { allowed } = await limiter.allow(identity, options);
        passed += Number(allowed);
        return true;
      });
      return passed;
    };
    /** @type {number[][]} */
    const admitted = [];
    for (const round of data.rounds) {
      await meet();
      admitted.push(await Promise.all(round.map(offer)));
    }

    /** @param {Round} round @returns {Promise<Flow>} */
    const flow = async ({ identity, limits, cost, library = own }) => {
      const limiter = limiters[library];
      const options = { limits: made(limits), cost };
      const asked = (await redisMicros(redis)) / 1000;
      const end = performance.now() + data.refillMs;
      /** @type {number[]} */
      const admittedAt = [];
      /** @type {Set<number>} */
      const refusedAt = new Set();
      const seen = { decided: 0, first: Infinity, last: 0 };
      await keepInFlight(data.inFlight, async () => {
        if (performance.now() >= end) return false;
        const decision = await limiter.allow(identity, options);
        if (decision.resetAtMs === undefined) throw new Error(`no facts: ${decision.reason}`);
        const at = decision.resetAtMs - decision.resetAfterMs;
        seen.first = Math.min(seen.first, at);
        seen.last = Math.max(seen.last, at);
        seen.decided += 1;
        if (decision.allowed) admittedAt.push(at);
        else refusedAt.add(at);
        return true;
      });
      return {
        ...seen,
        admitted: admittedAt,
        refused: [...refusedAt],
        asked,
        told: (await redisMicros(redis)) / 1000,
      };
    };
    await meet();
    return { admitted, flows: await Promise.all(data.refilled.map(flow)) };
  },
);
