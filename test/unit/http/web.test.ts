import { createServer } from 'node:http';
import { describe, expect, test, vi } from 'vitest';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { decisionOf, rateLimit } from 'distributed-rate-limiter/web';
import type { WebGuardOptions, WebHandler } from 'distributed-rate-limiter/web';
import { frameworkContract } from './contract.ts';
import { listen } from './node-server.ts';
import { listenerOf, toResponse } from './web-server.ts';
import { eventually } from '../../kit/fakes/eventually.ts';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

frameworkContract<Request>({
  name: 'web-standard handlers',
  header: (request, name) => request.headers.get(name) ?? undefined,
  method: (request) => request.method,
  answersErrors: false,
  serve([route], errors) {
    const handler = route!.guards.reduceRight<WebHandler<Request, []>>(
      (inner, [limiter, options]) => rateLimit(limiter, options as WebGuardOptions)(inner),
      async (request) => toResponse(await route!.handler(request)),
    );
    return listen(createServer(listenerOf((request) => handler(request), errors)));
  },
});

describe('web-standard handlers', () => {
  const url = 'http://localhost/';
  const memory = (rate = 1): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), rate, period: '1h' });
  const places = (): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), limits: [concurrency({ max: 1, ttl: '30s' })] });
  const identify = (): string => 'all';
  const free = async (limiter: RateLimiter): Promise<boolean> =>
    (await limiter.peek('all')).remaining === 1;

  describe('the identity of a web request', () => {
    test.each([
      ['neither `identify` nor `address`', {}, '`identify` must be a function'],
      ['both', { identify, address: () => '' }, '`address` must be left out'],
      ['an `address` that is none', { address: '192.0.2.1' }, '`address` must be a function'],
      ['a misspelt option', { identify, skips: identify }, '`skip`'],
      ['nothing', undefined, '`identify` must be a function'],
    ])('refuses %s', (_, options, message) => {
      expect(() => rateLimit(memory(), options as never)).toThrow(message);
    });

    test('limits by what `address` returns', async () => {
      const limiter = memory();
      const limited = rateLimit(limiter, {
        address: (_request: Request, server: { ip: string }) => server.ip,
      });
      const handler = limited((_, server) => new Response(server.ip));
      expect(await (await handler(new Request(url), { ip: '192.0.2.1' })).text()).toBe('192.0.2.1');
      expect((await handler(new Request(url), { ip: '192.0.2.1' })).status).toBe(429);
      expect((await handler(new Request(url), { ip: '192.0.2.2' })).status).toBe(200);
      expect((await limiter.peek('192.0.2.2')).remaining).toBe(0);
    });

    test('answers 400 when `address` returns nothing', async () => {
      const handler = rateLimit(memory(), { address: () => undefined })(() => new Response('x'));
      expect((await handler(new Request(url))).status).toBe(400);
    });

    test('passes all arguments of the handler to its functions', async () => {
      const seen: unknown[] = [];
      const see =
        <T>(name: string, value: T) =>
        (request: Request, context: { id: number }): T => {
          seen.push([name, request.url, context.id]);
          return value;
        };
      const limited = rateLimit(memory(), {
        skip: see('skip', false),
        identify: see('identify', 'all'),
        cost: see('cost', 1),
        limits: see('limits', undefined),
      });
      const handler = limited((request, { id }) => new Response(`${request.url} ${id}`));
      expect(await (await handler(new Request(url), { id: 7 })).text()).toBe(`${url} 7`);
      expect(seen).toEqual(['skip', 'identify', 'cost', 'limits'].map((name) => [name, url, 7]));
    });

    test('hands the decision to the handler, of several limiters the last one', async () => {
      const outer = rateLimit(memory(9), { identify });
      const inner = rateLimit(memory(5), { identify });
      const handler = outer(inner((request) => Response.json(decisionOf(request)?.remaining)));
      expect(await (await handler(new Request(url))).json()).toBe(4);
    });
  });

  describe('responses with immutable headers', () => {
    const pass = (response: Response, limiter = memory()): Promise<Response> =>
      rateLimit(limiter, { identify })(() => response)(new Request(url));

    test('copies a redirect', async () => {
      const response = await pass(Response.redirect(`${url}elsewhere`, 307));
      expect([response.status, response.headers.get('location')]).toEqual([307, `${url}elsewhere`]);
      expect(response.headers.get('ratelimit-policy')).toBe('"default";q=1;w=3600');
    });

    test('copies what `fetch` returned, with body, status text and cookies', async () => {
      const server = await listen(
        createServer((_, response) => {
          response.setHeader('Set-Cookie', ['a=1', 'b=2']);
          response.writeHead(203, 'Second Hand').end('from afar');
        }),
      );
      try {
        const response = await pass(await fetch(server.origin));
        expect([response.status, response.statusText]).toEqual([203, 'Second Hand']);
        expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
        expect(response.headers.get('ratelimit')).toContain('r=0');
        expect(await response.text()).toBe('from afar');
      } finally {
        await server.close();
      }
    });

    test.each([
      ['without a place', memory],
      ['with a place held', places],
    ])('passes on a network error unchanged, %s', async (_, make) => {
      const limiter = make();
      const error = Response.error();
      expect(await pass(error, limiter)).toBe(error);
      if (limiter.limits[0]!.algorithm === 'concurrency') expect(await free(limiter)).toBe(true);
    });

    test('writes to a mutable response without a copy', async () => {
      const made = new Response('x');
      expect(await pass(made)).toBe(made);
    });
  });

  describe('a place held by a web request', () => {
    const taken = async (
      limiter: RateLimiter,
      response: Response,
      request = new Request(url),
    ): Promise<Response> => rateLimit(limiter, { identify })(() => response)(request);

    test('reads the body only on demand, and is free at its end', async () => {
      let pulls = 0;
      const source = new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            pulls += 1;
            if (pulls === 3) controller.close();
            else controller.enqueue(Uint8Array.of(pulls));
          },
        },
        { highWaterMark: 0 },
      );
      const limiter = places();
      const response = await taken(limiter, new Response(source));
      const reader = response.body!.getReader();
      expect(pulls).toBe(0);
      expect((await reader.read()).value).toEqual(Uint8Array.of(1));
      expect((await reader.read()).value).toEqual(Uint8Array.of(2));
      expect([pulls, await free(limiter)]).toEqual([2, false]);
      expect((await reader.read()).done).toBe(true);
      await eventually(async () => expect(await free(limiter)).toBe(true));
    });

    test('is free when the body is cancelled, and tells the source', async () => {
      const cancel = vi.fn<(reason: unknown) => void>();
      const limiter = places();
      const response = await taken(limiter, new Response(new ReadableStream({ cancel })));
      expect(await free(limiter)).toBe(false);
      await response.body!.cancel('enough');
      expect(cancel).toHaveBeenCalledExactlyOnceWith('enough');
      await eventually(async () => expect(await free(limiter)).toBe(true));
    });

    test('is free when the body fails, with the same error', async () => {
      const broken = new Error('broken');
      const source = new ReadableStream({
        pull() {
          throw broken;
        },
      });
      const limiter = places();
      const response = await taken(limiter, new Response(source));
      await expect(response.text()).rejects.toBe(broken);
      await eventually(async () => expect(await free(limiter)).toBe(true));
    });

    test.each([
      ['without a body', () => new Response(null, { status: 204 }), 'GET'],
      ['to HEAD, whose body nobody reads', () => new Response('x'), 'HEAD'],
    ])('is free at once for an answer %s', async (_, make, method) => {
      const limiter = places();
      await taken(limiter, make(), new Request(url, { method }));
      await eventually(async () => expect(await free(limiter)).toBe(true));
    });

    test('is free when the request is aborted, before and after the answer', async () => {
      for (const when of ['before', 'meanwhile', 'after']) {
        const gone = new AbortController();
        const limiter = places();
        if (when === 'before') gone.abort();
        const limited = rateLimit(limiter, { identify })(() => {
          if (when === 'meanwhile') gone.abort();
          return new Response('x');
        });
        await limited(new Request(url, { signal: gone.signal }));
        if (when === 'after') {
          expect(await free(limiter)).toBe(false);
          gone.abort();
        }
        await eventually(async () => expect(await free(limiter), when).toBe(true));
      }
    });

    test('is free when the handler throws', async () => {
      const limiter = places();
      const failing = rateLimit(limiter, { identify })(() => {
        throw new Error('broken');
      });
      await expect(failing(new Request(url))).rejects.toThrow('broken');
      await eventually(async () => expect(await free(limiter)).toBe(true));
    });

    test('is not taken, nor the handler called, for a client gone before the verdict', async () => {
      const handler = vi.fn<() => Response>(() => new Response('x'));
      const limited = rateLimit(places(), { identify })(handler);
      const response = await limited(new Request(url, { signal: AbortSignal.abort() }));
      expect([response.status, handler.mock.calls.length]).toEqual([499, 0]);
    });

    const nothings: [what: string, result: unknown][] = [
      ['undefined', undefined],
      ['null', null],
      ['a number', 7],
      ['text', 'hello'],
      ['an object', { ok: true }],
      ['a promise of nothing', Promise.resolve()],
    ];
    test.each(nothings)(
      'is free when the handler returns something else, which is passed on: %s',
      async (_, result) => {
        const limiter = places();
        const limited = rateLimit(limiter, { identify })(() => result as Response);
        expect(await limited(new Request(url))).toEqual(await result);
        expect(await free(limiter)).toBe(true);
        const uncounted = rateLimit(memory(), { identify })(() => result as Response);
        expect(await uncounted(new Request(url))).toEqual(await result);
      },
    );

    test('is free when the response cannot be read, and the error rejects', async () => {
      const unreadable = Object.defineProperty(new Response('x'), 'body', {
        get() {
          throw new Error('unreadable');
        },
      });
      const limiter = places();
      await expect(taken(limiter, unreadable)).rejects.toThrow('unreadable');
      expect(await free(limiter)).toBe(true);
    });

    test('is free when the handler throws a response, which gets the fields', async () => {
      const limiter = places();
      const limited = rateLimit(limiter, { identify })(() => {
        // oxlint-disable-next-line only-throw-error -- as frameworks have it
        throw Response.redirect(`${url}elsewhere`, 303);
      });
      const thrown = (await limited(new Request(url)).catch((error: unknown) => error)) as Response;
      expect([thrown.status, thrown.headers.get('ratelimit')]).toEqual([303, '"default";r=0']);
      expect(await free(limiter)).toBe(true);
    });

    test('is held for an object that stands in for a Request and has no signal', async () => {
      const limiter = places();
      const limited = rateLimit(limiter, { identify })(() => new Response(null));
      await limited({ method: 'GET' } as Request);
      await eventually(async () => expect(await free(limiter)).toBe(true));
    });

    test('is free when a response is dropped unread', async () => {
      const limiter = places();
      await taken(limiter, new Response('never read'));
      expect(await free(limiter)).toBe(false);
      await eventually(async () => {
        collectGarbage();
        expect(await free(limiter)).toBe(true);
      });
    });
  });
});
