import { once } from 'node:events';
import http2, { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { All, Controller, Req, Res } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import express from 'express';
import type { Express } from 'express';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { afterEach, describe, expect, test } from 'vitest';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { rateLimit as limitExpress } from 'distributed-rate-limiter/express';
import { rateLimit as limitFastify } from 'distributed-rate-limiter/fastify';
import { rateLimit as limitHono } from 'distributed-rate-limiter/hono';
import { rateLimit as limitKoa } from 'distributed-rate-limiter/koa';
import { RateLimitModule } from 'distributed-rate-limiter/nest';
import { rateLimit as limitNode } from 'distributed-rate-limiter/node-http';
import { rateLimit as limitWeb } from 'distributed-rate-limiter/web';
import { CHECKS_UNTIL_GONE, checkStreams } from '../../../src/http/gone-streams.ts';
import { waitUntil } from '../../kit/servers/index.mjs';
import { deferred } from '../../unit/http/deferred.ts';
import { create } from '../../unit/http/nest-app.ts';
import { decorate, parameter } from '../../unit/http/nest-decorate.ts';
import { listenerOf } from '../../unit/http/web-server.ts';

/**
 * Answers with the status that the path names. `/open` writes a piece and leaves the response open. `/later` reports
 * that it has begun, and answers with the status of `later` once that has settled.
 */
type Serve = (
  limiter: RateLimiter,
  options: Pick<GuardOptions<unknown>, 'count' | 'maxHold'>,
) => Promise<Server>;

const statusOf = (path: string): number => Number(path.slice(1)) || 200;

let began = deferred<void>();
let later = deferred<number>();
const statusLater = (): Promise<number> => {
  began.resolve();
  return later.promise;
};

const listening = (server: Server): Server => server.listen(0, '127.0.0.1');
type Compat = [request: Http2ServerRequest, response: Http2ServerResponse];

async function answerNode(...[request, response]: Compat): Promise<void> {
  if (request.url === '/later') {
    response.statusCode = await statusLater();
  } else {
    response.statusCode = statusOf(request.url);
  }
  if (request.url === '/open') response.write('piece');
  else response.end('done');
}

/** Express as HTTP/2 bridges set it up: its requests and responses inherit from those of node:http2. */
function bridged(app: Express): Express {
  const over = (own: object, http2Own: object): object =>
    Object.create(http2Own, Object.getOwnPropertyDescriptors(own)) as object;
  Object.assign(app, {
    request: over(express.request, Http2ServerRequest.prototype),
    response: over(express.response, Http2ServerResponse.prototype),
  });
  return app;
}

async function webAnswer(path: string): Promise<Response> {
  if (path === '/open') {
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode('piece')),
      }),
    );
  }
  return new Response('done', { status: path === '/later' ? await statusLater() : statusOf(path) });
}

const webServer = (fetch: Parameters<typeof listenerOf>[0]): Server =>
  listening(http2.createServer(listenerOf(fetch) as unknown as (...given: Compat) => void));

const identify = (): string => 'all';

const servers: readonly (readonly [string, Serve])[] = [
  [
    'node:http2',
    async (limiter, options) => {
      const limited = limitNode<Http2ServerRequest>(limiter, { ...options, identify });
      return listening(http2.createServer(limited(answerNode)));
    },
  ],
  [
    'node:http2, answered by its stream',
    async (limiter, options) => {
      const limited = limitNode<Http2ServerRequest>(limiter, { ...options, identify });
      return listening(
        http2.createServer(
          limited(async ({ url }, response: Http2ServerResponse) => {
            const status = url === '/later' ? await statusLater() : statusOf(url);
            const { stream } = response;
            if (stream.destroyed) return;
            stream.respond({ ...response.getHeaders(), ':status': status });
            if (url === '/open') stream.write('piece');
            else stream.end('done');
          }),
        ),
      );
    },
  ],
  [
    'Express',
    async (limiter, options) => {
      const app = bridged(express());
      app.use(limitExpress(limiter, { ...options, identify }));
      app.use((request, response) => answerNode(request as never, response as never));
      return listening(http2.createServer(app as never));
    },
  ],
  [
    'Fastify',
    async (limiter, options) => {
      const app = fastify({ http2: true });
      await app.register(limitFastify, { limiter, ...options, identify });
      app.get('/open', (_, reply) => {
        reply.hijack();
        reply.raw.write('piece');
      });
      app.get('/later', async (_, reply) => {
        await reply.code(await statusLater()).send('done');
      });
      app.get('/:status', async (request, reply) => {
        await reply.code(statusOf(request.url)).send('done');
      });
      await app.listen({ port: 0, host: '127.0.0.1' });
      return app.server;
    },
  ],
  [
    'Koa',
    async (limiter, options) => {
      const app = new Koa();
      app.silent = true;
      app.use(limitKoa(limiter, { ...options, identify }));
      app.use(async (ctx) => {
        if (ctx.path === '/open') {
          ctx.respond = false;
          ctx.res.write('piece');
          return;
        }
        ctx.status = ctx.path === '/later' ? await statusLater() : statusOf(ctx.path);
        ctx.body = 'done';
      });
      const listener = app.callback();
      return listening(
        http2.createServer((request, response) => {
          void listener(request, response);
        }),
      );
    },
  ],
  [
    'Hono',
    async (limiter, options) => {
      const app = new Hono();
      app.use(limitHono(limiter, { ...options, identify }));
      app.all('*', (c) => webAnswer(c.req.path));
      return webServer(app.fetch);
    },
  ],
  [
    'a web-standard handler',
    async (limiter, options) => {
      const limited = limitWeb(limiter, { ...options, identify });
      return webServer(limited((request) => webAnswer(new URL(request.url).pathname)));
    },
  ],
  [
    'NestJS on Fastify',
    async (limiter, options) => {
      class Routes {
        handle(request: { raw: Http2ServerRequest }, reply: { raw: Http2ServerResponse }) {
          return answerNode(request.raw, reply.raw);
        }
      }
      decorate(Routes, [Controller()], {
        handle: [All('*'), parameter(0, Req()), parameter(1, Res())],
      });
      const imports = [RateLimitModule.forRoot({ limiter, ...options, identify })];
      const platform = new FastifyAdapter({ http2: true } as never);
      const app = await create({ imports, controllers: [Routes] }, platform);
      await app.listen(0, '127.0.0.1');
      return app.getHttpServer() as Server;
    },
  ],
];

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function connect(server: Server): Promise<ClientHttp2Session> {
  began = deferred();
  later = deferred();
  if (!server.listening) await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  closing.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => session.destroy(),
  );
  return session;
}

async function ask(session: ClientHttp2Session, path: string) {
  const stream = session.request({ ':path': path });
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  const body = (await stream.setEncoding('utf8').toArray()).join('');
  return { status: (headers as { ':status'?: number })[':status'], headers, body };
}

describe.each(servers)('HTTP/2 with %s', (__, serve) => {
  test('lets requests pass with fields, then refuses with a problem', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1h' });
    const session = await connect(await serve(limiter, {}));
    expect(await ask(session, '/200')).toMatchObject({
      status: 200,
      headers: { ratelimit: '"default";r=0;t=3600' },
      body: 'done',
    });
    const refused = await ask(session, '/200');
    expect(refused).toMatchObject({
      status: 429,
      headers: { 'retry-after': '3600', 'content-type': 'application/problem+json' },
    });
    expect(JSON.parse(refused.body)).toMatchObject({ status: 429 });
  });

  test('gives back a request counted as a failure when it succeeds', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h' });
    const session = await connect(await serve(limiter, { count: 'failures' }));
    const statuses: unknown[] = [];
    for (const path of ['/200', '/200', '/200', '/401', '/401', '/401']) {
      statuses.push((await ask(session, path)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 401, 401, 429]);
  });

  test('holds a lease while a response streams, and frees it when the stream is reset', async () => {
    const limits = [concurrency({ max: 1, ttl: '1h' })];
    const limiter = new RateLimiter({ store: new MemoryStore(), limits });
    const session = await connect(await serve(limiter, {}));
    const open = session.request({ ':path': '/open' });
    await once(open, 'data');
    expect((await ask(session, '/200')).status).toBe(429);
    open.close(http2.constants.NGHTTP2_CANCEL);
    await waitUntil('the place to be free', async () => {
      return (await ask(session, '/200')).status === 200;
    });
  });

  const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;
  const end: readonly (readonly [
    string,
    (stream: ClientHttp2Stream, session: ClientHttp2Session) => void,
  ])[] = [
    ['is cancelled', (stream) => stream.close(NGHTTP2_CANCEL)],
    ['is reset without an error', (stream) => stream.close(NGHTTP2_NO_ERROR)],
    ['ends with its session', (_, session) => session.destroy()],
  ];

  describe.each(['failures', 'successes'] as const)('counting %s', (count) => {
    test.each(end)('keeps a request charged whose stream %s before the answer', async (_, cut) => {
      const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h' });
      const server = await serve(limiter, { count });
      const session = await connect(server);
      const streamClosed = nextStreamOf(server);
      const stream = session.request({ ':path': '/later' });
      stream.on('error', () => {});
      await began.promise;
      cut(stream, session);
      await streamClosed;
      later.resolve(count === 'failures' ? 200 : 500);
      await settled();
      expect((await limiter.peek('all')).remaining).toBe(1);
    });

    test.each(end)('keeps a request charged whose stream %s in the body', async (_, cut) => {
      const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h' });
      const server = await serve(limiter, { count });
      const session = await connect(server);
      const streamClosed = nextStreamOf(server);
      const stream = session.request({ ':path': '/open' });
      stream.on('error', () => {});
      await once(stream, 'data');
      cut(stream, session);
      await streamClosed;
      await settled();
      expect((await limiter.peek('all')).remaining).toBe(1);
    });
  });

  test('allows no extra password guesses to a client that cancels each request', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1h' });
    const server = await serve(limiter, { count: 'failures' });
    const session = await connect(server);
    later.resolve(401);
    let guesses = 0;
    for (let i = 0; i < 12; i++) {
      began = deferred();
      const streamClosed = nextStreamOf(server);
      const stream = session.request({ ':path': '/later' });
      stream.on('error', () => {});
      const refused = once(stream, 'response').then(() => false);
      const handled = began.promise.then(() => true);
      if (await Promise.race([handled, refused.catch(() => handled)])) guesses += 1;
      stream.close(NGHTTP2_CANCEL);
      await streamClosed;
    }
    expect(guesses).toBe(5);
  });

  test('settles a request by its status when its stream is reset after the whole answer', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h' });
    const server = await serve(limiter, { count: 'failures' });
    const session = await connect(server);
    const stream = session.request({ ':path': '/200' });
    expect(await stream.toArray()).not.toEqual([]);
    stream.close(NGHTTP2_CANCEL);
    await waitUntil('the charge to be given back', async () => {
      return (await limiter.peek('all')).remaining === 2;
    });
  });
});

/** Resolves when the server closes the stream that opens next. */
function nextStreamOf(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.once('stream', (stream: ServerHttp2Stream) => stream.once('close', resolve));
  });
}

/** Waits until the effects of a closed stream are done. */
async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
}

test('keeps a request charged whose stream is reset without an error while its answer waits for flow control', async () => {
  const limiter = new RateLimiter({
    store: new MemoryStore(),
    limits: [
      concurrency({ name: 'places', max: 1, ttl: '1h' }),
      tokenBucket({ name: 'rate', rate: 2, period: '1h' }),
    ],
  });
  const written = deferred<ServerHttp2Stream>();
  const limited = limitNode<Http2ServerRequest>(limiter, { identify, count: 'failures' });
  const server = listening(
    http2.createServer(
      limited((_, response: Http2ServerResponse) => {
        response.end('x'.repeat(1_000_000));
        written.resolve(response.stream);
      }),
    ),
  );
  const session = await connect(server);
  closing.push(() => written.promise.then((stream) => stream.session?.destroy()));
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await once(stream, 'data');
  const serverStream = await written.promise;
  stream.resume().close(http2.constants.NGHTTP2_NO_ERROR);
  await waitUntil('the server to have read the reset', async () => serverStream.closed);
  const remaining = async (): Promise<unknown> =>
    (await limiter.peek('all')).limits.map((limit) => limit.remaining);
  for (let i = 0; i < CHECKS_UNTIL_GONE; i++) checkStreams();
  expect(await remaining()).toEqual([1, 1]);
});
