// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { openResp, runAsWorker } from '../../kit/servers/index.mjs';
import { Random } from '../../kit/random.mjs';
import { RateLimiter, connectionOfClient, decideBatch } from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';

/**
 * @typedef {object} Task
 * @property {number} port
 * @property {import('../../../src/redis/connection/script.ts').ScriptSource} source the production script, which also writes down
 *   what it decided
 * @property {number} max
 * @property {`${number}ms`} ttl
 * @property {number} lanes how many places each process tries to hold
 * @property {number} lastsMs
 * @property {number} seed
 */

/** Records on Redis's clock that a holder works, has stopped, or recorded its stop too late. */
const NOTE = `local t = redis.call('TIME')
redis.call('RPUSH', 'history', ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. string.format('%d', t[1] * 1000000 + t[2]) .. ' 0')`;

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { client, end } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    connectionOfClient(client, { ...decideBatch, source: data.source });
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'places',
      algorithm: 'concurrency',
      max: data.max,
      ttl: data.ttl,
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    const redis = await openResp({ port: data.port });
    /** @param {'enter' | 'leave' | 'late'} what @param {string} lease */
    const note = (what, lease) => redis.command('EVAL', NOTE, 0, what, lease);
    await ready();

    const random = new Random(data.seed + index);
    const until = performance.now() + data.lastsMs;
    const counts = { worked: 0, refused: 0, crashed: 0, lost: 0 };
    const lane = async () => {
      while (performance.now() < until) {
        const heartbeat = random.fraction() < 0.3;
        const lease = await limiter.acquire('everybody', { heartbeat });
        const { leaseId } = lease;
        if (leaseId === undefined) {
          counts.refused += 1;
          await sleep(random.fraction() * 20);
          continue;
        }
        await note('enter', leaseId);
        // Longer than a lease lasts, which must therefore be renewed.
        await sleep(heartbeat ? random.fraction() * 600 : random.fraction() * 150);
        if (lease.signal.aborted) {
          counts.lost += 1;
          continue;
        }
        await note('leave', leaseId);
        // A process that got no processor time in between may have recorded it after its lease ended.
        if (lease.signal.aborted) {
          await note('late', leaseId);
          counts.lost += 1;
          continue;
        }
        counts.worked += 1;
        if (random.fraction() < 0.05 && !heartbeat) {
          counts.crashed += 1; // after its work, before its release
          continue;
        }
        await lease.release();
      }
    };
    await Promise.all(Array.from({ length: data.lanes }, lane));
    redis.close();
    end();
    return counts;
  },
);
