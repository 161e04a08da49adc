import { createServer } from 'node:http';
import { Controller, Get } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import express from 'express';
import { Hono } from 'hono';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { rateLimit as forExpress } from 'distributed-rate-limiter/express';
import { rateLimit as forHono } from 'distributed-rate-limiter/hono';
import { createGuard } from 'distributed-rate-limiter/http';
import { RateLimitModule } from 'distributed-rate-limiter/nest';
import { rateLimit as forWeb } from 'distributed-rate-limiter/web';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import type { Served } from './framework.ts';
import { create, listen as listenNest } from './nest-app.ts';
import { decorate } from './nest-decorate.ts';
import { listen } from './node-server.ts';

const warnings = collectWarnings();
const open: Served[] = [];
afterEach(async () => {
  for (const served of open.splice(0)) await served.close();
});

async function codes(): Promise<(string | undefined)[]> {
  return (await warnings()).map(({ code }) => code);
}

const memory = (): RateLimiter =>
  new RateLimiter({ store: new MemoryStore(), rate: 9, period: '1h' });
const identify = (): string => 'all';

async function visit(served: Served): Promise<void> {
  open.push(served);
  for (let i = 0; i < 3; i++) expect((await fetch(served.origin)).status).toBe(200);
}

describe('DRL_COUNTED_TWICE warns across', () => {
  test('an Express application and one mounted in it', async () => {
    const limiter = memory();
    const [app, inner] = [express(), express()];
    app.use(forExpress(limiter));
    inner.use(forExpress(limiter));
    inner.get('/', (_, response) => void response.end('x'));
    app.use(inner);
    await visit(await listen(createServer(app)));
    expect(await codes()).toEqual(['DRL_COUNTED_TWICE']);
  });

  test.each(['route', 'mount', 'fetch'] as const)(
    'applications of Hono, joined by %s',
    async (by) => {
      const limiter = memory();
      const [app, inner] = [new Hono(), new Hono()];
      app.use(forHono(limiter, { identify }));
      inner.use(forHono(limiter, { identify }));
      inner.get('/', (c) => c.text('x'));
      if (by === 'route') app.route('/', inner);
      if (by === 'mount') app.mount('/', inner.fetch, { replaceRequest: (request) => request });
      if (by === 'fetch') app.get('/', (c) => inner.fetch(c.req.raw));
      expect((await app.request('/')).status).toBe(200);
      expect((await app.request('/')).status).toBe(200);
      expect(await codes()).toEqual(['DRL_COUNTED_TWICE']);
    },
  );

  test('a web handler and an application of Hono in it', async () => {
    const limiter = memory();
    const app = new Hono();
    app.use(forHono(limiter, { identify }));
    app.get('/', (c) => c.text('x'));
    const get = forWeb(limiter, { identify })((request) => app.fetch(request));
    await get(new Request('http://localhost/'));
    expect(await codes()).toEqual(['DRL_COUNTED_TWICE']);
  });

  test('middleware of Express and a module of Nest', async () => {
    const limiter = memory();
    const app = await nest(RateLimitModule.forRoot({ limiter }));
    app.use(forExpress(limiter));
    await visit(await listenNest(app));
    expect(await codes()).toEqual(['DRL_COUNTED_TWICE']);
  });

  test('a request as a whole and one part of it', async () => {
    const guard = createGuard<object>(memory(), { identify });
    const request = {};
    await guard.check(request);
    await guard.check(request, {});
    expect(await codes()).toEqual(['DRL_COUNTED_TWICE']);
  });
});

describe('DRL_COUNTED_TWICE does not warn', () => {
  test('of a request decided in several parts, as the fields of a query are', async () => {
    const guard = createGuard<object>(memory(), { identify });
    const request = {};
    for (let i = 0; i < 4; i++) await guard.check(request, {});
    expect(await codes()).toEqual([]);
  });

  test('of a request object passed again after its first attempt', async () => {
    const get = forWeb(memory(), { identify })(() => new Response('x'));
    const app = new Hono();
    app.use(forHono(memory(), { identify }));
    app.get('/', (c) => c.text('x'));
    const request = new Request('http://localhost/');
    for (let attempt = 0; attempt < 12; attempt++) {
      await get(request);
      await app.fetch(request);
    }
    expect(await codes()).toEqual([]);
  });
});

async function nest(
  ...imports: ReturnType<typeof RateLimitModule.forRoot>[]
): Promise<INestApplication> {
  class AppController {
    hello(): string {
      return 'x';
    }
  }
  decorate(AppController, [Controller()], { hello: [Get()] });
  return create({ imports, controllers: [AppController] }, new ExpressAdapter());
}
