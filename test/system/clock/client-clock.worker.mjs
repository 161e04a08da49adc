// @ts-check
import { runAsWorker } from '../../kit/servers/index.mjs';
import { fixedWindow, RateLimiter, tokenBucket } from '../processes/built.mjs';
import { LIBRARIES, openClient } from '../processes/clients.mjs';

/**
 * @typedef {object} Task
 * @property {number} port
 * @property {number[]} offsetsMs by how much each process's wall clock is wrong
 * @property {number} calls of each process, half of them before its clock jumps by as much again
 */

const realNow = Date.now;

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const offsetMs = data.offsetsMs[index] ?? 0;
    Date.now = () => realNow() + offsetMs;
    const { client } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'clocks',
      limits: [
        fixedWindow({ rate: 100, period: 'year', timeZone: 'Europe/Berlin' }),
        fixedWindow({ name: 'minute', rate: 1_000_000, period: 'minute' }),
        tokenBucket({ name: 'beside', rate: 1_000_000, period: '1h' }),
      ],
      timeoutMs: 10_000,
    });
    await ready();
    /** @type {Record<string, number>} */
    const reasons = {};
    for (const half of [1, 2]) {
      const decisions = await Promise.all(
        Array.from({ length: data.calls / 2 }, () => limiter.allow('shared')),
      );
      for (const { reason } of decisions) reasons[reason] = (reasons[reason] ?? 0) + 1;
      if (half === 1) Date.now = () => realNow() - offsetMs;
    }
    await limiter.close();
    return reasons;
  },
);
