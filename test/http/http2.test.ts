import { once } from 'node:events';
import http2 from 'node:http2';
import type { ClientHttp2Session, Http2ServerRequest } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:net';
import { fastify } from 'fastify';
import Koa from 'koa';
import { afterEach, describe, expect, test } from 'vitest';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { rateLimit as limitFastify } from 'distributed-rate-limiter/fastify';
import { rateLimit as limitKoa } from 'distributed-rate-limiter/koa';
import { rateLimit as limitNode } from 'distributed-rate-limiter/node-http';
import { waitUntil } from '../kit/index.mjs';

/** Answers with the status that the path names; `/open` writes a piece and leaves the rest open. */
type Serve = (
  limiter: RateLimiter,
  options: Pick<GuardOptions<unknown>, 'count'>,
) => Promise<Server>;

const statusOf = (path: string): number => Number(path.slice(1)) || 200;

const servers: readonly (readonly [string, Serve])[] = [
  [
    'node:http2',
    async (limiter, options) => {
      const limited = limitNode<Http2ServerRequest>(limiter, options);
      return http2
        .createServer(
          limited((request, response) => {
            response.statusCode = statusOf(request.url);
            if (request.url === '/open') response.write('piece');
            else response.end('done');
          }),
        )
        .listen(0, '127.0.0.1');
    },
  ],
  [
    'Fastify',
    async (limiter, options) => {
      const app = fastify({ http2: true });
      await app.register(limitFastify, { limiter, ...options });
      app.get('/open', (_, reply) => {
        reply.hijack();
        reply.raw.write('piece');
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
      app.use(limitKoa(limiter, options));
      app.use((ctx) => {
        if (ctx.path === '/open') {
          ctx.respond = false;
          ctx.res.write('piece');
          return;
        }
        ctx.status = statusOf(ctx.path);
        ctx.body = 'done';
      });
      const listener = app.callback();
      return http2
        .createServer((request, response) => void listener(request as never, response as never))
        .listen(0, '127.0.0.1');
    },
  ],
];

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function connect(server: Server): Promise<ClientHttp2Session> {
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

describe.each(servers)('HTTP/2 with %s', (_, serve) => {
  test('passes with fields, then refuses with a problem', async () => {
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

  test('what counts only as a failure is given back when it was none', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h' });
    const session = await connect(await serve(limiter, { count: 'failures' }));
    const statuses: unknown[] = [];
    for (const path of ['/200', '/200', '/200', '/401', '/401', '/401']) {
      statuses.push((await ask(session, path)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 401, 401, 429]);
  });

  test('a lease is held while a response streams, and free when its stream is reset', async () => {
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
});
