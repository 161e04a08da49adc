import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import Fastify from 'fastify';
import type { FastifyInstance, FastifyRequest, RouteHandlerMethod } from 'fastify';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { rateLimit, rateLimitHook } from 'distributed-rate-limiter/fastify';
import type { RouteRateLimit } from 'distributed-rate-limiter/fastify';
import { deferred } from './deferred.ts';
import { frameworkContract } from './contract.ts';
import { variantsOf } from '../../kit/random.mjs';
import { responseOn } from './framework.ts';
import type { Framework, Route } from './framework.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    rateLimit?: RouteRateLimit;
  }
}

const request: Pick<Framework<FastifyRequest>, 'header' | 'method' | 'responseOf'> = {
  header: ({ headers }, name) => headers[name] as string | undefined,
  method: ({ method }) => method,
  responseOf: ({ raw }) => responseOn(raw),
};

async function serve(app: FastifyInstance): Promise<{ origin: string; close(): Promise<void> }> {
  const origin = await app.listen({ port: 0, host: '127.0.0.1' });
  return {
    origin,
    async close() {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

/** Handlers read no bodies here, and Fastify parses no body without a type. */
function answering({ handler }: Route<FastifyRequest>): RouteHandlerMethod {
  return async (asked, reply) => {
    const { status, body } = await handler(asked);
    return reply.code(status).send(typeof body === 'string' ? body : Readable.from(body));
  };
}

function application(): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true });
  app.addContentTypeParser('*', { parseAs: 'string' }, (_, body, done) => done(null, body));
  return app;
}

for (const hook of variantsOf(['onRequest', 'preHandler', undefined] as const)) {
  frameworkContract<FastifyRequest>({
    ...request,
    name: hook === undefined ? 'Fastify, hooks of a route' : `Fastify, plugin in ${hook}`,
    async serve(routes) {
      const app = application();
      for (const route of routes) {
        if (hook === undefined) {
          const onRequest = route.guards.map(([limiter, options]) =>
            rateLimitHook(limiter, options),
          );
          app.all(route.path, { onRequest }, answering(route));
          continue;
        }
        for (const [limiter, options] of route.guards) {
          app.register(rateLimit, { limiter, hook, ...options });
        }
        app.all(route.path, answering(route));
      }
      return serve(app);
    },
  });
}

describe('Fastify', () => {
  const open: FastifyInstance[] = [];
  afterEach(async () => {
    for (const app of open.splice(0)) await app.close();
  });

  function create(options = {}): FastifyInstance {
    const app = Fastify(options);
    open.push(app);
    return app;
  }

  const memory = (rate = 1): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), rate, period: '1h' });
  const ok = async (): Promise<string> => 'done';
  const statuses = async (app: FastifyInstance, ...urls: string[]): Promise<number[]> => {
    const all: number[] = [];
    for (const url of urls) all.push((await app.inject({ method: 'GET', url })).statusCode);
    return all;
  };

  test('limits routes added before it, and requests that match none', async () => {
    const app = create();
    app.get('/before', ok);
    app.register(rateLimit, { limiter: memory(3) });
    app.get('/after', ok);
    expect(await statuses(app, '/before', '/after', '/none', '/before', '/after', '/none')).toEqual(
      [200, 200, 404, 429, 429, 429],
    );
  });

  test('joins `Vary` of a page with that of an earlier hook', async () => {
    const app = create();
    app.addHook('onRequest', async (_, reply) => void reply.header('vary', 'Origin'));
    app.register(rateLimit, { limiter: memory(), negotiate: true });
    app.get('/', ok);
    const passed = await app.inject('/');
    const refused = await app.inject('/');
    expect([passed.headers['vary'], refused.headers['vary']]).toEqual(['Origin', 'Origin, Accept']);
  });

  test('is exported as the default', async () => {
    const app = create();
    app.register(import('distributed-rate-limiter/fastify'), { limiter: memory() });
    app.get('/', ok);
    expect(await statuses(app, '/', '/')).toEqual([200, 429]);
  });

  test('limits only the instance that it is registered with, and those below', async () => {
    const app = create();
    app.get('/outside', ok);
    app.register(async (inside) => {
      inside.register(rateLimit, { limiter: memory() });
      inside.get('/inside', ok);
      inside.register(async (below) => void below.get('/below', ok));
    });
    expect(await statuses(app, '/inside', '/below', '/outside', '/outside')).toEqual([
      200, 429, 200, 200,
    ]);
  });

  test('charges a route and the HEAD that Fastify adds to it once each', async () => {
    const limiter = memory(9);
    const app = create();
    await app.register(rateLimit, { limiter, identify: () => 'all' });
    app.get('/', { config: { rateLimit: { cost: 2 } } }, ok);
    await app.inject({ method: 'GET', url: '/' });
    await app.inject({ method: 'HEAD', url: '/' });
    expect((await limiter.peek('all')).remaining).toBe(5);
  });

  describe('config.rateLimit', () => {
    test('false turns the limit off', async () => {
      const app = create();
      app.register(rateLimit, { limiter: memory() });
      app.get('/', { config: { rateLimit: false } }, ok);
      expect(await statuses(app, '/', '/')).toEqual([200, 200]);
    });

    const overrides: [what: string, own: () => RouteRateLimit, statuses: number[]][] = [
      ['a limiter', () => ({ limiter: memory(1) }), [200, 429, 429]],
      ['limits', () => ({ limits: [tokenBucket({ rate: 2, period: '1h' })] }), [200, 200, 429]],
      ['a cost', () => ({ cost: 4 }), [200, 429, 429]],
      ['skip', () => ({ skip: () => true }), [200, 200, 200]],
      ['identify', () => ({ identify: () => undefined }), [400, 400, 400]],
      ['an empty object', () => ({}), [200, 200, 200]],
      ['true', () => true, [200, 200, 200]],
    ];
    test.each(overrides)(
      '%s in `config.rateLimit` has its effect on the route',
      async (_, own, expected) => {
        const app = create();
        // Address options have no use on a route that identifies its callers itself.
        app.register(rateLimit, { limiter: memory(5), ipv6Prefix: 56 });
        app.get('/', { config: { rateLimit: own() } }, ok);
        expect(await statuses(app, '/', '/', '/')).toEqual(expected);
      },
    );

    test('limits only the routes that ask with `global: false`', async () => {
      const app = create();
      app.register(rateLimit, { limiter: memory(), global: false });
      app.get('/free', ok);
      app.get('/asks', { config: { rateLimit: true } }, ok);
      app.get('/asks-too', { config: { rateLimit: {} } }, ok);
      expect(await statuses(app, '/free', '/free', '/none', '/none')).toEqual([200, 200, 404, 404]);
      expect(await statuses(app, '/asks', '/asks', '/asks-too')).toEqual([200, 429, 429]);
    });

    test('makes one guard for a config that several routes share', async () => {
      const app = create();
      const limiter = {
        store: new MemoryStore(),
        rate: 1,
        period: '1h',
        namespace: 'own',
      } as const;
      const config = { rateLimit: { limiter } };
      const allow = vi.spyOn(RateLimiter.prototype, 'allow');
      try {
        await app.register(rateLimit, { limiter: memory() });
        app.get('/a', { config }, ok);
        app.get('/b', { config }, ok);
        await statuses(app, '/a', '/b', '/a');
        expect(new Set(allow.mock.contexts).size).toBe(1);
      } finally {
        allow.mockRestore();
      }
    });
  });

  test.each([
    ['a misspelt option', { limiter: memory(), skips: () => true }, '`skips`'],
    ['a missing limiter', {}, '`RateLimiter options`'],
    ['an unknown hook', { limiter: memory(), hook: 'onSend' }, '`hook`'],
    ['a non-boolean `global`', { limiter: memory(), global: 'yes' }, '`global`'],
  ])('refuses to start with %s', async (_, options, message) => {
    const app = create();
    app.register(rateLimit, options as never);
    await expect(app.ready()).rejects.toThrow(message);
  });

  test.each([
    ['a misspelt option', { costs: 1 }, '`costs`'],
    ['a number', 5, '`config.rateLimit`'],
    ['null', null, '`config.rateLimit`'],
  ])('refuses a route whose config is %s', async (_, own, message) => {
    const app = create();
    await app.register(rateLimit, { limiter: memory() });
    expect(() => app.get('/', { config: { rateLimit: own as never } }, ok)).toThrow(message);
  });

  test.each(['onRequest', 'preHandler'] as const)(
    'refuses to start with such a route added before it or below it, as %s',
    async (hook) => {
      const wrong = { config: { rateLimit: { costs: 1 } as never } };
      for (const add of [
        (app: FastifyInstance) => app.get('/', wrong, ok),
        (app: FastifyInstance) => app.register(async (below) => void below.get('/', wrong, ok)),
      ]) {
        const [before, after] = [create(), create()];
        void add(before);
        before.register(rateLimit, { limiter: memory(), hook });
        await expect(before.ready()).rejects.toThrow('`costs`');
        after.register(rateLimit, { limiter: memory(), hook });
        const added = (async () => {
          void add(after);
          await after.ready();
        })();
        await expect(added).rejects.toThrow('`costs`');
      }
    },
  );

  test.each(['onRequest', 'preHandler'] as const)(
    'limits child instances that were registered before it: %s',
    async (hook) => {
      const app = create();
      app.register(async (below) => void below.get('/below', ok));
      app.register(rateLimit, { limiter: memory(), hook });
      expect(await statuses(app, '/below', '/below')).toEqual([200, 429]);
    },
  );

  describe("hook: 'preHandler'", () => {
    type Asking = FastifyRequest & { user?: string };
    const authenticate = async (asking: Asking): Promise<void> => {
      asking.user = 'anna';
    };
    const options = (limiter: RateLimiter) =>
      ({ limiter, hook: 'preHandler', identify: (asking: Asking) => asking.user }) as const;

    test.each<[string, (app: FastifyInstance, limiter: RateLimiter) => unknown]>([
      [
        'hooks of a route added before the plugin',
        (app, limiter) => {
          app.get('/', { preHandler: [authenticate] }, ok);
          app.register(rateLimit, options(limiter));
        },
      ],
      [
        'hooks of a route added after the plugin',
        (app, limiter) => {
          app.register(rateLimit, options(limiter));
          app.get('/', { preHandler: authenticate }, ok);
        },
      ],
      [
        'hooks of a route added when the plugin was awaited',
        async (app, limiter) => {
          await app.register(rateLimit, options(limiter));
          app.get('/', { preHandler: [authenticate] }, ok);
        },
      ],
      [
        'hooks added after the plugin',
        async (app, limiter) => {
          await app.register(rateLimit, options(limiter));
          app.addHook('preHandler', authenticate);
          app.get('/', ok);
        },
      ],
      [
        'hooks of an instance below',
        (app, limiter) => {
          app.register(rateLimit, options(limiter));
          app.register(async (below) => {
            below.get('/', ok);
            below.addHook('preHandler', authenticate);
          });
        },
      ],
      [
        'hooks of an instance below registered before the plugin',
        (app, limiter) => {
          app.register(async (below) => {
            below.addHook('preHandler', authenticate);
            below.get('/', ok);
          });
          app.register(rateLimit, options(limiter));
        },
      ],
    ])('runs after %s, for HEAD too', async (_, build) => {
      const limiter = memory(2);
      const app = create();
      await build(app, limiter);
      expect((await app.inject({ method: 'GET', url: '/' })).statusCode).toBe(200);
      expect((await app.inject({ method: 'HEAD', url: '/' })).statusCode).toBe(200);
      expect((await app.inject({ method: 'GET', url: '/' })).statusCode).toBe(429);
      expect((await limiter.peek('anna')).remaining).toBe(0);
    });

    test('leaves hook lists shared by several routes unchanged', async () => {
      const app = create();
      const preHandler = [authenticate];
      app.register(rateLimit, options(memory(3)));
      app.get('/a', { preHandler }, ok);
      app.get('/b', { preHandler }, ok);
      expect(await statuses(app, '/a', '/b', '/a', '/b')).toEqual([200, 200, 200, 429]);
      expect(preHandler).toEqual([authenticate]);
    });

    test('charges once when a handler calls for the 404', async () => {
      const limiter = memory(9);
      const app = create();
      app.register(rateLimit, { limiter, hook: 'preHandler', identify: () => 'all' });
      app.get('/', (_, reply) => reply.callNotFound());
      expect(await statuses(app, '/', '/none')).toEqual([404, 404]);
      expect((await limiter.peek('all')).remaining).toBe(7);
    });

    test('limits a 404 handler with hooks of its own', async () => {
      const app = create();
      app.setNotFoundHandler({ preHandler: (_, __, done) => done() }, (_, reply) =>
        reply.code(404).send('none'),
      );
      app.register(rateLimit, { limiter: memory(), hook: 'preHandler' });
      expect(await statuses(app, '/none', '/none')).toEqual([404, 429]);
    });
  });

  test.each([
    ['onRequest', ['limited', 'authenticated', 'parsed']],
    ['preHandler', ['authenticated', 'parsed', 'limited']],
  ] as const)('decides in %s', async (hook, order) => {
    const seen: string[] = [];
    const app = create();
    app.register(rateLimit, {
      limiter: memory(),
      hook,
      identify: () => {
        seen.push('limited');
        return 'all';
      },
    });
    app.register(async (below) => {
      below.addHook('onRequest', async () => void seen.push('authenticated'));
      below.addHook('preValidation', async () => void seen.push('parsed'));
      below.post('/', ok);
    });
    await app.inject({ method: 'POST', url: '/', payload: { a: 1 } });
    expect(seen).toEqual(order);
  });

  test('closes the limiters it made, and not those passed to it', async () => {
    const close = vi.spyOn(RateLimiter.prototype, 'close');
    try {
      const app = create();
      const given = memory();
      const given2 = memory();
      const options = { store: new MemoryStore(), rate: 1, period: '1h' } as const;
      await app.register(rateLimit, { limiter: options });
      await app.register(rateLimit, { limiter: given, global: false });
      app.get('/a', { config: { rateLimit: { limiter: given2 } } }, ok);
      await app.close();
      expect(close).toHaveBeenCalledTimes(1);
      expect((await given.allow('x')).allowed && (await given2.allow('x')).allowed).toBe(true);
    } finally {
      close.mockRestore();
    }
  });

  test('shows a refusal to hooks and loggers like any other reply', async () => {
    const app = create();
    const seen: unknown[] = [];
    app.addHook('onSend', async (_, reply, payload) => {
      seen.push(reply.statusCode, typeof payload);
    });
    app.addHook('onResponse', async (_, reply) => void seen.push(reply.statusCode));
    app.register(rateLimit, { limiter: memory(), identify: () => undefined });
    app.get('/', ok);
    const { headers } = await app.inject('/');
    expect(seen).toEqual([400, 'string', 400]);
    expect(headers['content-type']).toBe('application/problem+json');
  });

  test('hands what `cost` throws to the error handler', async () => {
    const app = create();
    app.setErrorHandler((error: Error, _, reply) => reply.code(503).send(error.message));
    app.register(rateLimit, {
      limiter: memory(),
      cost: () => {
        throw new Error('no cost');
      },
    });
    app.get('/', ok);
    expect(await app.inject('/')).toMatchObject({ statusCode: 503, body: 'no cost' });
  });

  test('never lets a request pass because `undefined` was thrown', async () => {
    const app = create();
    app.register(rateLimit, { limiter: memory(), cost: () => Promise.reject() });
    app.get('/', ok);
    expect(await statuses(app, '/')).toEqual([500]);
  });

  test('keeps the fields on every answer to an error', async () => {
    const app = create({ bodyLimit: 10 });
    await app.register(rateLimit, { limiter: memory(100) });
    app.get('/throws', async () => {
      throw Object.assign(new Error('broken'), { statusCode: 409, headers: { 'x-own': '1' } });
    });
    app.get('/missing', (_, reply) => reply.callNotFound());
    app.post('/', ok);
    app.register(
      async (below) => {
        below.setErrorHandler((_, __, reply) => reply.code(418).send('own'));
        below.setNotFoundHandler((_, reply) => reply.code(410).send('own'));
        below.get('/own', async () => {
          throw new Error('broken');
        });
        below.get('/gone', (_, reply) => reply.callNotFound());
      },
      { prefix: '/below' },
    );
    const json = { 'content-type': 'application/json' };
    const asked = [
      [409, app.inject('/throws')],
      [404, app.inject('/missing')],
      [404, app.inject('/none')],
      [418, app.inject('/below/own')],
      [410, app.inject('/below/gone')],
      [400, app.inject({ method: 'POST', url: '/', headers: json, payload: '{' })],
      [413, app.inject({ method: 'POST', url: '/', headers: json, payload: '"0123456789"' })],
      [
        415,
        app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'a/b' }, payload: 'x' }),
      ],
    ] as const;
    for (const [status, answer] of asked) {
      const { statusCode, headers } = await answer;
      expect([statusCode, headers['ratelimit']]).toEqual([
        status,
        expect.stringMatching(/^"default";r=9\d;t=\d+$/),
      ]);
    }
  });

  test('frees a place when a handler has taken over the response', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      limits: [concurrency({ max: 1, ttl: '30s' })],
    });
    const app = create();
    const arrived = deferred<void>();
    app.register(rateLimit, { limiter, identify: () => 'all' });
    app.get('/', (_, reply) => {
      reply.hijack();
      arrived.resolve();
    });
    const socket = connect(Number(new URL((await serve(app)).origin).port), '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await arrived.promise;
    expect((await limiter.peek('all')).remaining).toBe(0);
    socket.destroy();
    await once(socket, 'close');
    await eventually(async () => expect((await limiter.peek('all')).remaining).toBe(1));
  });
});
