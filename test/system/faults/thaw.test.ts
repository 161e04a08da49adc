import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { own, startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { FaultProxy } from '../../kit/servers/fault-proxy.mjs';
import type { RedisServer } from '../../kit/servers/redis-server.mjs';

let redis: RedisServer;
let proxy: FaultProxy;
beforeAll(async () => {
  redis = await startRedis();
  proxy = await startFaultProxy(redis);
});
afterAll(async () => {
  await proxy.close();
  await redis.close();
});

const worker = fileURLToPath(new URL('thaw.worker.mjs', import.meta.url));
const KINDS = [
  'urlWithIoredis',
  'urlWithNodeRedis',
  'ioredis',
  'ioredis5',
  'iovalkey',
  'nodeRedis',
  'nodeRedis5',
  'nodeRedis4',
] as const;

test.each(KINDS)(
  'a process on %s that was suspended while its connection was cut makes real decisions after it resumes',
  async (kind) => {
    const child = own(
      fork(worker, [kind, proxy.url], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }),
    );
    const told: unknown[] = [];
    child.on('message', (message) => told.push(message));
    const answer = async (): Promise<unknown> => {
      await waitUntil('an answer', () => told.length > 0, { everyMs: 5, timeoutMs: 25_000 });
      return told.shift();
    };
    expect(await answer()).toBe('started');
    for (let round = 0; round < 2; round++) {
      child.send('call');
      expect(await answer()).toEqual(['within_limit', 'within_limit']);
      child.kill('SIGSTOP');
      await proxy.cut();
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      // The next request arrives before the process notices that its connection is lost.
      child.send('call');
      child.kill('SIGCONT');
      expect(await answer()).toEqual(['within_limit', 'within_limit']);
    }
    child.disconnect();
    await once(child, 'exit');
  },
  60_000,
);
