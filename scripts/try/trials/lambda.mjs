import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultProxy } from '../../../test/kit/servers/index.mjs';
import { runs } from '../requests.mjs';

const FROZEN_MS = 5_000;

/** @type {import('../trial.mjs').Trial} */
export const lambda = {
  name: 'lambda',
  title: `A handler like Lambda's: frozen for ${FROZEN_MS / 1_000} s, its connection cut meanwhile, thawed`,
  async run(trial) {
    const proxy = await startFaultProxy(trial.redis);
    trial.onEnd(() => proxy.close());
    const project = await trial.installed(['ioredis'], { redisUrl: proxy.url });
    project.write('main.js', MAIN);
    for (const cut of [false, true]) {
      const handler = await project.serve(['node', 'main.js', `frozen-${cut}`]);
      const cold = await invoke(handler.url, 2);
      trial.must('the first invocations are decided in Redis', cold === 'within_limit ×2', cold);
      process.kill(handler.pid, 'SIGSTOP');
      if (cut) await proxy.cut();
      await sleep(FROZEN_MS);
      process.kill(handler.pid, 'SIGCONT');
      const thawed = await invoke(handler.url, 4);
      trial.must(
        `after the thaw, the connection ${cut ? 'cut' : 'kept'}: 3 more pass, then none, each decided in Redis`,
        thawed === 'within_limit ×3, limited ×1',
        thawed,
      );
    }
  },
};

/**
 * @param {string} url
 * @param {number} times
 */
async function invoke(url, times) {
  const reasons = [];
  for (let i = 0; i < times; i++) reasons.push(await (await fetch(url)).text());
  return runs(reasons);
}

/** The handler, and a server in place of Lambda's runtime, which calls it. */
const MAIN = `
import { createServer } from 'node:http';
import { RateLimiter } from 'distributed-rate-limiter';

const limiter = new RateLimiter({ redis: process.env.REDIS_URL, namespace: process.argv[2], rate: 5, period: '1h' });

export async function handler() {
  const { reason } = await limiter.allow('user:12345');
  return reason;
}

const server = createServer((_request, response) => {
  handler().then((body) => response.end(body), (error) => response.end(String(error)));
});
server.listen(0, () => console.log('listening', server.address().port));
`;
