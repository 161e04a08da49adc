// @ts-check
import { runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter } from './built.mjs';

/**
 * @typedef {object} Task
 * @property {string} redis
 * @property {string} provider
 * @property {boolean} observes
 * @property {number} lanes calls that each process has under way
 * @property {number} lastsMs
 */

await runAsWorker(
  /** @param {{ data: Task, ready: () => Promise<void> }} context */
  async ({ data, ready }) => {
    const { observes } = data;
    const limiter = new RateLimiter({
      redis: data.redis,
      // More than the provider allows, so that its answers alone hold calls back.
      rate: 100_000,
      period: '1s',
      observes,
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    await limiter.ready();
    await ready();
    const until = performance.now() + data.lastsMs;
    let calls = 0;
    const lane = async () => {
      while (performance.now() < until) {
        await limiter.wait('provider');
        const response = await fetch(data.provider);
        await response.arrayBuffer();
        calls += 1;
        if (observes) await limiter.observe('provider', response);
      }
    };
    await Promise.all(Array.from({ length: data.lanes }, lane));
    await limiter.close();
    return calls;
  },
);
