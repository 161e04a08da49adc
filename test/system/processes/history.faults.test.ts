import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFaultProxy, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { LoadGroup } from './history.load.ts';
import { replay, total } from './history.replay.ts';
import { LOG } from './history.script.ts';
import { isLong } from './length.mjs';

/**
 * Under faults a reply may be lost while its charge stands, so Redis itself keeps the history: the script records every
 * execution. Three processes make the load, which continues from one fault to the next.
 */
const MS = isLong ? 5_000 : 700;

interface FaultContext {
  readonly redis: RedisServer;
  readonly proxy: Awaited<ReturnType<typeof startFaultProxy>>;
  readonly load: LoadGroup;
}

/** Whether the fault degrades decisions, or loses the replies of executions, or neither. */
type Harm = 'degraded' | 'unheard' | 'none';

/** By its name in the table: the fault, and how it is injected behind a proxy while calls go on. */
const faults: [string, Harm, (context: FaultContext) => Promise<void>][] = [
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
    async ({ proxy, load }) => {
      // So that some replies are on their way at any time.
      await proxy.delay(5, 30);
      await load.decides();
      await load.kill(0);
      await load.kill(1);
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
  let context: FaultContext;
  let before = { degraded: 0, unheard: 0, unclaimed: 0 };

  beforeAll(async () => {
    const redis = await startRedis();
    const proxy = await startFaultProxy(redis);
    const load = new LoadGroup(
      [
        { door: { library: 'ioredis', port: proxy.port }, failStrategy: 'closed' },
        { door: { library: 'node-redis', port: proxy.port }, failStrategy: 'open' },
        { door: { library: 'ioredis', port: proxy.port }, failStrategy: 'open' },
      ],
      { timeoutMs },
    );
    context = { redis, proxy, load };
    await load.going();
  });
  afterAll(async () => {
    await context.load.close();
    await context.proxy.close();
    await context.redis.close();
  });

  test.each(chosen)(
    '%s: admitted <= charged <= issued, and the twin decides the same',
    async (name, harm, fault) => {
      const { redis, load } = context;
      load.askFor(name);
      await fault(context);
      await load.decides();
      await load.exhausts();
      await load.rest();

      // Checks the history from the beginning, over all faults so far.
      const log: string[] = await redis.command('LRANGE', LOG, 0, -1);
      const charged = replay(log, load.known);
      const noted = new Set(log);
      const now = {
        degraded: load.degraded,
        unheard: log.length - new Set(load.answered).size,
        unclaimed: total(charged) - total(load.admitted),
      };
      const degraded = now.degraded - before.degraded;
      const unheard = now.unheard - before.unheard;
      const unclaimed = now.unclaimed - before.unclaimed;
      before = now;
      console.log(
        `${name}: ${degraded} degraded, ${unheard} script calls not heard of, ${unclaimed} units charged and admitted to nobody; ` +
          `so far ${load.summary(charged)}`,
      );
      expect(load.excesses(charged)).toEqual([]);
      expect(
        load.answered.filter((line) => !noted.has(line)),
        'no answer is from elsewhere',
      ).toEqual([]);
      if (harm === 'unheard') expect(unheard).toBeGreaterThan(0);
      if (harm === 'degraded') expect(degraded).toBeGreaterThan(0);
      if (harm === 'none') expect([degraded, unheard, unclaimed]).toEqual([0, 0, 0]);
    },
  );
});
