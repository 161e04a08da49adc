import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fixedWindow, RateLimiter, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import { startFaultProxy, startRedis, startWorkers } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { openClient } from './clients.mjs';
import { isLong } from './length.mjs';
import type { Result, Task } from './resume.worker.mjs';

const worker = new URL('resume.worker.mjs', import.meta.url);

const RESERVATIONS = isLong ? 2_000 : 240;
const COST = 10;
const PLENTY = 1_000_000;
/** A unit of the bucket recovers in 31.5 s; those of the windows do not recover during the test. */
const limits = [
  tokenBucket({ rate: PLENTY, period: '365d' }),
  fixedWindow({ name: 'year', rate: PLENTY, period: 'year' }),
  slidingWindow({ name: 'window', rate: PLENTY, period: '365d' }),
];

let redis: RedisServer;
let proxy: Awaited<ReturnType<typeof startFaultProxy>>;
beforeAll(async () => {
  redis = await startRedis();
  proxy = await startFaultProxy(redis);
});
afterAll(async () => {
  await proxy.close();
  await redis.close();
});

test('each reservation is settled once by three processes that resume it, whose answers are lost, and of which one is killed', async () => {
  const { client, end } = await openClient('ioredis', redis.port);
  const place = { redis: client, namespace: 'resumed', timeoutMs: 10_000 } as const;
  const api = new RateLimiter({ ...place, limits, failStrategy: 'throw' });
  const startedAt = Date.now();
  const reservations = await Promise.all(
    Array.from({ length: RESERVATIONS }, () => api.reserve('everybody', { cost: COST, ttl: '1h' })),
  );
  const tokens = reservations.map(({ token }) => token);

  const task: Task = { port: proxy.port, tokens, tries: 12 };
  const group = startWorkers(worker, 3, task, { timeoutMs: 150_000 });
  await group.going;
  const over = new AbortController();
  const faults = (async () => {
    for (let i = 0; !over.signal.aborted; i++) {
      await (i % 3 === 2
        ? proxy.dropReplies({ cut: true, times: 1 })
        : proxy.dropReplies({ times: 3 }));
      await sleep(150);
      await proxy.pass();
      await sleep(50);
      if (i === 3) group.workers[2]!.kill();
    }
  })();
  await group.workers[2]!.result;
  const answers: readonly Result[] = await Promise.all([0, 1].map((i) => group.workers[i]!.result));
  over.abort();
  await faults;

  // A process that none of them knows asks last, and is answered what they were.
  const last = new RateLimiter({ ...place, rate: 1, period: '1s', failStrategy: 'throw' });
  const settled = await Promise.all(tokens.map((token) => last.resume(token).settle(999)));
  let heard = 0;
  let told = 0;
  for (const [at, { charged, expired }] of settled.entries()) {
    expect(expired).toBe(false);
    const said = answers.flatMap((each) => each[at] ?? []);
    for (const units of said) expect(units, `reservation ${at}`).toBe(charged);
    heard += said.length > 0 ? 1 : 0;
    told += said.length;
  }
  const total = settled.reduce((sum, { charged }) => sum + charged, 0);
  const left = (await api.peek('everybody')).limits.map(({ remaining }) => remaining);
  const used = left.map((units) => PLENTY - (units ?? Number.NaN));
  console.log(
    `${RESERVATIONS} reservations, ${heard} settled before the last, ${told} answers; charged ${total}, used ${used.join(' ')}`,
  );
  end();
  expect(heard).toBeGreaterThan(RESERVATIONS / 10);
  expect(used.slice(1)).toEqual([total, total]);
  // A bucket gives back no more than a charge still holds back, so it may keep some units, and never lacks one.
  const recovered = Math.ceil((Date.now() - startedAt) / 31_536) + 1;
  expect(used[0]).toBeGreaterThanOrEqual(total - recovered);
}, 200_000);
