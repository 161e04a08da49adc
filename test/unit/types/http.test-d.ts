import type { IncomingMessage } from 'node:http';
import type { Request as ExpressRequest } from 'express';
import express from 'express';
import Fastify from 'fastify';
import type { FastifyRequest } from 'fastify';
import { Hono } from 'hono';
import type { Context as HonoContext } from 'hono';
import Koa from 'koa';
import { expectTypeOf, test } from 'vitest';
import type { RateLimiter } from 'distributed-rate-limiter';
import { rateLimit as forExpress } from 'distributed-rate-limiter/express';
import { rateLimit as forFastify, rateLimitHook } from 'distributed-rate-limiter/fastify';
import { rateLimit as forHono } from 'distributed-rate-limiter/hono';
import { rateLimit as forKoa } from 'distributed-rate-limiter/koa';
import type { KoaContext } from 'distributed-rate-limiter/koa';
import { rateLimit as forWeb } from 'distributed-rate-limiter/web';

declare const limiter: RateLimiter;

test("the Express adapter fits Express's types", () => {
  const app = express();
  app.use(forExpress(limiter));
  app.use(forExpress(limiter, { identify: (request: ExpressRequest) => request.ip }));
  app.get('/', forExpress(limiter, { cost: 2 }), (_, response) => void response.end());
  expectTypeOf(forExpress(limiter).limiter).toEqualTypeOf<RateLimiter>();
});

test("the Fastify adapter fits Fastify's types", () => {
  const app = Fastify();
  app.register(forFastify, { limiter, global: false, hook: 'preHandler' });
  app.register(forFastify, { limiter, identify: (request: FastifyRequest) => request.ip });
  app.register(forFastify, {
    limiter,
    identify: (request) => {
      expectTypeOf(request).toEqualTypeOf<FastifyRequest>();
      return request.ip + request.hostname;
    },
    cost: ({ query }) => (query === undefined ? 1 : 2),
  });
  app.register(import('distributed-rate-limiter/fastify'), { limiter, identify: ({ ip }) => ip });
  Fastify({ http2: true }).register(forFastify, { limiter, identify: (request) => request.ip });
  Fastify({ https: {} }).register(forFastify, { limiter, identify: (request) => request.ip });
  // @ts-expect-error an option that does not exist
  app.register(forFastify, { limiter, gloabl: false });
  // @ts-expect-error a property that no request has
  app.register(forFastify, { limiter, identify: (request) => request.ipp });
  app.get('/', { onRequest: [rateLimitHook(limiter), rateLimitHook(limiter)] }, async () => 'x');
  app.get('/a', { preHandler: rateLimitHook(limiter, { cost: 2 }) }, async () => 'x');
  const mine = rateLimitHook(limiter, { identify: (request: FastifyRequest) => request.ip });
  app.get('/b', { onRequest: mine }, async () => 'x');
  rateLimitHook(limiter, {
    identify: (request) => {
      expectTypeOf(request).toEqualTypeOf<FastifyRequest>();
      return request.headers.authorization;
    },
  });
  app.get('/c', { config: { rateLimit: { identify: ({ ip }) => ip } } }, async () => 'x');
  app.get('/d', { config: { rateLimit: false } }, async () => 'x');
  // @ts-expect-error a cost is a number
  app.get('/e', { config: { rateLimit: { cost: 'two' } } }, async () => 'x');
});

test("the Hono adapter fits Hono's types", () => {
  type Env = { Variables: { user: string } };
  const app = new Hono<Env>();
  app.use(forHono(limiter));
  app.use('/a/*', forHono(limiter, { identify: (c) => c.req.header('x-api-key') }));
  app.use(forHono(limiter, { identify: (c: HonoContext<Env>) => c.get('user') }));
  app.use(forHono(limiter, { identify: (c) => c.get('user') }));
  app.use(forHono(limiter, { address: (c) => c.req.header('cf-connecting-ip') }));
  app.use('/b/*', forHono<Env>(limiter, { identify: (c) => c.get('user') }));
  app.use('/c/*', forHono<Env>(limiter, { identify: ({ var: { user } }) => user, cost: 2 }));
  // @ts-expect-error a variable that the application does not have
  app.use(forHono<Env>(limiter, { identify: (c) => c.get('usr') }));
  // @ts-expect-error a variable that the application does not have
  app.use(forHono<Env>(limiter, { identify: (c) => c.var.usr }));
  app.get('/', forHono(limiter, { cost: 2 }), (c) => c.text(c.get('user')));
  expectTypeOf(forHono(limiter).limiter).toEqualTypeOf<RateLimiter>();
});

test("the Koa adapter fits Koa's types", () => {
  const app = new Koa<{ user: string }>();
  app.use(forKoa(limiter));
  app.use(forKoa(limiter, { identify: (ctx: Koa.Context) => ctx.ip }));
  app.use(forKoa(limiter, { identify: (ctx) => ctx.get('x-api-key') }));
  forKoa(limiter, {
    identify: (ctx) => {
      expectTypeOf(ctx).toEqualTypeOf<KoaContext>();
      return ctx.path;
    },
  });
});

test('the web adapter fits web-standard handlers', () => {
  interface NextRequest extends Request {
    readonly nextUrl: URL;
  }
  const byKey = forWeb(limiter, { identify: (request) => request.headers.get('x-api-key') });
  const get = byKey((request: NextRequest, context: { params: Promise<{ id: string }> }) =>
    Response.json([request.nextUrl, context.params]),
  );
  expectTypeOf(get).parameters.toEqualTypeOf<[NextRequest, { params: Promise<{ id: string }> }]>();
  expectTypeOf(byKey(() => new Response())).toEqualTypeOf<
    (request: Request) => Promise<Response>
  >();

  interface Server {
    requestIP(request: Request): { address: string } | null;
  }
  const byAddress = forWeb(limiter, {
    address: (request: Request, server: Server) => server.requestIP(request)?.address,
  });
  byAddress((_, server) => {
    expectTypeOf(server).toEqualTypeOf<Server>();
    return new Response();
  });
  // @ts-expect-error who is limited has to be said
  forWeb(limiter, { cost: 1 });
  // @ts-expect-error there is no default
  forWeb(limiter);
  // @ts-expect-error one of the two
  forWeb(limiter, { identify: () => 'a', address: () => 'b' });
});

test("the Node adapter fits Node's own request", () => {
  forExpress(limiter, {
    identify: (request) => {
      expectTypeOf(request).toEqualTypeOf<IncomingMessage>();
      return request.headers.authorization;
    },
  });
});
