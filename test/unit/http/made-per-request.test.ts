import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import express from 'express';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryStore } from 'distributed-rate-limiter';
import type { RateLimiterOptions } from 'distributed-rate-limiter';
import { rateLimit as forExpress } from 'distributed-rate-limiter/express';
import type { Middleware } from 'distributed-rate-limiter/express';
import { rateLimitHook } from 'distributed-rate-limiter/fastify';
import { rateLimit as forHono } from 'distributed-rate-limiter/hono';
import { createGuard } from 'distributed-rate-limiter/http';
import { rateLimit as forKoa } from 'distributed-rate-limiter/koa';
import { rateLimit as forNode } from 'distributed-rate-limiter/node-http';
import { rateLimit as forWeb } from 'distributed-rate-limiter/web';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import type { Served } from './framework.ts';
import { listen } from './node-server.ts';
import { listenerOf } from './web-server.ts';

const warnings = collectWarnings();
const open: Served[] = [];
afterEach(async () => {
  for (const served of open.splice(0)) await served.close();
});

let namespaces = 0;
const options = (namespace = `made-${namespaces++}`): RateLimiterOptions => ({
  store: new MemoryStore(),
  namespace,
  rate: 2,
  period: '1h',
});
const identify = (): string => 'all';

async function statuses(served: Served, requests = 4): Promise<number[]> {
  open.push(served);
  const seen: number[] = [];
  for (let i = 0; i < requests; i++) seen.push((await fetch(served.origin)).status);
  return seen;
}

async function codes(): Promise<(string | undefined)[]> {
  return (await warnings()).map(({ code }) => code);
}

describe('DRL_MADE_PER_REQUEST warns once of a guard made per request', () => {
  const made = options();
  const each = (): RateLimiterOptions => options(made.namespace);

  test.each<[name: string, serve: () => Promise<Served>]>([
    [
      'node:http',
      () =>
        listen(
          createServer((request, response) =>
            forNode(each(), { identify })((_, answer) => answer.end('x'))(request, response),
          ),
        ),
    ],
    [
      'Express',
      () => {
        const app = express();
        app.get('/', (request, response, next) => forExpress(each())(request, response, next));
        app.get('/', (_, response) => void response.end('x'));
        return listen(createServer(app));
      },
    ],
    [
      'Express, with a function that makes it and a router',
      () => {
        const makeLimit = (): express.RequestHandler => forExpress(each());
        const app = express();
        app.use((request, response, next) => {
          const router = express.Router();
          router.use(makeLimit());
          router.get('/', (_, answer) => void answer.end('x'));
          router(request, response, next);
        });
        return listen(createServer(app));
      },
    ],
    [
      'Koa, after something awaited',
      () => {
        const app = new Koa();
        app.use(async (ctx, next) => {
          await new Promise(setImmediate);
          await forKoa(each())(ctx, next);
        });
        app.use((ctx) => {
          ctx.body = 'x';
        });
        const handle = app.callback();
        return listen(createServer((request, response) => void handle(request, response)));
      },
    ],
    [
      'Hono',
      () => {
        const app = new Hono();
        app.use(async (c, next) => forHono(each(), { identify })(c, next));
        app.get('/', (c) => c.text('x'));
        return listen(createServer(listenerOf(app.fetch)));
      },
    ],
    [
      'Fastify',
      async () => {
        const app = fastify();
        app.addHook('onRequest', (request, reply, done) =>
          rateLimitHook(each())(request, reply, done),
        );
        app.get('/', async () => 'x');
        await app.ready();
        return listen(createServer((request, response) => app.routing(request, response)));
      },
    ],
    [
      'a web handler',
      () => {
        const get = (request: Request): Promise<Response> =>
          forWeb(each(), { identify })(() => new Response('x'))(request);
        return listen(createServer(listenerOf(get)));
      },
    ],
    [
      'createGuard',
      () =>
        listen(
          createServer((request, response) => {
            const guard = createGuard<IncomingMessage>(each());
            void guard
              .check(request)
              .then(({ pass }) => response.writeHead(pass ? 200 : 429).end());
          }),
        ),
    ],
  ])('with %s', async (_, serve) => {
    expect(await statuses(await serve())).toEqual([200, 200, 200, 200]);
    expect(await codes()).toEqual(['DRL_MADE_PER_REQUEST']);
    const [{ message }] = (await warnings()) as [Error];
    expect(message).toMatch(/made-per-request\.test\.ts:\d+/);
    expect(message).toContain('Make the guard once');
  });
});

describe('DRL_MADE_PER_REQUEST does not warn', () => {
  test('of a guard made once and called by a function of the application', async () => {
    const limit = forExpress(options());
    const app = express();
    app.get('/', (request, response, next) => void limit(request, response, next));
    app.get('/', (_, response) => void response.end('x'));
    expect(await statuses(await listen(createServer(app)))).toEqual([200, 200, 429, 429]);
    expect(await codes()).toEqual([]);
  });

  test('of a guard made at the first request', async () => {
    let limit: Middleware<IncomingMessage> | undefined;
    const app = express();
    app.get('/', (request, response, next) => {
      limit ??= forExpress(options());
      void limit(request, response, next);
    });
    app.get('/', (_, response) => void response.end('x'));
    expect(await statuses(await listen(createServer(app)))).toEqual([200, 200, 429, 429]);
    expect(await codes()).toEqual([]);
  });

  test('of a guard made at the first request of each tenant', async () => {
    const limits = new Map<string, Middleware<IncomingMessage>>();
    const app = express();
    app.get('/:tenant', (request, response, next) => {
      const { tenant } = request.params;
      const limit = limits.get(tenant) ?? forExpress(options(`tenant-${tenant}`));
      limits.set(tenant, limit);
      void limit(request, response, next);
    });
    app.get('/:tenant', (_, response) => void response.end('x'));
    const served = await listen(createServer(app));
    open.push(served);
    for (const tenant of ['a', 'b', 'c', 'a']) {
      expect((await fetch(`${served.origin}/${tenant}`)).status).toBe(200);
    }
    expect(await codes()).toEqual([]);
  });

  test('of equal applications made for one request each, as tests do', async () => {
    const makeHono = (): Hono => {
      const app = new Hono();
      app.use(forHono(options('alike'), { identify }));
      app.get('/', (c) => c.text('x'));
      return app;
    };
    for (let i = 0; i < 5; i++) {
      expect((await makeHono().request('/')).status).toBe(200);
    }
    for (let i = 0; i < 3; i++) {
      const app = express();
      app.get('/', forExpress(options('alike')), (_, response) => void response.end('x'));
      expect(await statuses(await listen(createServer(app)), 1)).toEqual([200]);
      const instance = fastify();
      instance.addHook('onRequest', rateLimitHook(options('alike')));
      instance.get('/', async () => 'x');
      expect((await instance.inject('/')).statusCode).toBe(200);
    }
    expect(await codes()).toEqual([]);
  });

  test('of a guard that a Fastify plugin makes for routes at their first request', async () => {
    const { rateLimit } = await import('distributed-rate-limiter/fastify');
    const app = fastify();
    const route = async (): Promise<string> => 'x';
    for (const path of ['/a', '/b', '/c']) {
      app.get(path, { config: { rateLimit: { cost: 1 } } } as never, route);
    }
    await app.register(rateLimit, { limiter: options() });
    for (const path of ['/a', '/b', '/c']) {
      expect((await app.inject(path)).statusCode).toBe(path === '/c' ? 429 : 200);
    }
    expect(await codes()).toEqual([]);
  });
});
