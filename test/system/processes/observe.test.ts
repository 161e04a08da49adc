import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../kit/random.mjs';
import { runWorkers, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import type { Task } from './observe.worker.mjs';

const worker = new URL('observe.worker.mjs', import.meta.url);

const PROCESSES = 4;
const LANES = 5;
const QUOTA = 24;
/** Used by somebody else before the first call. */
const USED = 8;
const WINDOW_MS = 2_000;
const LASTS_MS = 11_000;

/** One window of the provider. */
interface Window {
  served: number;
  refused: number;
}

/** A provider that counts a request when it arrives, and answers in any order. */
async function startProvider() {
  const windows: Window[] = [];
  const random = new Random(20_261_126);
  let startedAt: number | undefined;
  const server = createServer((_, response) => {
    startedAt ??= performance.now();
    const at = performance.now() - startedAt;
    const index = Math.floor(at / WINDOW_MS);
    const window = (windows[index] ??= { served: 0, refused: 0 });
    const used = window.served + (index === 0 ? USED : 0);
    const passes = used < QUOTA;
    window[passes ? 'served' : 'refused'] += 1;
    const left = passes ? QUOTA - used - 1 : 0;
    const resetS = ((index + 1) * WINDOW_MS - at) / 1_000;
    const headers = {
      'X-RateLimit-Limit': String(QUOTA),
      'X-RateLimit-Remaining': String(left),
      'X-RateLimit-Reset-After': resetS.toFixed(3),
    };
    void answer(response.writeHead(passes ? 200 : 429, headers), random.int(1, 25));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    windows,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function answer(response: ServerResponse, ms: number): Promise<void> {
  await sleep(ms);
  response.end();
}

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.close();
});

/** The first window of the provider, and those after it. */
async function run(observes: boolean): Promise<{ first: Window; later: readonly Window[] }> {
  await redis.command('FLUSHALL');
  const provider = await startProvider();
  try {
    const task: Task = {
      redis: redis.url,
      provider: provider.url,
      observes,
      lanes: LANES,
      lastsMs: LASTS_MS,
    };
    await runWorkers(worker, PROCESSES, task, { timeoutMs: 60_000 });
    const [first, ...later] = Object.values(provider.windows);
    return { first: first!, later };
  } finally {
    await provider.close();
  }
}

test(`${PROCESSES} processes that observe a provider meet no refusal after its first window`, async () => {
  const { first, later } = await run(true);
  console.log({ first, later });
  // All that are under way while the first answer comes: up to all lanes, 4 more than the 16 that are left.
  expect(first.refused).toBeLessThan(PROCESSES * LANES);
  expect(later.length).toBeGreaterThanOrEqual(4);
  expect(later.map(({ refused }) => refused)).toEqual(later.map(() => 0));
  // Nearly all of it is used, on a busy machine as well.
  const used = later.slice(0, -1).reduce((sum, { served }) => sum + served, 0);
  expect(used).toBeGreaterThan(0.8 * QUOTA * (later.length - 1));
}, 90_000);

test('processes that do not observe it are refused again and again', async () => {
  const { later } = await run(false);
  expect(later.filter(({ refused }) => refused > 0).length).toBeGreaterThan(1);
}, 90_000);
