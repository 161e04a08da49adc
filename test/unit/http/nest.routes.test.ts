import {
  Catch,
  Controller,
  Get,
  HttpException,
  Inject,
  Injectable,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import type { ArgumentsHost, ModuleMetadata, Type } from '@nestjs/common';
import { APP_FILTER, HttpAdapterHost } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import {
  RateLimit,
  RateLimitException,
  RateLimitGuard,
  RateLimitModule,
  SkipRateLimit,
} from 'distributed-rate-limiter/nest';
import type {
  GuardOptions,
  NestRequest,
  RateLimitLimiterOptions,
} from 'distributed-rate-limiter/nest';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { Served } from './framework.ts';
import { create, listen } from './nest-app.ts';
import { decorate } from './nest-decorate.ts';

const store = new MemoryStore({ clock: new ManualClock() });
let limiters = 0;

/** A limiter with its own state, whose only limit is called `name`. */
const named = (name: string, rate = 100): RateLimiter =>
  new RateLimiter({
    store,
    namespace: `n${(limiters += 1)}`,
    limits: [tokenBucket({ name, rate, period: '1m' })],
  });

const anna = (): string => 'anna';

const open: Served[] = [];
afterAll(async () => {
  await Promise.all(open.map((served) => served.close()));
});

async function serve(
  metadata: ModuleMetadata,
  adapter: AbstractHttpAdapter = new ExpressAdapter(),
): Promise<(path?: string) => Promise<Response>> {
  const served = await listen(await create(metadata, adapter));
  open.push(served);
  return (path = '/') => fetch(served.origin + path);
}

/** A controller of `GET /`, with these decorators on the class and on its handler. */
function controller(
  own: readonly ClassDecorator[] = [],
  handlers: readonly MethodDecorator[] = [],
): Type<unknown> {
  class Routes {
    get(): string {
      return 'done';
    }
  }
  return decorate(Routes, [Controller(), ...own], { get: [Get(), ...handlers] });
}

const policiesOf = (response: Response): string[] =>
  [...(response.headers.get('ratelimit-policy') ?? '').matchAll(/"(\w+)"/g)].map(
    ([, name]) => name!,
  );

describe.each([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter()],
])('a page on %s', (_, platform) => {
  test('carries the fields of earlier hooks, with `Vary` joined, and passes all filters', async () => {
    const caught: unknown[] = [];
    class Filter {
      catch(exception: HttpException, host: ArgumentsHost): void {
        caught.push(exception);
        const { httpAdapter } = filterHost;
        httpAdapter.reply(host.switchToHttp().getResponse(), 'filtered', exception.getStatus());
      }
    }
    Catch()(Filter);
    const app = await create(
      {
        imports: [
          RateLimitModule.forRoot({
            limiter: named('module', 1),
            identify: anna,
            negotiate: true,
          }),
        ],
        controllers: [controller()],
        providers: [{ provide: APP_FILTER, useClass: Filter }],
      },
      platform(),
    );
    const filterHost = app.get(HttpAdapterHost);
    app.enableCors({ origin: ['http://localhost'] });
    const served = await listen(app);
    open.push(served);
    const ask = (accept: string): Promise<Response> =>
      fetch(served.origin, { headers: { accept, origin: 'http://localhost' } });
    expect((await ask('text/html')).headers.get('vary')).toBe('Origin');
    const page = await ask('text/html');
    expect([page.status, page.headers.get('vary')]).toEqual([429, 'Origin, Accept']);
    expect(page.headers.get('access-control-allow-origin')).toBe('http://localhost');
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(await page.text()).toMatch(/^<!doctype html>/);
    expect(caught).toEqual([]);
    expect(await (await ask('*/*')).text()).toBe('filtered');
    expect(caught).toHaveLength(1);
  });

  test('has the fields of a limiter that let the request pass before', async () => {
    const several = [
      RateLimit({ limiter: named('first', 9) }),
      RateLimit({ limiter: named('second', 1) }),
    ];
    const app = await create(
      {
        imports: [
          RateLimitModule.forRoot({ limiter: named('m'), identify: anna, negotiate: true }),
        ],
        controllers: [controller([], several)],
      },
      platform(),
    );
    const served = await listen(app);
    open.push(served);
    const ask = (): Promise<Response> => fetch(served.origin, { headers: { accept: 'text/html' } });
    await ask();
    const page = await ask();
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(policiesOf(page)).toEqual(['first', 'second']);
  });
});

describe('the limiters that decide about a route', () => {
  const to = (name: string): RateLimitLimiterOptions => ({ limiter: named(name) });
  const rows: [
    sentence: string,
    controller: ClassDecorator[],
    handler: MethodDecorator[],
    expected: string[],
  ][] = [
    ['those of the module by default', [], [], ['module']],
    ["those of the controller in place of the module's", [RateLimit(to('outer'))], [], ['outer']],
    ["those of the handler in place of the module's", [], [RateLimit(to('inner'))], ['inner']],
    [
      "those of the handler in place of the controller's",
      [RateLimit(to('outer'))],
      [RateLimit(to('inner'))],
      ['inner'],
    ],
    [
      'several of a handler, in order from the top',
      [],
      [RateLimit(to('first')), RateLimit(to('second'))],
      ['first', 'second'],
    ],
    [
      'several of a controller, in order from the top',
      [RateLimit(to('first')), RateLimit(to('second'))],
      [],
      ['first', 'second'],
    ],
    [
      "the handler's beside the module's, for an empty decorator",
      [],
      [RateLimit(to('inner')), RateLimit()],
      ['inner', 'module'],
    ],
    [
      "all of the controller's, changed by a handler without a limiter",
      [RateLimit(to('first')), RateLimit(to('second'))],
      [RateLimit({ cost: 2 })],
      ['first', 'second'],
    ],
    ['none when the handler is skipped', [RateLimit(to('outer'))], [SkipRateLimit()], []],
    ['none when the controller is skipped', [SkipRateLimit()], [], []],
    [
      'those of the module when a handler of a skipped controller asks for them',
      [SkipRateLimit()],
      [RateLimit()],
      ['module'],
    ],
    [
      'those of the handler in a skipped controller',
      [SkipRateLimit()],
      [RateLimit(to('inner'))],
      ['inner'],
    ],
  ];
  test.each(rows)('are %s', async (_, own, handlers, expected) => {
    const limiter = named('module');
    const call = await serve({
      imports: [RateLimitModule.forRoot({ limiter, identify: anna })],
      controllers: [controller(own, handlers)],
    });
    const response = await call();
    expect([response.status, policiesOf(response)]).toEqual([200, expected]);
  });

  describe('@SkipRateLimit with names', () => {
    const plan = (...names: string[]): RateLimiter['limits'] =>
      names.map((name, i) => tokenBucket({ name, rate: 100 + i, period: '1m' }));
    const three = (): RateLimiter =>
      new RateLimiter({
        store,
        namespace: `n${(limiters += 1)}`,
        limits: plan('short', 'medium', 'long'),
      });
    const other = (): RateLimiter => named('other');
    const byPlan = plan('short', 'medium');

    test.each<
      [what: string, own: ClassDecorator[], handlers: MethodDecorator[], expected: string[]]
    >([
      ['the named limit of a handler', [], [SkipRateLimit('short')], ['medium', 'long']],
      ['several limits', [], [SkipRateLimit('short', 'long')], ['medium']],
      ['all limits by their names', [], [SkipRateLimit('short', 'medium', 'long')], []],
      ['the named limit of a controller', [SkipRateLimit('long')], [], ['short', 'medium']],
      ['both of two decorators', [], [SkipRateLimit('short'), SkipRateLimit('long')], ['medium']],
      [
        'all when one of two decorators has no name',
        [],
        [SkipRateLimit('short'), SkipRateLimit()],
        [],
      ],
      [
        'the named limits of a controller and of its handler',
        [SkipRateLimit('short')],
        [SkipRateLimit('medium')],
        ['long'],
      ],
      [
        'the named limit of a controller when a handler changes other options',
        [SkipRateLimit('short')],
        [RateLimit({ cost: 2 })],
        ['medium', 'long'],
      ],
      [
        "no limit of a limiter that replaces the module's",
        [SkipRateLimit('short')],
        [RateLimit({ limiter: other() })],
        ['other'],
      ],
      [
        'the named limit of a plan that depends on the request',
        [RateLimit({ limits: () => byPlan })],
        [SkipRateLimit('short')],
        ['medium'],
      ],
      [
        'a request whose plan has no limit left',
        [RateLimit({ limits: async () => plan('short') })],
        [SkipRateLimit('short')],
        [],
      ],
    ])('skips %s', async (_, own, handlers, expected) => {
      const call = await serve({
        imports: [RateLimitModule.forRoot({ limiter: three(), identify: anna })],
        controllers: [controller(own, handlers)],
      });
      for (let i = 0; i < 2; i++) {
        const response = await call();
        expect([response.status, policiesOf(response)]).toEqual([200, expected]);
      }
    });

    test('answers 500 when no limit of the route has the name', async () => {
      const call = await serve({
        imports: [RateLimitModule.forRoot({ limiter: three(), identify: anna })],
        controllers: [controller([], [SkipRateLimit('shrot')])],
      });
      expect((await call()).status).toBe(500);
    });
  });

  test('are those of the parent class, until a controller has its own', async () => {
    class Parent {
      get(): string {
        return 'done';
      }
    }
    class Heir extends Parent {}
    class Other extends Parent {}
    decorate(Parent, [Controller('parent'), RateLimit({ limiter: named('parent') })], {
      get: [Get()],
    });
    decorate(Heir, [Controller('heir')]);
    decorate(Other, [Controller('other'), RateLimit({ limiter: named('other') })]);
    const call = await serve({
      imports: [RateLimitModule.forRoot({ limiter: named('module'), identify: anna })],
      controllers: [Parent, Heir, Other],
    });
    for (const [path, expected] of [
      ['/parent', 'parent'],
      ['/heir', 'parent'],
      ['/other', 'other'],
    ] as const) {
      expect(policiesOf(await call(path))).toEqual([expected]);
    }
  });
});

describe('the options that a rule inherits', () => {
  const rows: [
    sentence: string,
    module: GuardOptions<NestRequest>,
    handler: GuardOptions<NestRequest>,
    left: Record<string, number>,
  ][] = [
    ['all when it has no options', { cost: 3, identify: anna }, {}, { anna: 7 }],
    ['those that it does not set', { cost: 3, identify: anna }, { cost: 4 }, { anna: 6 }],
    [
      'none of those that it sets',
      { identify: anna },
      { identify: () => 'ben' },
      { anna: 10, ben: 9 },
    ],
    [
      'those that it leaves undefined',
      { cost: 3, identify: anna },
      { cost: undefined } as object,
      { anna: 7 },
    ],
    [
      'no address options when it has its own `identify`',
      { ipv6Prefix: 56 },
      { identify: anna },
      { anna: 9 },
    ],
    [
      'no `identify` when it has address options',
      { identify: anna },
      { ipv6Prefix: 56 },
      { anna: 10, '127.0.0.1': 9 },
    ],
  ];
  test.each(rows)('are %s', async (_, outer, inner, left) => {
    const limiter = named('one', 10);
    const call = await serve({
      imports: [RateLimitModule.forRoot({ limiter, ...outer })],
      controllers: [controller([], [RateLimit(inner)])],
    });
    expect((await call()).status).toBe(200);
    for (const [identity, remaining] of Object.entries(left)) {
      expect([identity, (await limiter.peek(identity)).remaining]).toEqual([identity, remaining]);
    }
  });

  test('include neither cost nor limits for another limiter, whose units differ', async () => {
    const limits = [tokenBucket({ name: 'plan', rate: 1_000, period: '1m' })];
    const inner = named('inner', 10);
    const call = await serve({
      imports: [
        RateLimitModule.forRoot({ limiter: named('module'), identify: anna, cost: 50, limits }),
      ],
      controllers: [controller([], [RateLimit({ limiter: inner })])],
    });
    const response = await call();
    expect([response.status, policiesOf(response)]).toEqual([200, ['inner']]);
    expect((await inner.peek('anna')).remaining).toBe(9);
  });
});

describe('the place where the guard is bound', () => {
  class Free {
    get(): string {
      return 'done';
    }
    guarded(): string {
      return 'done';
    }
  }
  decorate(Free, [Controller()], {
    get: [Get('free')],
    guarded: [Get('guarded'), UseGuards(RateLimitGuard)],
  });
  /** The guard needs the module wherever it is bound. */
  const inner = (): Type<unknown> => {
    class Inner {}
    return Inner;
  };

  test('is the only one that limits, with `global: false`', async () => {
    const options = { limiter: named('module', 1), identify: anna, global: false };
    const call = await serve({
      imports: [RateLimitModule.forRoot(options), { module: inner(), controllers: [Free] }],
    });
    const statuses = [];
    for (const path of ['/free', '/free', '/guarded', '/guarded']) {
      statuses.push((await call(path)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 429]);
  });

  test('decides once when it is bound twice', async () => {
    const limiter = named('module', 10);
    const call = await serve({
      imports: [RateLimitModule.forRoot({ limiter, identify: anna })],
      controllers: [Free],
    });
    const response = await call('/guarded');
    expect([response.status, policiesOf(response)]).toEqual([200, ['module']]);
    expect((await limiter.peek('anna')).remaining).toBe(9);
  });
});

test('limits by the address of the socket by default', async () => {
  const limiter = named('module', 1);
  for (const adapter of [new ExpressAdapter(), new FastifyAdapter()]) {
    const imports = [RateLimitModule.forRoot({ limiter })];
    const call = await serve({ imports, controllers: [controller()] }, adapter);
    await call();
    expect((await call()).status).toBe(429);
  }
  expect((await limiter.peek('127.0.0.1')).remaining).toBe(0);
});

describe('forRootAsync', () => {
  test('injects other providers into its options, and offers its limiter to them', async () => {
    const PLAN = Symbol('plan');
    class Plans {}
    class Routes {
      readonly limiter: RateLimiter;
      constructor(limiter: RateLimiter) {
        this.limiter = limiter;
      }
      get(): Promise<unknown> {
        return this.limiter.peek('anna');
      }
    }
    decorate(Routes, [Controller()], { get: [Get()] });
    Inject(RateLimiter)(Routes, undefined, 0);
    const call = await serve({
      imports: [
        RateLimitModule.forRootAsync({
          imports: [
            {
              module: Plans,
              providers: [{ provide: PLAN, useValue: { rate: 7 } }],
              exports: [PLAN],
            },
          ],
          inject: [PLAN],
          useFactory: async ({ rate }: { rate: number }) => ({
            limiter: { store: new MemoryStore(), rate, period: '1h' },
            identify: anna,
          }),
        }),
      ],
      controllers: [Routes],
    });
    const response = await call();
    expect(response.headers.get('ratelimit-policy')).toBe('"default";q=7;w=3600');
    expect(await response.json()).toMatchObject({ remaining: 6 });
  });

  test('ends the start when the options are invalid', async () => {
    const useFactory = () => ({ limiter: named('module'), keyGenerator: anna });
    await expect(
      create({ imports: [RateLimitModule.forRootAsync({ useFactory })] }, new ExpressAdapter()),
    ).rejects.toThrow('Did you mean `identify`?');
  });
});

describe('refused options of Nest', () => {
  const limiter = named('module');
  const rows: [sentence: string, attempt: () => unknown, message: string][] = [
    [
      "another library's name in the module",
      () => RateLimitModule.forRoot({ limiter, keyGenerator: anna } as never),
      'Did you mean `identify`?',
    ],
    [
      "another library's name in a decorator",
      () => RateLimit({ skipIf: () => true } as never),
      'Did you mean `skip`?',
    ],
    ['no limiter', () => RateLimitModule.forRoot({} as never), '`limiter` must be given'],
    [
      'a limiter that is wrong, in the module',
      () => RateLimitModule.forRoot({ limiter: { store, rate: -1, period: '1m' } }),
      '`rate`',
    ],
    [
      'a limiter that is wrong, in a decorator',
      () => RateLimit({ limiter: { store, rate: -1, period: '1m' } }),
      '`rate`',
    ],
    ['no object in a decorator', () => RateLimit(5 as never), '`@RateLimit options`'],
    [
      '`global` that is no boolean',
      () => RateLimitModule.forRoot({ limiter, global: 'no' } as never),
      '`global` must be true or false',
    ],
    [
      'a misspelt option of forRootAsync',
      () => RateLimitModule.forRootAsync({ useFacotry: () => ({ limiter }) } as never),
      'Did you mean `useFactory`?',
    ],
    ['an array in a decorator', () => RateLimit([] as never), '`@RateLimit options`'],
    [
      'a limiter in place of the options of a decorator',
      () => RateLimit(limiter as never),
      'Pass it by name: `{ limiter }`.',
    ],
    [
      'a limiter in place of the options of the module',
      () => RateLimitModule.forRoot(limiter as never),
      '`limiter`',
    ],
    [
      'a second argument of a decorator',
      () => (RateLimit as (...given: unknown[]) => unknown)({}, { cost: 2 }),
      'got 2 arguments',
    ],
    [
      'a decorator that is not called, on a class',
      () => (RateLimit as (target: unknown) => unknown)(class {}),
      '`@RateLimit options` must be an object',
    ],
    [
      'a decorator that is not called, on a method',
      () => (RateLimit as (...given: unknown[]) => unknown)({}, 'get', {}),
      'Write @RateLimit({ … }), or @RateLimit()',
    ],
    [
      'limits that are skipped by an object',
      () => SkipRateLimit({ short: true, long: false } as never),
      "Write @SkipRateLimit('short').",
    ],
    [
      'a limit that is skipped by nothing',
      () => SkipRateLimit(''),
      '`@SkipRateLimit` must be called',
    ],
    ['limits that are skipped by a list', () => SkipRateLimit(['short'] as never), 'got an array'],
    ['`true` for what is skipped', () => SkipRateLimit(true as never), 'got true'],
    [
      'a `@SkipRateLimit` that is not called',
      () => (SkipRateLimit as (...given: unknown[]) => unknown)({}, 'get', {}),
      "Write @SkipRateLimit() or @SkipRateLimit('short').",
    ],
    [
      'both decorators on one target',
      () => controller([RateLimit(), SkipRateLimit()]),
      'must not stand on one target',
    ],
    [
      'both decorators on one handler, the other way round',
      () => controller([], [SkipRateLimit(), RateLimit()]),
      'must not stand on one target',
    ],
  ];
  test.each(rows)('refuses %s', (_, attempt, message) => {
    expect(attempt).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    expect(attempt).toThrow(message);
  });
});

describe.each([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter()],
] as const)('exception filters on %s', (_, adapter) => {
  const imports = (): NonNullable<ModuleMetadata['imports']> => [
    RateLimitModule.forRoot({ limiter: named('module', 1), identify: anna }),
  ];

  test('see the exception and answer in its place', async () => {
    const seen: unknown[] = [];
    class Calm {
      catch(exception: RateLimitException, host: ArgumentsHost): void {
        seen.push(exception.message, exception.getStatus(), exception.getResponse());
        seen.push(Object.fromEntries(exception.headers)['Retry-After']);
        const response = host.switchToHttp().getResponse<{ raw?: object; type: Function }>();
        const html = response.raw === undefined ? 'html' : 'text/html; charset=utf-8';
        response.type(html).status(420).send('<p>calm</p>');
      }
    }
    decorate(Calm, [Catch(RateLimitException)]);
    const routes = controller([UseFilters(Calm)]);
    const call = await serve({ imports: imports(), controllers: [routes] }, adapter());
    await call();
    const response = await call();
    expect([response.status, await response.text()]).toEqual([420, '<p>calm</p>']);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('retry-after')).toBe('60');
    const title = 'Request cannot be satisfied as assigned quota has been exceeded';
    expect(seen).toEqual([
      title,
      429,
      expect.objectContaining({ title, status: 429, 'violated-policies': ['module'] }),
      '60',
    ]);
  });

  test('see it as any HttpException when bound to the whole application', async () => {
    class Everything {
      readonly host: HttpAdapterHost;
      constructor(host: HttpAdapterHost) {
        this.host = host;
      }
      catch(exception: unknown, host: ArgumentsHost): void {
        const status = exception instanceof HttpException ? exception.getStatus() : 500;
        const response: unknown = host.switchToHttp().getResponse();
        this.host.httpAdapter.reply(response, { wrapped: true }, status);
      }
    }
    decorate(Everything, [Catch()]);
    Inject(HttpAdapterHost)(Everything, undefined, 0);
    Injectable()(Everything);
    const call = await serve(
      {
        imports: imports(),
        controllers: [controller()],
        providers: [{ provide: APP_FILTER, useClass: Everything }],
      },
      adapter(),
    );
    await call();
    const response = await call();
    expect([response.status, await response.json()]).toEqual([429, { wrapped: true }]);
    expect(response.headers.get('ratelimit')).toBe('"module";r=0;t=60');
  });

  test("get the text of `onRefused` as the exception's message, which Nest sends in its own way", async () => {
    const limiter = named('module', 1);
    const onRefused = () => ({ body: 'Slow down.' });
    const call = await serve(
      {
        imports: [RateLimitModule.forRoot({ limiter, identify: anna, onRefused })],
        controllers: [controller()],
      },
      adapter(),
    );
    await call();
    const response = await call();
    expect(response.status).toBe(429);
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(await response.json()).toEqual({ statusCode: 429, message: 'Slow down.' });
  });
});

describe('an error of a handler', () => {
  class Mine {
    catch(_: Error, host: ArgumentsHost): void {
      const { httpAdapter } = adapterHost!;
      httpAdapter.reply(host.switchToHttp().getResponse(), { mine: true }, 418);
    }
  }
  decorate(Mine, [Catch(Error)]);
  let adapterHost: HttpAdapterHost | undefined;
  class Failing {
    constructor(host: HttpAdapterHost) {
      adapterHost = host;
    }
    refused(): never {
      throw new HttpException('no', 403);
    }
    broken(): never {
      throw new Error('broken');
    }
    filtered(): never {
      throw new Error('broken');
    }
  }
  decorate(Failing, [Controller()], {
    refused: [Get('refused')],
    broken: [Get('broken')],
    filtered: [Get('filtered'), UseFilters(new Mine())],
  });
  Inject(HttpAdapterHost)(Failing, undefined, 0);

  test.each([
    ['Express', () => new ExpressAdapter()],
    ['Fastify', () => new FastifyAdapter()],
  ] as const)('is answered with the fields on %s', async (_, adapter) => {
    const imports = [RateLimitModule.forRoot({ limiter: named('module'), identify: anna })];
    const call = await serve({ imports, controllers: [Failing] }, adapter());
    for (const [path, status] of [
      ['/refused', 403],
      ['/broken', 500],
      ['/filtered', 418],
    ] as const) {
      const response = await call(path);
      expect([response.status, policiesOf(response)]).toEqual([status, ['module']]);
    }
  });
});

describe('shutting down', () => {
  test('closes limiters that it made, once, and none that was passed', async () => {
    const close = vi.spyOn(RateLimiter.prototype, 'close');
    try {
      const options = {
        store: new MemoryStore(),
        rate: 5,
        period: '1m',
        namespace: 'own',
      } as const;
      const passed = named('passed');
      const own = controller([], [RateLimit({ limiter: options }), RateLimit({ limiter: passed })]);
      const app = await create(
        {
          imports: [RateLimitModule.forRoot({ limiter: options, identify: anna })],
          controllers: [own],
        },
        new ExpressAdapter(),
      );
      const { origin, close: shutDown } = await listen(app);
      expect((await fetch(origin)).headers.get('ratelimit')).toBe(
        '"default";r=4;t=12, "passed";r=99;t=1',
      );
      const made = app.get(RateLimiter, { strict: false });
      await shutDown();
      expect(close.mock.contexts).toEqual([made]);
      await expect(made.allow('anna')).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
      expect((await passed.allow('anna')).allowed).toBe(true);
    } finally {
      close.mockRestore();
    }
  });
});
