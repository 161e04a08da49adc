// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { openResp } from '../../kit/servers/resp.mjs';
import { runAsWorker } from '../../kit/servers/processes.mjs';
import { startRedis } from '../../kit/servers/redis-server.mjs';

/** @typedef {{ kind: 'barrier', port: number } | { kind: 'fail' | 'hang' } | { kind: 'crash', report: number }} Task */

await runAsWorker(
  /** @param {{ index: number, count: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    switch (data.kind) {
      case 'barrier': {
        const redis = await openResp({ port: data.port });
        await sleep(index * 50);
        await redis.command('INCR', 'prepared');
        await ready();
        return { index, prepared: Number(await redis.command('GET', 'prepared')) };
      }
      case 'fail':
        await ready();
        if (index === 1) throw new Error('on purpose');
        return sleep(60_000);
      case 'hang':
        await ready();
        return sleep(60_000);
      case 'crash': {
        const redis = await startRedis();
        const parent = await openResp({ port: data.report });
        await parent.command('SET', 'orphan', redis.pid);
        await parent.command('SET', 'folder', redis.dir);
        process.kill(process.pid, 'SIGKILL');
      }
    }
    return undefined;
  },
);
