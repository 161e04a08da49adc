import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { Hono } from 'hono';
import type { Context } from 'hono';
import { cors } from 'hono/cors';
import { etag } from 'hono/etag';
import { HTTPException } from 'hono/http-exception';
import { timeout } from 'hono/timeout';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/hono';
import { frameworkContract } from './contract.ts';
import { deferred } from './deferred.ts';
import type { Served } from './framework.ts';
import { variantsOf } from '../../kit/random.mjs';
import { listen } from './node-server.ts';
import { listenerOf, toResponse } from './web-server.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

/** Without Node's bindings Hono behaves as on other runtimes: it has a Request and no socket. */
for (const [name, fetchOf, bindings] of variantsOf([
  [
    'Hono on Node',
    (app: Hono) => app.fetch,
    { responseOf: (c: Context) => (c.env as { outgoing: ServerResponse }).outgoing },
  ],
  ['Hono on another runtime', (app: Hono) => (request: Request) => app.fetch(request), {}],
] as const)) {
  frameworkContract<Context>({
    name,
    header: (c, field) => c.req.header(field),
    method: (c) => c.req.method,
    ...bindings,
    async serve(routes, errors) {
      const app = new Hono();
      for (const { path, guards, handler } of routes) {
        for (const [limiter, options] of guards) app.use(path, rateLimit(limiter, options));
        app.all(path, async (c) => toResponse(await handler(c)));
      }
      // Hono's own handler would log the error to the console.
      if (errors !== 'as the error says') app.onError((_, c) => c.text('broken', 500));
      return listen(createServer(listenerOf(fetchOf(app))));
    },
  });
}

describe('Hono', () => {
  const open: Served[] = [];
  afterEach(async () => {
    for (const served of open.splice(0)) await served.close();
  });

  async function serve(app: Hono): Promise<string> {
    const served = await listen(createServer(listenerOf(app.fetch)));
    open.push(served);
    return served.origin;
  }

  const one = { rate: 1, period: '1h' } as const;
  const memory = (options: { rate: number; period: '1h' } = one): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), ...options });
  const statusOf = async (url: string): Promise<number> => (await fetch(url)).status;

  test('limits the routes that use it', async () => {
    const app = new Hono();
    app.use('/api/*', rateLimit(memory()));
    app.get('/api/a', (c) => c.text('a')).get('/free', (c) => c.text('free'));
    const origin = await serve(app);
    expect(await statusOf(`${origin}/api/a`)).toBe(200);
    expect(await statusOf(`${origin}/api/b`)).toBe(429);
    expect([await statusOf(`${origin}/free`), await statusOf(`${origin}/free`)]).toEqual([
      200, 200,
    ]);
  });

  test('keeps the fields and cookies of handlers and of other middleware', async () => {
    const app = new Hono();
    app.use(async (c, next) => {
      c.header('x-request-id', '7');
      await next();
    });
    app.use(rateLimit(memory()));
    app.get('/', (c) => {
      c.header('set-cookie', 'a=1');
      c.header('set-cookie', 'b=2', { append: true });
      return c.text('done', 201);
    });
    const origin = await serve(app);
    const passed = await fetch(origin);
    expect([passed.status, passed.headers.get('x-request-id')]).toEqual([201, '7']);
    expect(passed.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    const refused = await fetch(origin);
    expect([refused.status, refused.headers.get('x-request-id')]).toEqual([429, '7']);
  });

  test('joins `Vary` of a page with that of outer middleware', async () => {
    const app = new Hono();
    app.use(cors({ origin: 'http://localhost' }));
    app.use(rateLimit(memory(), { negotiate: true }));
    app.get('/', (c) => c.text('done'));
    const origin = await serve(app);
    expect((await fetch(origin)).headers.get('vary')).toBe('Origin');
    const refused = await fetch(origin);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('vary')?.split(', ').toSorted()).toEqual(['Accept', 'Origin']);
  });

  test('adds fields to a response with immutable headers', async () => {
    const app = new Hono();
    const two = { rate: 2, period: '1h' } as const;
    app.use(rateLimit(memory(two)), rateLimit(memory(two)));
    app.get('/', () => Response.redirect('http://localhost/elsewhere', 302));
    const { status, headers } = await fetch(await serve(app), { redirect: 'manual' });
    expect([status, headers.get('location')]).toEqual([302, 'http://localhost/elsewhere']);
    expect(headers.get('ratelimit-policy')).toBe('"default";q=2;w=3600, "default";q=2;w=3600');
  });

  test('frees a place when other middleware replaces the response', async () => {
    const app = new Hono();
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      limits: [concurrency({ max: 1, ttl: '30s' })],
    });
    app.use(etag(), rateLimit(limiter, { identify: () => 'all' }));
    app.get('/', (c) => c.text('done'));
    const origin = await serve(app);
    const tag = (await fetch(origin)).headers.get('etag')!;
    await eventually(async () => {
      const { status } = await fetch(origin, { headers: { 'if-none-match': tag } });
      expect(status).toBe(304);
    });
    await eventually(async () => expect((await limiter.peek('all')).remaining).toBe(1));
  });

  describe('the option `address`', () => {
    type Bindings = { ip?: string };
    const address = (c: Context<{ Bindings: Bindings }>): string | undefined => c.env.ip;
    const ask = async (app: Hono<{ Bindings: Bindings }>, ip?: string): Promise<number> =>
      (await app.request('/', {}, ip === undefined ? {} : { ip })).status;

    test.each([
      ['a /64 of IPv6', ['2001:db8::1', '2001:db8::2', '2001:db8::ffff:3']],
      ['IPv4 and its mapped form', ['203.0.113.7', '::ffff:203.0.113.7', '::ffff:cb00:7107']],
    ])('identifies one client by %s', async (_, addresses) => {
      const app = new Hono<{ Bindings: Bindings }>();
      app.use(rateLimit(memory(), { address }));
      app.get('/', (c) => c.text('x'));
      const seen: number[] = [];
      for (const ip of addresses) seen.push(await ask(app, ip));
      expect(seen).toEqual([200, 429, 429]);
      expect(await ask(app, '198.51.100.1')).toBe(200);
    });

    test('believes only trusted proxies', async () => {
      const app = new Hono<{ Bindings: Bindings }>();
      app.use(rateLimit(memory(), { address, trustedProxies: ['10.0.0.0/8'], ipv6Prefix: 48 }));
      app.get('/', (c) => c.text('x'));
      const from = async (ip: string, client: string): Promise<number> =>
        (await app.request('/', { headers: { 'x-forwarded-for': client } }, { ip })).status;
      expect(await from('10.0.0.1', '2001:db8:0:1::1')).toBe(200);
      expect(await from('10.0.0.2', '2001:db8:0:2::1')).toBe(429);
      expect(await from('192.0.2.1', '2001:db8:5::1')).toBe(200);
      expect(await from('192.0.2.1', '2001:db8:6::1')).toBe(429);
    });

    test('overrides the socket under @hono/node-server', async () => {
      const app = new Hono();
      app.use(rateLimit(memory(), { address: (c) => c.req.header('cf-connecting-ip') }));
      app.get('/', (c) => c.text('x'));
      const origin = await serve(app);
      const from = async (ip: string): Promise<number> =>
        (await fetch(origin, { headers: { 'cf-connecting-ip': ip } })).status;
      expect([await from('192.0.2.1'), await from('192.0.2.2')]).toEqual([200, 200]);
    });

    test('refuses an invalid address, and `address` beside `identify`', async () => {
      expect(() => rateLimit(memory(), { address: '192.0.2.1' as never })).toThrow('`address`');
      expect(() => rateLimit(memory(), { address: () => '', identify: () => 'a' })).toThrow(
        '`address` must be left out',
      );
      const app = new Hono();
      const errors: Error[] = [];
      app.onError((error, c) => {
        errors.push(error);
        return c.text('broken', 500);
      });
      app.use(rateLimit(memory(), { address: () => ({ address: '192.0.2.1' }) as never }));
      expect((await app.request('/')).status).toBe(500);
      expect(errors[0]!.message).toContain('`address` must be a function that returns');
    });

    test('does not warn when it reads a forwarding header itself, and warns otherwise', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      try {
        const app = new Hono();
        app.use(
          rateLimit(memory(), {
            address: (c) => c.req.header('x-forwarded-for')?.split(',').at(-1)?.trim(),
          }),
        );
        const headers = { 'x-forwarded-for': '198.51.100.7, 2001:DB8::7' };
        await app.request('/', { headers });
        expect(warn.mock.calls).toEqual([]);
        const other = new Hono();
        other.use(rateLimit(memory(), { address: () => '10.0.0.1' }));
        await other.request('/', { headers });
        expect(warn.mock.calls).toEqual([
          [expect.any(String), expect.objectContaining({ code: 'DRL_UNTRUSTED_FORWARDED' })],
        ]);
      } finally {
        warn.mockRestore();
      }
    });
  });

  test('answers 400 without an address, and warns once that `address` is missing', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      const app = new Hono();
      app.use(rateLimit(memory()));
      app.get('/', (c) => c.text('done'));
      expect((await app.request('/')).status).toBe(400);
      expect((await app.request('/', {}, { KV: {} })).status).toBe(400);
      expect(warn.mock.calls).toEqual([
        [
          expect.stringContaining('Pass `address: (c) => getConnInfo(c).remote.address`'),
          { type: 'RateLimiterWarning', code: 'DRL_NO_ADDRESS' },
        ],
      ]);
    } finally {
      warn.mockRestore();
    }
  });

  test('limits by the peer under @hono/node-server', async () => {
    const limiter = memory();
    const app = new Hono();
    app.use(rateLimit(limiter));
    app.get('/', (c) => c.text('done'));
    const origin = await serve(app);
    expect([await statusOf(origin), await statusOf(origin)]).toEqual([200, 429]);
    expect((await limiter.peek('127.0.0.1')).remaining).toBe(0);
  });

  describe.each([
    ['on Node', (app: Hono) => app.fetch],
    ['on another runtime', (app: Hono) => (request: Request) => app.fetch(request)],
  ] as const)('an error %s', (where, fetchOf) => {
    const FIELDS = '"default";r=4;t=720';
    const five = (): RateLimiter => memory({ rate: 5, period: '1h' });
    async function answerOf(app: Hono): Promise<Response> {
      const served = await listen(createServer(listenerOf(fetchOf(app))));
      open.push(served);
      return fetch(served.origin);
    }
    const limited = (): Hono => new Hono().use(rateLimit(five(), { identify: () => 'all' }));
    const failing: [what: string, status: number, app: () => Hono][] = [
      [
        'when `onError` answers',
        500,
        () => {
          const app = limited().get('/', () => {
            throw new Error('broken');
          });
          app.onError((_, c) => c.text('broken', 500));
          return app;
        },
      ],
      [
        'when `onError` returns a response of its own',
        500,
        () => {
          const app = limited().get('/', () => {
            throw new Error('broken');
          });
          app.onError(() => new Response('broken', { status: 500 }));
          return app;
        },
      ],
      [
        'when it is an HTTPException',
        403,
        () =>
          limited().get('/', () => {
            throw new HTTPException(403);
          }),
      ],
      [
        'when it is an HTTPException with a response',
        402,
        () =>
          limited().get('/', () => {
            throw new HTTPException(402, { res: Response.json({ pay: true }, { status: 402 }) });
          }),
      ],
      ['when no route matches', 404, limited],
      [
        'when `notFound` of the application answers',
        404,
        () => {
          const app = limited();
          app.notFound(() => new Response('nowhere', { status: 404 }));
          return app;
        },
      ],
      [
        'when outer middleware answers',
        418,
        () => {
          const app = new Hono();
          app.use(async (_, next) => {
            await next();
            throw new HTTPException(418);
          });
          return app.route(
            '/',
            limited().get('/', (c) => c.text('done')),
          );
        },
      ],
      [
        'when an outer timeout answers before the handler',
        504,
        () =>
          new Hono().use(timeout(30)).route(
            '/',
            limited().get('/', () => deferred<Response>().promise),
          ),
      ],
    ];
    test.each(failing)('keeps the fields %s', async (_, status, make) => {
      const response = await answerOf(make());
      expect([response.status, response.headers.get('ratelimit')]).toEqual([status, FIELDS]);
    });

    test.runIf(where === 'on Node')(
      'keeps the fields when text instead of an error was thrown',
      async () => {
        const response = await answerOf(limited().get('/', () => Promise.reject('text')));
        expect([response.status, response.headers.get('ratelimit')]).toEqual([500, FIELDS]);
      },
    );
  });

  test('joins the fields of an upstream whose response is passed on', async () => {
    const upstream = await listen(
      createServer((_, response) => response.setHeader('RateLimit', '"up";r=1').end()),
    );
    open.push(upstream);
    const app = new Hono().use(rateLimit(memory())).get('/', () => fetch(upstream.origin));
    const { headers } = await fetch(await serve(app));
    expect(headers.get('ratelimit')).toBe('"default";r=0;t=3600, "up";r=1');
  });

  test('frees a place when middleware finishes no response', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      limits: [concurrency({ max: 1, ttl: '30s' })],
    });
    const app = new Hono();
    app.use(rateLimit(limiter, { identify: () => 'all' }));
    app.use(async () => {});
    app.onError((_, c) => c.text('broken', 500));
    await Promise.resolve(app.request('/')).catch(() => {});
    expect((await limiter.peek('all')).remaining).toBe(1);
  });
});
