// @ts-check
import { runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter, tokenBucket } from '../../system/processes/built.mjs';
import { LIBRARIES, openClient } from '../../system/processes/clients.mjs';
import { keepInFlight } from '../../system/processes/demand.mjs';

/** @typedef {{ port: number, decisions: number }} Task `decisions` of each process; for ever when it is killed before */

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { client } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'ttl',
      limits: [
        tokenBucket({ rate: 20, period: '1s' }),
        tokenBucket({ name: 'parts', rate: 7, period: '1s' }),
      ],
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    await limiter.ready();
    await ready();
    let number = index;
    await keepInFlight(64, async () => {
      number += 1;
      const identity = `user:${(number * 7919) % 500}`;
      if (number % 10 === 0) await limiter.reset(identity);
      else await limiter.allow(identity, { cost: 1 + (number % 3) });
      return number < data.decisions;
    });
  },
);
