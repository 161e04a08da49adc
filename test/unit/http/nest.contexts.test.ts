import { once } from 'node:events';
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { IncomingMessage } from 'node:http';
import { ApolloServer, HeaderMap } from '@apollo/server';
import type { ApolloServerOptions, BaseContext } from '@apollo/server';
import { ApolloDriver } from '@nestjs/apollo';
import type { ApolloDriverConfig } from '@nestjs/apollo';
import { Catch, UseFilters, UseGuards } from '@nestjs/common';
import type { ArgumentsHost, INestApplication } from '@nestjs/common';
import { ExternalContextCreator } from '@nestjs/core';
import { GraphQLModule, Query, Resolver } from '@nestjs/graphql';
import { ExpressAdapter } from '@nestjs/platform-express';
import { WsAdapter } from '@nestjs/platform-ws';
import {
  BaseWsExceptionFilter,
  SubscribeMessage,
  WebSocketGateway,
  WsException,
} from '@nestjs/websockets';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import {
  RateLimit,
  RateLimitException,
  RateLimitGuard,
  RateLimitModule,
  SkipRateLimit,
} from 'distributed-rate-limiter/nest';
import type { GuardOptions } from 'distributed-rate-limiter/nest';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterAll, describe, expect, test } from 'vitest';
import type { Served } from './framework.ts';
import { create, listen } from './nest-app.ts';
import { decorate } from './nest-decorate.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

const clock = new ManualClock();
const limiterOf = (...limits: RateLimiter['limits']): RateLimiter =>
  new RateLimiter({ store: new MemoryStore({ clock }), limits });
const once1 = (): RateLimiter => limiterOf(tokenBucket({ name: 'calls', rate: 1, period: '1m' }));
const places = (): RateLimiter => limiterOf(concurrency({ name: 'places', max: 1, ttl: '30s' }));

const PROBLEM = {
  type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
  title: 'Request cannot be satisfied as assigned quota has been exceeded',
  status: 429,
  'violated-policies': ['calls'],
};

const open: Served[] = [];
afterAll(async () => {
  await Promise.all(open.map((served) => served.close()));
});

async function start(app: INestApplication): Promise<string> {
  const served = await listen(app);
  open.push(served);
  return served.origin;
}

describe('GraphQL', () => {
  /** Apollo behind Express, without the package that usually connects them. */
  class Driver extends ApolloDriver {
    protected override async registerExpress(options: ApolloDriverConfig): Promise<void> {
      const server = new ApolloServer(options as unknown as ApolloServerOptions<BaseContext>);
      await server.start();
      this.apolloServer = server;
      const contextOf = options.context as (given: object) => Promise<BaseContext>;
      this.httpAdapterHost.httpAdapter.post(
        options.path!,
        // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 awaits it
        async (
          req: IncomingMessage & { body: unknown },
          res: { status(code: number): { type(name: string): { send(body: string): void } } },
        ) => {
          const headers = new HeaderMap(
            Object.entries(req.headers).map(([name, value]) => [name, String(value)]),
          );
          const { status, body } = await server.executeHTTPGraphQLRequest({
            httpGraphQLRequest: { method: 'POST', headers, search: '', body: req.body },
            context: () => contextOf({ req, res }),
          });
          const text = body.kind === 'complete' ? body.string : '';
          res
            .status(status ?? 200)
            .type('json')
            .send(text);
        },
      );
    }
  }

  type Result = {
    data: unknown;
    errors?: { message: string; path: string[]; extensions: object }[];
  };

  async function serve(
    options: GuardOptions<IncomingMessage>,
    limiter: RateLimiter,
  ): Promise<(query: string, user?: string) => Promise<Response & { result: Result }>> {
    class Fields {
      limited(): string {
        return 'done';
      }
      free(): string {
        return 'done';
      }
    }
    decorate(Fields, [Resolver()], { limited: [Query()], free: [Query(), SkipRateLimit()] });
    const graphql = GraphQLModule.forRoot<ApolloDriverConfig>({
      driver: Driver,
      typeDefs: 'type Query { limited: String free: String }',
      graphiql: false,
      includeStacktraceInErrorResponses: false,
    });
    const imports = [RateLimitModule.forRoot<IncomingMessage>({ ...options, limiter }), graphql];
    const origin = await start(
      await create({ imports, providers: [Fields] }, new ExpressAdapter()),
    );
    return async (query, user = 'anna') => {
      const response = await fetch(`${origin}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-user': user },
        body: JSON.stringify({ query }),
      });
      return Object.assign(response, { result: (await response.json()) as Result });
    };
  }

  const byUser: GuardOptions<IncomingMessage> = {
    identify: ({ headers }) => headers['x-user'],
  };

  test('refuses a field with the problem as its error and answers the others', async () => {
    const ask = await serve(byUser, once1());
    expect((await ask('{ free limited }')).result).toEqual({
      data: { free: 'done', limited: 'done' },
    });
    const response = await ask('{ free limited }');
    expect(response.status).toBe(200);
    expect(response.headers.get('ratelimit')).toBeNull();
    expect(response.result).toEqual({
      data: { free: 'done', limited: null },
      errors: [
        {
          message: PROBLEM.title,
          path: ['limited'],
          locations: expect.anything(),
          extensions: { ...PROBLEM, code: 'TOO_MANY_REQUESTS', retryAfter: 60 },
        },
      ],
    });
    expect((await ask('{ limited }', 'ben')).result.data).toEqual({ limited: 'done' });
  });

  test('counts each field of a query that asks for it more than once', async () => {
    const ask = await serve(byUser, once1());
    const { result } = await ask('{ a: limited b: limited }');
    expect(result.data).toEqual({ a: 'done', b: null });
  });

  test('finds the address of a request by itself', async () => {
    const limiter = once1();
    const ask = await serve({}, limiter);
    await ask('{ limited }');
    expect((await limiter.peek('127.0.0.1')).remaining).toBe(0);
  });

  test('holds a place until the response is complete', async () => {
    const limiter = places();
    const ask = await serve(byUser, limiter);
    const { result } = await ask('{ a: limited b: limited }');
    expect(result.data).toEqual({ a: 'done', b: null });
    await eventually(async () => {
      expect((await limiter.peek('anna')).remaining).toBe(1);
    });
  });

  test.each([
    ['failures', 'failures' as const],
    ['by a function', () => true],
  ])('refuses to count %s, which no status shows', async (_, count) => {
    const ask = await serve({ ...byUser, count }, once1());
    const { result } = await ask('{ limited free }');
    expect(result.data).toEqual({ limited: null, free: 'done' });
    expect(result.errors![0]!.message).toContain("`count` must be 'all'");
  });
});

/** The client that the library uses for the gateway; Node 20 has no WebSocket of its own. */
interface Socket extends EventEmitter {
  send(text: string): void;
  close(): void;
}
const load = createRequire(import.meta.url);
const WebSocketClient = load('ws') as new (url: string) => Socket;

describe('a WebSocket gateway', () => {
  class Problems extends BaseWsExceptionFilter {
    override catch(exception: RateLimitException, host: ArgumentsHost): void {
      // oxlint-disable-next-line promise/valid-params -- a filter's, no promise's
      super.catch(new WsException(exception.getResponse()), host);
    }
  }
  decorate(Problems, [Catch(RateLimitException)]);

  async function serve(
    options: GuardOptions<object>,
    limiter: RateLimiter,
    decorators: readonly ClassDecorator[] = [],
    global = true,
  ): Promise<(event: string) => Promise<{ event: string; data: unknown }>> {
    class Gateway {
      limited(): object {
        return { event: 'limited', data: 'done' };
      }
      free(): object {
        return { event: 'free', data: 'done' };
      }
    }
    decorate(Gateway, [WebSocketGateway({ path: '/ws' }), ...decorators], {
      limited: [SubscribeMessage('limited')],
      free: [SubscribeMessage('free'), SkipRateLimit()],
    });
    const imports = [RateLimitModule.forRoot<object>({ ...options, limiter, global })];
    const app = await create({ imports, providers: [Gateway] }, new ExpressAdapter());
    app.useWebSocketAdapter(new WsAdapter(app));
    const socket = new WebSocketClient(`${(await start(app)).replace('http', 'ws')}/ws`);
    await once(socket, 'open');
    return async (event) => {
      socket.send(JSON.stringify({ event, data: 1 }));
      const [message] = (await once(socket, 'message')) as [Buffer];
      return JSON.parse(message.toString('utf8')) as { event: string; data: unknown };
    };
  }

  const all = (): string => 'all';
  const done = (event: string): object => ({ event, data: 'done' });

  test('refuses a message as Nest does any other error, and stays open', async () => {
    const say = await serve({ identify: all }, once1());
    expect(await say('limited')).toEqual(done('limited'));
    expect(await say('limited')).toMatchObject({ event: 'exception', data: { status: 'error' } });
    expect(await say('free')).toEqual(done('free'));
  });

  test('sends the problem when a filter makes a WsException of it', async () => {
    const say = await serve({ identify: all }, once1(), [UseFilters(new Problems())]);
    await say('limited');
    expect(await say('limited')).toEqual({ event: 'exception', data: PROBLEM });
  });

  test('is limited where the guard is bound, with `global: false`', async () => {
    const guarded = await serve({ identify: all }, once1(), [UseGuards(RateLimitGuard)], false);
    expect([await guarded('limited'), (await guarded('limited')).event]).toEqual([
      done('limited'),
      'exception',
    ]);
    const free = await serve({ identify: all }, once1(), [], false);
    expect([await free('limited'), await free('limited')]).toEqual([
      done('limited'),
      done('limited'),
    ]);
  });

  test('passes the client to `identify`, and finds its address by itself', async () => {
    const clients: object[] = [];
    const identify = (client: object): string => {
      clients.push(client);
      return 'all';
    };
    const say = await serve({ identify }, once1());
    await say('limited');
    await say('limited');
    expect(clients).toHaveLength(2);
    expect(new Set(clients).size).toBe(1);
    const limiter = once1();
    expect(await (await serve({}, limiter))('limited')).toEqual(done('limited'));
    expect((await limiter.peek('127.0.0.1')).remaining).toBe(0);
  });

  test('holds no place, because a message has no end, and stays open', async () => {
    const limiter = places();
    const say = await serve({ identify: all }, limiter);
    expect((await say('limited')).event).toBe('exception');
    expect(await say('free')).toEqual(done('free'));
    await eventually(async () => {
      expect((await limiter.peek('all')).remaining).toBe(1);
    });
  });
});

describe('a call in another kind of context', () => {
  /** Runs a handler as Nest's other transports do, the application's guards first. */
  async function runner(
    options: GuardOptions<never>,
    limiter: RateLimiter,
    kind: string,
  ): Promise<(...args: unknown[]) => Promise<unknown>> {
    class Handlers {
      handle(): string {
        return 'done';
      }
    }
    decorate(Handlers, [], { handle: [RateLimit()] });
    const imports = [RateLimitModule.forRoot<never>({ ...options, limiter })];
    const app = await create({ imports, providers: [Handlers] }, new ExpressAdapter());
    await app.init();
    const handlers = app.get(Handlers);
    const creator = app.get(ExternalContextCreator);
    return creator.create(
      handlers,
      handlers.handle,
      'handle',
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      kind,
    ) as (...args: unknown[]) => Promise<unknown>;
  }

  const rows: [sentence: string, kind: string, args: unknown[], seen: unknown][] = [
    [
      'in a microservice, the data and the context',
      'rpc',
      [{ user: 'anna' }, 'context'],
      { data: { user: 'anna' }, context: 'context' },
    ],
    ['elsewhere, the first argument', 'telegraf', [{ chat: 7 }, 'next'], { chat: 7 }],
    ['without an HTTP response, all the same', 'http', [{ command: 'x' }], { command: 'x' }],
    ['in GraphQL without a request, its context', 'graphql', [null, {}, { user: 1 }], { user: 1 }],
    ['without arguments, nothing', 'telegraf', [], undefined],
  ];
  test.each(rows)('passes its request to `identify`: %s', async (_, kind, args, seen) => {
    const requests: unknown[] = [];
    const identify = (request: unknown): string => {
      requests.push(request);
      return 'anna';
    };
    const run = await runner({ identify }, once1(), kind);
    expect(await run(...args)).toBe('done');
    await expect(run(...args)).rejects.toThrow(PROBLEM.title);
    expect(requests).toEqual([seen, seen]);
  });

  test.each(rows)(
    'is refused without an address unless `unidentified` is pass: %s',
    async (_, kind, args) => {
      const refuse = await runner({}, once1(), kind);
      await expect(refuse(...args)).rejects.toMatchObject({ status: 400 });
      const pass = await runner({ unidentified: 'pass' }, once1(), kind);
      expect([await pass(...args), await pass(...args)]).toEqual(['done', 'done']);
    },
  );

  test('finds the address of a socket.io client by its handshake', async () => {
    const limiter = once1();
    const run = await runner({}, limiter, 'ws');
    const handshake = { headers: {}, socket: { remoteAddress: '192.0.2.7' } };
    await run({ request: handshake }, 'data');
    expect((await limiter.peek('192.0.2.7')).remaining).toBe(0);
  });

  test.each([
    ['failures', 'failures' as const],
    ['successes', 'successes' as const],
    ['by a function', () => true],
  ])('refuses to count %s', async (_, count) => {
    const run = await runner({ identify: () => 'anna', count }, once1(), 'rpc');
    await expect(run({}, {})).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });
});
