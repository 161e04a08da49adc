// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';
import { openResp, runAsWorker } from '../../kit/servers/index.mjs';
import { RateLimiter, fixedWindow, tokenBucket } from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';

/**
 * @typedef {object} Task
 * @property {number} redis where tokens and answers are queued, without faults
 * @property {number} proxy loses answers of the limiters
 * @property {number} reservers the first so many processes reserve, the others settle
 * @property {number} each reservations that each of them tries
 * @property {number} lanes calls under way in each process
 */

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { client, end } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.proxy);
    const queue = await openResp({ port: data.redis });
    const isReserver = index < data.reservers;
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'history',
      limits: isReserver
        ? [
            tokenBucket({ rate: 1_000_000, period: '365d' }),
            fixedWindow({ name: 'year', rate: 1_000_000, period: 'year' }),
          ]
        : [fixedWindow({ name: 'other', rate: 1, period: '1s' })],
      failStrategy: 'throw',
      timeoutMs: 200,
    });
    // On a busy machine its first answers may be late.
    for (let isReady = false; !isReady;) {
      isReady = await limiter.ready().then(
        () => true,
        () => false,
      );
    }
    await ready();
    await (isReserver ? reserveAll() : settleAll());
    end();
    return true;

    async function reserveAll() {
      let tried = 0;
      await inLanes(async () => {
        for (; tried < data.each;) {
          tried += 1;
          try {
            const reservation = await limiter.reserve('everybody', { cost: 10, ttl: '1h' });
            if (tried % 4 === 0) await reservation.add(3);
            await queue.command('RPUSH', 'tokens', reservation.token);
          } catch {
            await queue.command('INCR', 'lost reservations'); // nobody knows the token
            await sleep(20);
          }
        }
      });
      await queue.command('INCR', 'reserved');
    }

    /** Settles each reservation, as all other settlers do; a job whose answer is lost is run again. */
    async function settleAll() {
      let next = 0;
      await inLanes(async (lane) => {
        for (let idle = 0; idle < 100;) {
          const at = next;
          const token = await queue.command('LINDEX', 'tokens', at);
          if (token === null) {
            const reserved = Number(await queue.command('GET', 'reserved'));
            if (reserved >= data.reservers - 1) idle += 1; // one of them is killed
            await sleep(20);
            continue;
          }
          next = Math.max(next, at + 1);
          await settle(String(token), at, lane);
        }
      });
    }

    /** @param {string} token @param {number} at @param {number} lane */
    async function settle(token, at, lane) {
      for (let tries = 0; tries < 6; tries++) {
        try {
          const handle = limiter.resume(token);
          const actual = (7 * index + 3 * lane + at) % 21;
          const { charged } = await (at % 6 === 0 ? handle.cancel() : handle.settle(actual));
          await queue.command('RPUSH', 'answers', `${at} ${charged}`);
          return;
        } catch {
          await queue.command('INCR', 'lost settlements');
          await sleep(30);
        }
      }
    }

    /** @param {(lane: number) => Promise<void>} run */
    async function inLanes(run) {
      await Promise.all(Array.from({ length: data.lanes }, (_, lane) => run(lane)));
    }
  },
);
