/** A handler like AWS Lambda's: its process is stopped between two invocations, and goes on later. */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultProxy } from '../../test/kit/servers/index.mjs';
import { environment } from './rows.mjs';

const FROZEN_MS = 5_000;

/**
 * @param {string} name
 * @param {{ cut: boolean }} how `cut`: the connections end meanwhile
 * @returns {import('./rows.mjs').Row}
 */
export function frozen(name, { cut }) {
  return {
    name,
    needs: [],
    atOnce: true,
    run: async ({ project, redis, rest }, way) => {
      const proxies = await Promise.all([redis, rest].map(({ port }) => startFaultProxy({ port })));
      const [toRedis, toRest] = proxies;
      const env = {
        ...environment({ ...rest, url: `http://127.0.0.1:${toRest?.port}` }),
        REDIS_URL: `${toRedis?.url}`,
      };
      const handler = await project.serve([process.execPath, 'handler.mjs', way], env);
      try {
        const reasons = await invoke(handler.url, 1);
        process.kill(handler.pid, 'SIGSTOP');
        if (cut) await Promise.all(proxies.map((proxy) => proxy.cut()));
        await sleep(FROZEN_MS);
        process.kill(handler.pid, 'SIGCONT');
        return [...reasons, ...(await invoke(handler.url, 3))].join();
      } finally {
        await handler.close();
        await Promise.all(proxies.map((proxy) => proxy.close()));
      }
    },
  };
}

/**
 * @param {string} url
 * @param {number} times
 */
async function invoke(url, times) {
  const reasons = [];
  for (let i = 0; i < times; i++) reasons.push(await (await fetch(url)).text());
  return reasons;
}
