// @ts-check
import { openSync, writeSync } from 'node:fs';
import { runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter } from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';
import { keepInFlight } from './demand.mjs';

/**
 * @typedef {object} Task
 * @property {number} port
 * @property {string} folder where each process counts, in the lengths of two files, so that its count outlives it
 * @property {number} inFlight
 * @property {import('../../../src/index.ts').TokenBucketOptions} limit
 */

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { client } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'killed',
      ...data.limit,
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    const issued = openSync(`${data.folder}/issued-${index}`, 'a');
    const admitted = openSync(`${data.folder}/admitted-${index}`, 'a');
    await limiter.ready();
    await ready();
    await keepInFlight(data.inFlight, async () => {
      writeSync(issued, '.');
      const { allowed } = await limiter.allow('everybody');
      if (allowed) writeSync(admitted, '.');
      return allowed;
    });
  },
);
