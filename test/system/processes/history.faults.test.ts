import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFaultProxy, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { Crowd } from './history.crowd.ts';
import { replay, total } from './history.replay.ts';
import { LOG } from './history.script.ts';
import { isLong } from './length.mjs';

/**
 * Under faults a reply may be lost while its charge stands, so here Redis itself keeps the history: the script notes
 * every execution. The load comes from three processes, and goes on from one fault to the next.
 */
const MS = isLong ? 5_000 : 700;

interface Scene {
  readonly redis: RedisServer;
  readonly proxy: Awaited<ReturnType<typeof startFaultProxy>>;
  readonly crowd: Crowd;
}

/** Whether decisions are degraded by it, executions are answered to nobody, or neither. */
type Harm = 'degraded' | 'unheard' | 'none';

/** In the name of the table: the fault, and how it is done to a server behind a proxy while calls go on. */
const faults: [string, Harm, (scene: Scene) => Promise<void>][] = [
  [
    'a server that stops (SIGSTOP) and goes on',
    'degraded',
    async ({ redis }) => {
      await redis.stop();
      await sleep(MS);
      await redis.cont();
    },
  ],
  [
    'replies that are dropped after execution',
    'unheard',
    async ({ proxy }) => {
      await proxy.dropReplies();
      await sleep(MS);
      await proxy.pass();
    },
  ],
  [
    'connections that are cut in place of a reply',
    'unheard',
    async ({ proxy }) => {
      for (let i = 0; i < MS / 100; i++) {
        await proxy.dropReplies({ cut: true, times: 1 });
        await sleep(100);
      }
      await proxy.pass();
    },
  ],
  [
    'connections that are reset every 50 ms',
    'degraded',
    async ({ proxy }) => {
      await proxy.cut({ everyMs: 50, reset: true });
      await sleep(MS);
      await proxy.pass();
    },
  ],
  [
    'SCRIPT FLUSH every 5 ms',
    'none',
    async ({ redis }) => {
      for (let i = 0; i < MS / 5; i++) {
        await redis.command('SCRIPT', 'FLUSH');
        await sleep(5);
      }
    },
  ],
  [
    'client processes that die (SIGKILL) in the midst of their calls',
    'unheard',
    async ({ proxy, crowd }) => {
      // So that there are replies on their way at any time.
      await proxy.delay(5, 30);
      await crowd.decides();
      await crowd.kill(0);
      await crowd.kill(1);
      await proxy.pass();
    },
  ],
];

describe.each([
  // Shorter than the faults that degrade decisions.
  ['whose deadlines pass', 250, faults.filter(([, harm]) => harm !== 'none')],
  // Longer than a busy machine takes for any call.
  ['that harm nothing', 10_000, faults.filter(([, harm]) => harm === 'none')],
] as const)('under faults %s', (_, timeoutMs, chosen) => {
  let scene: Scene;
  let before = { degraded: 0, unheard: 0, unclaimed: 0 };

  beforeAll(async () => {
    const redis = await startRedis();
    const proxy = await startFaultProxy(redis);
    const crowd = new Crowd(
      [
        { door: { library: 'ioredis', port: proxy.port }, failStrategy: 'closed' },
        { door: { library: 'node-redis', port: proxy.port }, failStrategy: 'open' },
        { door: { library: 'ioredis', port: proxy.port }, failStrategy: 'open' },
      ],
      { timeoutMs },
    );
    scene = { redis, proxy, crowd };
    await crowd.going();
  });
  afterAll(async () => {
    await scene.crowd.close();
    await scene.proxy.close();
    await scene.redis.close();
  });

  test.each(chosen)(
    '%s: admitted <= charged <= issued, and the twin decides the same',
    async (name, harm, fault) => {
      const { redis, crowd } = scene;
      crowd.askFor(name);
      await fault(scene);
      await crowd.decides();
      await crowd.exhausts();
      await crowd.rest();

      // From the beginning, over all faults so far.
      const log: string[] = await redis.command('LRANGE', LOG, 0, -1);
      const charged = replay(log, crowd.known);
      const noted = new Set(log);
      const now = {
        degraded: crowd.degraded,
        unheard: log.length - new Set(crowd.answered).size,
        unclaimed: total(charged) - total(crowd.admitted),
      };
      const degraded = now.degraded - before.degraded;
      const unheard = now.unheard - before.unheard;
      const unclaimed = now.unclaimed - before.unclaimed;
      before = now;
      console.log(
        `${name}: ${degraded} degraded, ${unheard} script calls not heard of, ${unclaimed} units charged and admitted to nobody; ` +
          `so far ${crowd.summary(charged)}`,
      );
      expect(crowd.excesses(charged)).toEqual([]);
      expect(
        crowd.answered.filter((line) => !noted.has(line)),
        'no answer is from elsewhere',
      ).toEqual([]);
      if (harm === 'unheard') expect(unheard).toBeGreaterThan(0);
      if (harm === 'degraded') expect(degraded).toBeGreaterThan(0);
      if (harm === 'none') expect([degraded, unheard, unclaimed]).toEqual([0, 0, 0]);
    },
  );
});
