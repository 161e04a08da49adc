/**
 * BullMQ: an API reserves an estimate and queues a job; a worker in another process settles the actual cost. Start it
 * once as it is, and once more with `worker` behind it. Both need `REDIS_URL`.
 */
import { createServer } from 'node:http';
import process from 'node:process';
import { Queue, Worker } from 'bullmq';
import { RateLimiter } from 'distributed-rate-limiter';
import { run } from '../shared/node-server.mjs';
import { runUntilTold } from '../shared/place.mjs';

const redis = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
const connection = { url: redis };
const [, , role = 'api'] = process.argv;

await (role === 'worker' ? work() : serve());

async function serve() {
  const limiter = new RateLimiter({ redis, namespace: 'bullmq', rate: 100, period: '1h' });
  const queue = new Queue('answers', { connection });

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async function answer(request, response) {
    const user = String(request.headers['x-user'] ?? 'nobody');
    if (request.method === 'GET') {
      response.end(String((await limiter.peek(user)).remaining));
      return;
    }
    const reservation = await limiter.reserve(user, { cost: 20, ttl: '1h' });
    if (!reservation.allowed) {
      response.writeHead(429).end();
      return;
    }
    const { token } = reservation;
    const text = String(request.headers['x-text'] ?? '');
    try {
      // The token alone says which reservation it is: the worker learns no user.
      await queue.add('answer', { text, token }, { attempts: 2, removeOnComplete: true });
      response.writeHead(202).end();
    } catch {
      await reservation.cancel().catch(() => {});
      response.writeHead(503).end();
    }
  }

  const server = createServer((request, response) => void answer(request, response));
  await run(server, {
    ready: () => Promise.all([limiter.ready(), queue.waitUntilReady()]),
    close: async () => {
      await queue.close();
      await limiter.close();
    },
  });
}

async function work() {
  // The limits of a reservation are in its record, so those of this limiter may be any.
  const limiter = new RateLimiter({ redis, namespace: 'bullmq', rate: 1, period: '1s' });
  const worker = new Worker(
    'answers',
    async ({ data: { text, token } }) => {
      if (text === 'broken') throw new Error('no answer');
      const answer = text.toUpperCase();
      // A job that runs twice, after a crash or a stall, is settled once.
      await limiter.resume(token).settle(answer.length);
      return answer;
    },
    { connection },
  );
  worker.on('failed', async (job) => {
    if (job !== undefined && job.attemptsMade >= (job.opts.attempts ?? 1)) {
      await limiter
        .resume(job.data.token)
        .cancel()
        .catch(() => {}); // it expires
    }
  });
  worker.on('error', ({ message }) => console.error(message));
  await Promise.all([limiter.ready(), worker.waitUntilReady()]);
  await runUntilTold(0, async () => {
    await worker.close();
    await limiter.close();
  });
}
