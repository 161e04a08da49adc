import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import Koa from 'koa';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/koa';
import { frameworkContract } from './contract.ts';
import type { Answer, Served } from './framework.ts';
import { listen } from './node-server.ts';

/** @types/koa names a type that newer versions of its dependency do not have. */
declare module 'content-disposition' {
  interface Options {
    type?: string;
    fallback?: string | boolean;
  }
}

/** Writes a response as a Koa handler does. */
function answer(ctx: Koa.Context, { status, body }: Answer): void {
  ctx.status = status;
  ctx.body = typeof body === 'string' ? body : Readable.from(body);
}

function listenerOf(app: Koa): RequestListener {
  const listener = app.callback();
  return (incoming, outgoing) => void listener(incoming, outgoing);
}

/** Koa would log errors to the console. */
function quiet(): Koa {
  const app = new Koa();
  app.silent = true;
  return app;
}

frameworkContract<Koa.Context>({
  name: 'Koa',
  header: (ctx, name) => ctx.req.headers[name] as string | undefined,
  method: (ctx) => ctx.method,
  responseOf: (ctx) => ctx.res,
  async serve([route]) {
    const app = quiet();
    for (const [limiter, options] of route!.guards) app.use(rateLimit(limiter, options));
    app.use(async (ctx) => answer(ctx, await route!.handler(ctx)));
    return listen(createServer(listenerOf(app)));
  },
});

describe('Koa', () => {
  const open: Served[] = [];
  afterEach(async () => {
    for (const served of open.splice(0)) await served.close();
  });

  const one = { store: new MemoryStore(), rate: 1, period: '1h' } as const;

  async function serve(app: Koa): Promise<string> {
    const served = await listen(createServer(listenerOf(app)));
    open.push(served);
    return served.origin;
  }

  test('shows a refusal to the middleware around it, which may change it', async () => {
    const app = quiet();
    app.use(async (ctx, next) => {
      await next();
      if (ctx.status === 429) ctx.body = { sorry: ctx.body };
    });
    app.use(rateLimit({ ...one, namespace: 'around' }));
    app.use((ctx) => void (ctx.body = 'done'));
    const origin = await serve(app);
    expect(await (await fetch(origin)).text()).toBe('done');
    const refused = await fetch(origin);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toEqual({ sorry: expect.stringContaining('quota-exceeded') });
  });

  test('joins `Vary` of a page with that of outer middleware', async () => {
    const app = quiet();
    app.use((ctx, next) => {
      ctx.vary('Origin');
      return next();
    });
    app.use(rateLimit({ ...one, namespace: 'vary' }, { negotiate: true }));
    app.use((ctx) => void (ctx.body = 'done'));
    const origin = await serve(app);
    expect((await fetch(origin)).headers.get('vary')).toBe('Origin');
    expect((await fetch(origin)).headers.get('vary')).toBe('Origin, Accept');
  });

  test("throws an error of the guard's functions for Koa's own error handling", async () => {
    const app = quiet();
    const errors: unknown[] = [];
    app.on('error', (error) => errors.push(error));
    const cause = new Error('no plan');
    app.use(
      rateLimit(
        { ...one, namespace: 'throws' },
        {
          limits: () => {
            throw cause;
          },
        },
      ),
    );
    expect((await fetch(await serve(app))).status).toBe(500);
    expect(errors).toEqual([cause]);
  });

  test("limits by the peer, whatever Koa's proxy settings", async () => {
    const app = quiet();
    app.proxy = true;
    app.use(rateLimit({ ...one, namespace: 'proxy' }));
    app.use((ctx) => void (ctx.body = 'done'));
    const origin = await serve(app);
    const from = (address: string) =>
      fetch(origin, { headers: { 'x-forwarded-for': address } }).then(({ status }) => status);
    expect([await from('192.0.2.1'), await from('192.0.2.2')]).toEqual([200, 429]);
  });

  test('exposes the limiter that it made', () => {
    expect(rateLimit(one).limiter).toBeInstanceOf(RateLimiter);
    const limiter = new RateLimiter(one);
    expect(rateLimit(limiter).limiter).toBe(limiter);
  });

  describe('an error', () => {
    const FIELDS = '"default";r=8;t=720';
    const five = (): RateLimiter =>
      new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1h' });
    const limited = (...after: Koa.Middleware[]): Koa => {
      const app = quiet();
      app.use(rateLimit(new RateLimiter({ store: new MemoryStore(), rate: 9, period: '108m' })));
      for (const each of after) app.use(each);
      return app;
    };
    const broken = new Error('broken');
    const throwing: [how: string, status: number, app: () => Koa][] = [
      ['thrown', 500, () => limited(() => Promise.reject(broken))],
      ['that is none', 500, () => limited(() => Promise.reject('text'))],
      ['of `ctx.throw`', 403, () => limited((ctx) => ctx.throw(403))],
      ['of `ctx.assert`', 401, () => limited((ctx) => ctx.assert(undefined, 401))],
      [
        'with fields of its own',
        405,
        () => limited((ctx) => ctx.throw(405, { headers: { allow: 'GET' } })),
      ],
      [
        'of middleware further out',
        500,
        () => {
          const app = quiet();
          app.use(async (_, next) => {
            await next();
            throw broken;
          });
          app.use(
            rateLimit(new RateLimiter({ store: new MemoryStore(), rate: 9, period: '108m' })),
          );
          app.use((ctx) => void (ctx.body = 'done'));
          return app;
        },
      ],
      ['no handler', 404, () => limited()],
    ];
    test.each(throwing)('keeps the fields: %s', async (_, status, make) => {
      const response = await fetch(await serve(make()));
      expect([response.status, response.headers.get('ratelimit')]).toEqual([status, FIELDS]);
      if (status === 405) expect(response.headers.get('allow')).toBe('GET');
    });

    test('reaches the application as it was thrown', async () => {
      const app = limited(() => Promise.reject(broken));
      const told: unknown[] = [];
      app.on('error', (error) => told.push(error));
      await fetch(await serve(app));
      expect(told[0]).toBe(broken);
    });

    test('keeps the fields of several limiters, joined', async () => {
      const app = limited(rateLimit(five()) as Koa.Middleware, (ctx) => ctx.throw(403));
      const { headers } = await fetch(await serve(app));
      expect(headers.get('ratelimit')).toBe(`${FIELDS}, "default";r=4;t=720`);
    });

    test('restores no field that the application has removed', async () => {
      const app = quiet();
      app.use(async (ctx, next) => {
        await next().finally(() => ctx.remove('RateLimit'));
      });
      app.use(rateLimit(five())).use((ctx) => ctx.throw(403));
      const { headers } = await fetch(await serve(app));
      expect([headers.get('ratelimit'), headers.get('ratelimit-policy')]).toEqual([
        null,
        '"default";q=5;w=3600',
      ]);
    });

    test('shows no request the fields of another', async () => {
      const app = quiet();
      app.use(rateLimit(five(), { skip: (ctx) => ctx.path === '/free' }));
      app.use(() => Promise.reject(broken));
      const origin = await serve(app);
      await fetch(origin);
      expect((await fetch(`${origin}/free`)).headers.get('ratelimit')).toBeNull();
    });
  });
});
