import { once } from 'node:events';
import { Agent, createServer, get, ServerResponse } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { concurrency, MemoryStore, RateLimiter, RateLimitExceeded } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/express';
import express5 from 'express';
import express4 from 'express4';
import { afterEach, describe, expect, test } from 'vitest';
import { frameworkContract } from './contract.ts';
import { variantsOf } from '../../kit/random.mjs';
import { deferred } from './deferred.ts';
import type { Served } from './framework.ts';
import { listen, nodeRequest, send } from './node-server.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

for (const [version, express] of variantsOf([
  [5, express5],
  [4, express4],
] as const)) {
  frameworkContract<IncomingMessage>({
    ...nodeRequest,
    name: `Express ${version}`,
    async serve(routes, errors) {
      const app = express();
      for (const { path, guards, handler } of routes) {
        app.all(
          path,
          ...guards.map(([limiter, options]) => rateLimit(limiter, options)),
          (request, response, next) => {
            handler(request).then((answer) => send(answer, response), next);
          },
        );
      }
      // Express's own handler would log the error to the console. It keeps only the header fields in `error.headers`.
      if (errors !== 'as the error says') {
        app.use((_error: unknown, _: unknown, response: ServerResponse, next: () => void) => {
          if (response.headersSent) next();
          else response.writeHead(500).end();
        });
      }
      return listen(createServer(app));
    },
  });

  test(`Express ${version}: an error handler of the application gets the fields on the response, and the decision`, async () => {
    const app = express();
    const limiter = { store: new MemoryStore(), rate: 1, period: '1m' } as const;
    app.use(rateLimit(limiter, { onRefused: () => 'throw' }));
    app.get('/', (_, response) => void response.end('x'));
    app.use((error: Error, _: unknown, response: ServerResponse, next: (error: Error) => void) => {
      if (!(error instanceof RateLimitExceeded)) {
        next(error);
        return;
      }
      response.statusCode = error.status!;
      response.end(`${error.decision.reason} ${error.headers!['Retry-After']}`);
    });
    const served = await listen(createServer(app));
    await fetch(served.origin);
    const refused = await fetch(served.origin);
    expect([refused.status, await refused.text()]).toEqual([429, 'limited 60']);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(refused.headers.get('ratelimit')).toBe('"default";r=0;t=60');
    expect(refused.headers.get('content-type')).toBeNull();
    await served.close();
  });
}

describe('Express', () => {
  const open: Served[] = [];
  afterEach(async () => {
    for (const served of open.splice(0)) await served.close();
  });
  const places = (): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), limits: [concurrency({ max: 1, ttl: '30s' })] });
  const left = async (limiter: RateLimiter): Promise<number | undefined> =>
    (await limiter.peek('all')).remaining;
  const identify = (): string => 'all';
  const one = (): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1h' });

  test.each([
    ['5', express5],
    ['4', express4],
  ] as const)(
    'Express %s frees the place of an upgrade when its connection ends',
    async (_, express) => {
      const limiter = places();
      const app = express();
      app.use(rateLimit(limiter, { identify }));
      const upgraded = deferred<void>();
      app.use((_request, response) => {
        response.end();
        upgraded.resolve();
      });
      const server = createServer();
      server.on('upgrade', (request, socket) => {
        // Writes to the socket as a WebSocket library does.
        socket.resume().once('end', () => socket.end());
        app(request, new ServerResponse(request));
      });
      const served = await listen(server);
      open.push(served);
      const socket = connect(Number(new URL(served.origin).port), '127.0.0.1');
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
      await upgraded.promise;
      expect(await left(limiter)).toBe(0);
      socket.destroy();
      await eventually(async () => expect(await left(limiter)).toBe(1));
    },
  );

  test('adds no listener per request to a connection that is kept alive', async () => {
    const counts: number[] = [];
    const app = express5();
    app.use((request, _response, next) => {
      counts.push(request.socket.listenerCount('close'));
      next();
    });
    app.use(rateLimit(places(), { identify }));
    app.use((_request, response) => void response.end('done'));
    const served = await listen(createServer(app));
    open.push(served);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 5; i++) {
      const asked = get(served.origin, { agent });
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      await response.resume().toArray();
      await new Promise(setImmediate);
    }
    agent.destroy();
    expect(new Set(counts.slice(1)).size).toBe(1);
  });

  test.each([
    ['5', express5],
    ['4', express4],
  ] as const)(
    'Express %s keeps the fields on its own answers to an error and to an unknown path',
    async (_, express) => {
      const app = express().set('env', 'test');
      app.use(rateLimit({ store: new MemoryStore(), rate: 5, period: '1h' }, { identify }));
      app.get('/broken', () => {
        throw Object.assign(new Error('broken'), { status: 418 });
      });
      const { origin, close } = await listen(createServer(app));
      open.push({ origin, close });
      for (const [path, status] of [
        ['/broken', 418],
        ['/none', 404],
      ] as const) {
        const response = await fetch(origin + path);
        expect(response.status).toBe(status);
        expect(response.headers.get('ratelimit')).toMatch(/^"default";r=[34]/);
      }
    },
  );

  test('joins `Vary` of a page with that of outer middleware', async () => {
    const app = express5();
    app.use((_request, response, next) => {
      response.setHeader('Vary', 'Origin');
      next();
    });
    app.use(rateLimit(one(), { identify, negotiate: true }));
    app.use((_request, response) => void response.end('done'));
    const served = await listen(createServer(app));
    open.push(served);
    expect((await fetch(served.origin)).headers.get('vary')).toBe('Origin');
    expect((await fetch(served.origin)).headers.get('vary')).toBe('Origin, Accept');
  });

  test('lets a request go on whose head was sent already, and adds no fields', async () => {
    const app = express5();
    app.use((_request, response, next) => {
      response.writeHead(200).write('one,');
      next();
    });
    app.use(rateLimit({ store: new MemoryStore(), rate: 5, period: '1h' }, { identify }));
    app.use((_request, response) => void response.end('two'));
    const served = await listen(createServer(app));
    open.push(served);
    const response = await fetch(served.origin);
    expect([await response.text(), response.headers.get('ratelimit')]).toEqual(['one,two', null]);
  });
});
