// @ts-check
import { once } from 'node:events';
import { createServer } from 'node:http';
import { runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter, rateLimit } from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';

/**
 * @typedef {object} Task
 * @property {number} redis
 * @property {readonly number[]} ports of the HTTP server of each process
 * @property {import('../../../src/index.ts').TokenBucketOptions} limit
 * @property {{ timeoutMs: number, maxQueue: number }} wait
 */

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { client, end } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.redis);
    const limiter = new RateLimiter({ redis: client, ...data.limit, timeoutMs: 10_000 });
    await limiter.ready();
    let arrived = 0;
    let handled = 0;
    const limited = rateLimit(limiter, {
      wait: data.wait,
      identify: () => {
        arrived += 1;
        return 'anna';
      },
    });
    const handler = limited((_, response) => {
      handled += 1;
      response.end(String(handled));
    });
    const server = createServer((request, response) => {
      if (request.url === '/arrived') response.end(String(arrived));
      else if (request.url === '/quit') response.end(() => server.closeAllConnections());
      else handler(request, response);
      if (request.url === '/quit') server.close();
    });
    server.listen(data.ports[index], '127.0.0.1');
    await once(server, 'listening');
    await ready();
    await once(server, 'close');
    await limiter.close();
    end();
    return handled;
  },
);
