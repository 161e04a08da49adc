import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import type { FailStrategy } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/node-http';
import { freePort, startRedis, startWorkers, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import type { Task } from './wait.worker.mjs';

const worker = new URL('wait.worker.mjs', import.meta.url);

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.close();
});
beforeEach(async () => {
  await redis.command('FLUSHALL');
});

const at = (port: number, path = '/'): string => `http://127.0.0.1:${port}${path}`;

async function textOf(url: string): Promise<string> {
  return (await fetch(url)).text();
}

describe('requests that wait at several processes', () => {
  const PROCESSES = 3;
  const EACH = 6;
  const TURN_MS = 150;

  test('pass one per turn of the shared limit, in order of arrival at each process, though one is killed', async () => {
    const ports = await Promise.all(Array.from({ length: PROCESSES }, () => freePort()));
    const task: Task = {
      redis: redis.port,
      ports,
      limit: { rate: 20, period: '3s', burst: 1 },
      wait: { timeoutMs: 60_000, maxQueue: EACH },
    };
    const group = startWorkers(worker, PROCESSES, task, { timeoutMs: 90_000 });
    await group.going;
    const startedAt = performance.now();
    const passed: number[] = [];
    const ofProcess = async (index: number) => {
      const order: number[] = [];
      const requests: Promise<unknown>[] = [];
      for (let i = 0; i < EACH; i++) {
        const ask = async (): Promise<unknown> => {
          try {
            const response = await fetch(at(ports[index]!));
            order.push(Number(await response.text()) - 1);
            passed.push(performance.now());
            return response.status;
          } catch (error) {
            return error;
          }
        };
        requests.push(ask());
        await waitUntil('the request to arrive', async () => {
          return Number(await textOf(at(ports[index]!, '/arrived'))) === i + 1;
        });
      }
      if (index === 2) group.workers[2]!.kill();
      const errors = (await Promise.all(requests)).filter((answer) => answer !== 200);
      return { order, errors };
    };
    const [first, second, killed] = await Promise.all([0, 1, 2].map(ofProcess));
    const tookMs = performance.now() - startedAt;
    await Promise.all([0, 1].map((index) => textOf(at(ports[index]!, '/quit')).catch(() => {})));
    const handled = await Promise.all([0, 1].map((index) => group.workers[index]!.result));
    await group.workers[2]!.result;
    const all = Array.from({ length: EACH }, (_, i) => i);
    expect([first, second]).toEqual([all, all].map((order) => ({ order, errors: [] })));
    expect(handled).toEqual([EACH, EACH]);
    expect(killed!.order.length + killed!.errors.length).toBe(EACH);
    // One passes at once, each further one takes a turn.
    expect(tookMs).toBeGreaterThanOrEqual((passed.length - 1) * TURN_MS);
    console.log(`${passed.length} passed in ${Math.round(tookMs)} ms, ${TURN_MS} ms apart`);
  }, 120_000);
});

describe('requests that wait at a server', () => {
  const open: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0).toReversed()) await close();
  });

  /** A server under one request per second. */
  async function serve(maxQueue: number, failStrategy: FailStrategy = 'closed') {
    const limiter = new RateLimiter({
      redis: redis.url,
      rate: 1,
      period: '1s',
      failStrategy,
      timeoutMs: 500,
    });
    await limiter.ready();
    let arrived = 0;
    const handled: string[] = [];
    const limited = rateLimit(limiter, {
      wait: { timeoutMs: 20_000, maxQueue },
      identify: () => {
        arrived += 1;
        return 'anna';
      },
    });
    const server: Server = createServer(
      limited((request, response) => {
        handled.push(request.url!);
        response.end('done');
      }),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(
      () => limiter.close(),
      async () => {
        server.closeAllConnections();
        if (server.listening) server.close();
      },
    );
    const { port } = server.address() as AddressInfo;
    return {
      limiter,
      server,
      handled,
      /** Resolves when the request has arrived; then its answer can be awaited, or its client leave. */
      async request(path: string) {
        const before = arrived;
        const client = new AbortController();
        const answer = fetch(at(port, path), { signal: client.signal }).then(
          async (response) => ({ status: response.status, text: await response.text() }),
          (error: unknown) => ({ status: 0, text: String(error) }),
        );
        await waitUntil('the request to arrive', async () => arrived === before + 1);
        return { answer, leave: () => client.abort() };
      },
    };
  }

  test('move up when the clients of others leave, which are charged nothing', async () => {
    const { request, handled, limiter } = await serve(10);
    const startedAt = performance.now();
    expect(await (await request('/spends')).answer).toMatchObject({ status: 200 });
    const first = await request('/first');
    const second = await request('/second');
    const third = await request('/third');
    first.leave();
    second.leave();
    expect(await third.answer).toEqual({ status: 200, text: 'done' });
    // The first turn, not the third; later on a machine that is busy.
    expect(performance.now() - startedAt).toBeLessThan(2_900);
    expect(handled).toEqual(['/spends', '/third']);
    await sleep(1_100); // units of the clients that left would be missing now
    expect((await limiter.peek('anna')).remaining).toBe(1);
  });

  test('are refused at once when as many wait as may, and have room again when a client leaves', async () => {
    const { request, handled } = await serve(1);
    await (
      await request('/spends')
    ).answer;
    const first = await request('/first');
    const second = await request('/second');
    const refused = await (await request('/third')).answer;
    expect(refused.status).toBe(429);
    expect(refused.text).toContain('As many requests of this client as may wait');
    second.leave();
    await sleep(50); // until the server has noticed
    const fourth = await request('/fourth');
    expect(await first.answer).toMatchObject({ status: 200 });
    expect(await fourth.answer).toMatchObject({ status: 200 });
    expect(handled).toEqual(['/spends', '/first', '/fourth']);
  });

  test('are answered when the limiter is closed, and their server closes', async () => {
    const { request, handled, limiter, server } = await serve(10);
    await (
      await request('/spends')
    ).answer;
    const waiting = [await request('/first'), await request('/second')];
    const closed = once(server, 'close');
    server.close();
    await limiter.close();
    const answers = await Promise.all(waiting.map(({ answer }) => answer));
    expect(answers.map(({ status }) => status)).toEqual([500, 500]);
    await closed;
    expect(handled).toEqual(['/spends']);
  });

  test('charge nothing when their server closes all connections', async () => {
    const { request, handled, limiter, server } = await serve(10);
    await (
      await request('/spends')
    ).answer;
    const waiting = [await request('/first'), await request('/second')];
    server.close();
    server.closeAllConnections();
    await Promise.all(waiting.map(({ answer }) => answer));
    await sleep(1_100);
    expect((await limiter.peek('anna')).remaining).toBe(1);
    expect(handled).toEqual(['/spends']);
  });

  test.each<[FailStrategy, number]>([
    ['closed', 503],
    ['open', 200],
    ['throw', 500],
  ])(
    'are answered by `failStrategy: %s` when Redis is killed meanwhile',
    async (strategy, status) => {
      const { request, handled } = await serve(10, strategy);
      await (
        await request('/spends')
      ).answer;
      const waiting = [await request('/first'), await request('/second'), await request('/third')];
      await redis.kill();
      const startedAt = performance.now();
      const answers = await Promise.all(waiting.map(({ answer }) => answer));
      expect(answers.map((answer) => answer.status)).toEqual([status, status, status]);
      // The turn of the first, and the deadline of each call, of which none is needed while Redis is known to be away.
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      expect(handled.length).toBe(status === 200 ? 4 : 1);
      await redis.start();
      await waitUntil('Redis to be heard again', async () => {
        const { status: now } = await (await request('/later')).answer;
        return now === 200;
      });
    },
  );
});
