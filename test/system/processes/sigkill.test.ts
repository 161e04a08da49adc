import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import { startRedis, startWorkers, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { openClient } from './clients.mjs';
import type { Task } from './sigkill.worker.mjs';

const worker = new URL('sigkill.worker.mjs', import.meta.url);

const PROCESSES = 8;
const KILLED = 4;
const IN_FLIGHT = 64;
const BURST = 20_000;
/** One unit takes 26 minutes: none recovers during the test. */
const limit = { rate: BURST, period: '365d' } as const;

describe('processes that are killed while they call', () => {
  let redis: RedisServer;
  let folder: string;

  beforeAll(async () => {
    redis = await startRedis();
    folder = mkdtempSync(join(tmpdir(), 'killed-'));
  });
  afterAll(async () => {
    await redis.close();
    rmSync(folder, { recursive: true });
  });

  test('never loosen the limit: admitted <= charged <= issued, and charged equals the burst', async () => {
    const task: Task = { port: redis.port, folder, inFlight: IN_FLIGHT, limit };
    const counted = (what: 'issued' | 'admitted'): number[] =>
      Array.from({ length: PROCESSES }, (_, i) => statSync(join(folder, `${what}-${i}`)).size);
    const total = (counts: readonly number[]): number =>
      counts.reduce((sum, count) => sum + count, 0);

    const group = startWorkers(worker, PROCESSES, task, { timeoutMs: 150_000 });
    await group.going;
    for (let victim = 0; victim < KILLED; victim++) {
      const share = ((victim + 1) * BURST) / (2 * KILLED + 2);
      await waitUntil(`${share} admitted`, () => total(counted('admitted')) >= share, {
        everyMs: 1,
        timeoutMs: 100_000,
      });
      group.workers[victim]!.kill();
      await group.workers[victim]!.result;
    }
    const admittedAtLastKill = total(counted('admitted'));
    await group.results;

    const { client, end } = await openClient('ioredis', redis.port);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'killed',
      ...limit,
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    const left = await limiter.peek('everybody');
    end();
    const charged = BURST - (left.remaining ?? NaN);
    const [issued, admitted] = [counted('issued'), counted('admitted')];
    console.log(
      `${KILLED} of ${PROCESSES} killed: admitted ${total(admitted)} <= charged ${charged} <= issued ${total(issued)}; ` +
        `${charged - total(admitted)} charged calls died with their process`,
    );

    expect(admittedAtLastKill, 'they were killed in the middle').toBeLessThan(BURST);
    for (let i = 0; i < PROCESSES; i++) {
      expect(admitted[i], `process ${i}`).toBeGreaterThan(0);
      expect(admitted[i]!, `process ${i}`).toBeLessThanOrEqual(issued[i]!);
    }
    expect(charged).toBe(BURST);
    expect(total(admitted)).toBeLessThanOrEqual(charged);
    expect(charged).toBeLessThanOrEqual(total(issued));
    expect(charged - total(admitted)).toBeLessThanOrEqual(KILLED * IN_FLIGHT);
  }, 200_000);
});
