// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter } from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';

/**
 * @typedef {object} Task
 * @property {number} port of a proxy that loses answers
 * @property {readonly string[]} tokens of what another process reserved
 * @property {number} tries of each settlement
 */

/** @typedef {readonly (readonly number[])[]} Result by reservation the units of each answer, whoever settled */

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { client, end } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'resumed',
      rate: 1,
      period: '1s',
      failStrategy: 'throw',
      timeoutMs: 200,
    });
    await limiter.ready();
    await ready();
    /** @type {number[][]} */
    const answers = data.tokens.map(() => []);
    /** Each process begins elsewhere, so that they meet. */
    const from = Math.floor((index * data.tokens.length) / 3);
    for (let i = 0; i < data.tokens.length; i += 4) {
      const some = [0, 1, 2, 3].map((n) => (from + i + n) % data.tokens.length);
      await Promise.all(some.map((at) => settle(at)));
    }
    end();
    return answers;

    /** @param {number} at */
    async function settle(at) {
      let handle = limiter.resume(data.tokens[at] ?? '');
      for (let i = 0; i < data.tries; i++) {
        try {
          if (at % 3 === 0) await handle.add(1 + index);
          const { charged } = await (at % 5 === 0 ? handle.cancel() : handle.settle(at % 20));
          answers[at]?.push(charged);
          if (i % 2 === 0) break;
        } catch {
          await sleep(40);
          if (i % 2 === 1) handle = limiter.resume(data.tokens[at] ?? ''); // the job is run again
        }
      }
    }
  },
);
