import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { deferred } from './deferred.ts';
import type { Answer, Framework, Handler, Served } from './framework.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

/** How every adapter treats a request between the verdict and its end, however it ends. */
export function lifeContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, lives of requests: ${framework.name}`, () => {
    const open: Served[] = [];
    afterAll(async () => {
      await Promise.all(open.map((served) => served.close()));
    });

    const ok = async (): Promise<Answer> => ({ status: 200, body: 'done' });
    const anna = (): string => 'anna';
    const perHour = (rate: number): RateLimiter =>
      new RateLimiter({ store: new MemoryStore(), rate, period: '1h' });
    const places = (max = 1): RateLimiter =>
      new RateLimiter({ store: new MemoryStore(), limits: [concurrency({ max, ttl: '30s' })] });
    const left = async (limiter: RateLimiter): Promise<number | undefined> =>
      (await limiter.peek('anna')).remaining;
    /** Waits until this many units are left; returns the number left. */
    const leftOf = async (limiter: RateLimiter, remaining: number): Promise<number | undefined> => {
      await eventually(async () => expect(await left(limiter)).toBe(remaining));
      return left(limiter);
    };

    async function serve(
      limiter: RateLimiter,
      options: GuardOptions<Request>,
      handler: Handler<Request> = ok,
    ): Promise<string> {
      const guards = [[limiter, options]] as const;
      const served = await framework.serve([{ path: '/', guards, handler }]);
      open.push(served);
      return served.origin;
    }

    async function dial(origin: string, ...paths: string[]): Promise<Socket> {
      const socket = connect(Number(new URL(origin).port), '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
      return socket;
    }

    async function withoutWarnings(run: () => Promise<void>): Promise<unknown[][]> {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      try {
        await run();
        return warn.mock.calls;
      } finally {
        warn.mockRestore();
      }
    }

    describe.each(['failures', 'successes'] as const)('counting %s', (count) => {
      test('keeps a request charged when its client goes away before the answer', async () => {
        const limiter = perHour(2);
        const arrived = deferred<void>();
        const answer = deferred<Answer>();
        const origin = await serve(limiter, { identify: anna, count }, () => {
          arrived.resolve();
          return answer.promise;
        });
        const socket = await dial(origin, '/');
        await arrived.promise;
        socket.destroy();
        await once(socket, 'close');
        await seenByServer();
        answer.resolve({ status: count === 'failures' ? 200 : 500, body: 'late' });
        await seenByServer();
        expect(await left(limiter)).toBe(1);
      });

      test('keeps a request charged when its client goes away during the decision', async () => {
        const limiter = perHour(2);
        const [asked, goOn] = [deferred<void>(), deferred<void>()];
        const identify = async (): Promise<string> => {
          asked.resolve();
          await goOn.promise;
          return 'anna';
        };
        const status = count === 'failures' ? 200 : 500;
        const origin = await serve(limiter, { identify, count }, async () => ({
          status,
          body: 'late',
        }));
        const socket = await dial(origin, '/');
        await asked.promise;
        socket.destroy();
        await once(socket, 'close');
        await seenByServer();
        goOn.resolve();
        expect(await leftOf(limiter, 1)).toBe(1);
        await seenByServer();
        expect(await left(limiter)).toBe(1);
      });

      test('keeps a request charged when its client goes away amid the body', async () => {
        const limiter = perHour(2);
        const status = count === 'failures' ? 200 : 500;
        const gone = deferred<void>();
        const origin = await serve(limiter, { identify: anna, count }, async () => ({
          status,
          body: (async function* () {
            yield 'one';
            await gone.promise;
            yield 'two';
          })(),
        }));
        const socket = await dial(origin, '/');
        await once(socket, 'data');
        socket.resetAndDestroy();
        await seenByServer();
        gone.resolve();
        await seenByServer();
        expect(await left(limiter)).toBe(1);
      });
    });

    test('frees the place of a request waiting behind another one when its client goes away', async () => {
      const limiter = places(2);
      const arrived = deferred<void>();
      let handled = 0;
      const origin = await serve(limiter, { identify: anna }, async () => {
        handled += 1;
        if (handled > 1) {
          arrived.resolve();
          return { status: 200, body: 'behind' };
        }
        return deferred<Answer>().promise;
      });
      const socket = await dial(origin, '/', '/');
      await arrived.promise;
      socket.destroy();
      expect(await leftOf(limiter, 2)).toBe(2);
    });

    test('frees a place after `maxHold`, with one warning, while the response goes on', async () => {
      const clock = new ManualClock();
      const limiter = new RateLimiter({
        store: new MemoryStore({ clock }),
        limits: [concurrency({ max: 1, ttl: '30s' })],
      });
      const warnings = await withoutWarnings(async () => {
        const arrived = deferred<void>();
        const origin = await serve(limiter, { identify: anna, maxHold: '1h' }, () => {
          arrived.resolve();
          return deferred<Answer>().promise;
        });
        const socket = await dial(origin, '/');
        await arrived.promise;
        clock.advance('59m');
        expect(await left(limiter)).toBe(0);
        clock.advance('1m');
        expect(await leftOf(limiter, 1)).toBe(1);
        socket.destroy();
      });
      expect(warnings).toMatchObject([[expect.anything(), { code: 'DRL_HELD_TOO_LONG' }]]);
    });

    describe('header values from the application', () => {
      class Odd {
        toString(): string {
          return 'odd';
        }
      }
      const written: [what: string, value: unknown, text: unknown][] = [
        ['a number', 7, '7'],
        ['zero', 0, '0'],
        ['a fraction', 0.5, '0.5'],
        ['a bigint', 12n, '12'],
        // Node encodes it as it encodes the body.
        ['Latin-1', 'caf\u00e9', expect.stringMatching(/^caf/)],
        ['undefined', undefined, null],
      ];
      test.each(written)('writes or omits %s', async (_, value, text) => {
        const limiter = places();
        const fields = { 'X-Before': 'a', 'X-Own': value as string, 'X-After': 'b' };
        const onRefused = (): object => ({ headers: fields });
        const origin = await serve(limiter, { identify: anna, headers: () => fields, onRefused });
        const passed = await fetch(origin);
        await passed.text();
        expect(await leftOf(limiter, 1)).toBe(1);
        await limiter.acquire('anna');
        for (const response of [passed, await fetch(origin)]) {
          expect(
            ['x-before', 'x-own', 'x-after'].map((each) => response.headers.get(each)),
          ).toEqual(['a', text, 'b']);
        }
      });

      const unsendable: [what: string, fields: unknown][] = [
        ['a line break', { 'X-Own': 'a\r\nX-Other: b' }],
        ['a lone line feed', { 'X-Own': 'a\nb' }],
        ['a null character', { 'X-Own': 'a\0' }],
        ['text beyond Latin-1', { 'X-Own': '\u20ac' }],
        ['an object', { 'X-Own': {} }],
        ['an object with a text', { 'X-Own': new Odd() }],
        ['a list', { 'X-Own': ['a', 'b'] }],
        ['null', { 'X-Own': null }],
        ['a boolean', { 'X-Own': true }],
        ['a symbol', { 'X-Own': Symbol('x') }],
        ['a function', { 'X-Own': () => 'x' }],
        ['NaN', { 'X-Own': Number.NaN }],
        ['Infinity', { 'X-Own': Number.POSITIVE_INFINITY }],
        ['a name with a space', { 'X Own': 'x' }],
        ['an empty name', { '': 'x' }],
        ['a pseudo-header', { ':status': '200' }],
        ['a length', { 'Content-Length': '3' }],
        ['a coding', { 'transfer-encoding': 'chunked' }],
        ['a Map', new Map([['X-Own', 'x']])],
        ['a promise', Promise.resolve({ 'X-Own': 'x' })],
        ['a promise that fails', () => Promise.reject(new Error('no'))],
        ['a number in place of the fields', 7],
        ['text in place of the fields', 'X-Own: x'],
        ['null in place of the fields', null],
      ];
      const make = (fields: unknown): never =>
        (typeof fields === 'function' ? (fields as () => unknown)() : fields) as never;

      test.each(unsendable)('%s costs only the fields, with one warning', async (_, fields) => {
        const limiter = places();
        const warnings = await withoutWarnings(async () => {
          const headers = (): never => make(fields);
          const origin = await serve(limiter, { identify: anna, headers });
          for (let i = 0; i < 2; i++) {
            const passed = await fetch(origin);
            expect([passed.status, await passed.text()]).toEqual([200, 'done']);
            expect(passed.headers.get('x-own') ?? passed.headers.get('x-other')).toBeNull();
            expect(await leftOf(limiter, 1)).toBe(1);
          }
          await limiter.acquire('anna');
          expect((await fetch(origin)).status).toBe(429);
        });
        expect(warnings).toMatchObject([
          [expect.stringContaining('`headers`'), { code: 'DRL_HOOK_FAILED' }],
        ]);
      });

      test.each(unsendable)(
        'refuses without the fields of `onRefused` that hold %s',
        async (_, fields) => {
          const limiter = perHour(1);
          const warnings = await withoutWarnings(async () => {
            const onRefused = (): object => ({
              status: 420,
              body: 'calm',
              headers: make(fields) as unknown,
            });
            const origin = await serve(limiter, { identify: anna, onRefused });
            await fetch(origin);
            for (let i = 0; i < 2; i++) {
              const refused = await fetch(origin);
              expect(refused.status).toBe(420);
              expect(await refused.text()).toContain('calm');
              expect(refused.headers.get('x-own') ?? refused.headers.get('x-other')).toBeNull();
              expect(refused.headers.get('retry-after')).not.toBeNull();
            }
          });
          expect(warnings).toMatchObject([
            [expect.stringContaining('`onRefused.headers`'), { code: 'DRL_HOOK_FAILED' }],
          ]);
        },
      );

      const circular: { self?: unknown } = {};
      circular.self = circular;
      test.each<[what: string, replacement: unknown]>([
        ['status 99', { status: 99 }],
        ['status 600', { status: 600 }],
        ['a status that is text', { status: '429' }],
        ['a body without JSON', { body: circular }],
        ['a body with a bigint', { body: { n: 1n } }],
        ['a body that is a number', { body: 7 }],
        ['null', null],
        ['text', 'slow down'],
      ])(
        'refuses as usual, with one warning, when `onRefused` returns %s',
        async (_, replacement) => {
          const limiter = perHour(1);
          const warnings = await withoutWarnings(async () => {
            const onRefused = (): never => replacement as never;
            const origin = await serve(limiter, { identify: anna, onRefused });
            await fetch(origin);
            const refused = await fetch(origin);
            expect(refused.status).toBe(429);
            expect(await refused.json()).toMatchObject({ status: 429 });
          });
          expect(warnings).toHaveLength(1);
        },
      );

      test.each([204, 304])('refuses with status %i and no body', async (status) => {
        const limiter = perHour(1);
        const origin = await serve(limiter, { identify: anna, onRefused: () => ({ status }) });
        await fetch(origin);
        const refused = await fetch(origin);
        expect([refused.status, await refused.text()]).toEqual([status, '']);
      });
    });

    test('writes the fields on the answer to an error of the handler', async () => {
      const origin = await serve(perHour(5), { identify: anna }, async () => {
        throw Object.assign(new Error('broken'), { headers: { 'x-own': 'kept' } });
      });
      const response = await fetch(origin);
      expect(response.status).toBe(500);
      const expected = framework.answersErrors === false ? null : '"default";r=4;t=720';
      expect(response.headers.get('ratelimit')).toBe(expected);
    });

    const { responseOf } = framework;
    test.runIf(responseOf !== undefined)(
      'keeps a request charged when its client goes away while the body waits for it',
      async () => {
        const limiter = perHour(2);
        const origin = await serve(limiter, { identify: anna, count: 'failures' }, async () => ({
          status: 200,
          body: 'x'.repeat(20_000_000),
        }));
        const socket = await dial(origin, '/');
        await once(socket, 'readable');
        socket.destroy();
        await seenByServer();
        expect(await left(limiter)).toBe(1);
      },
    );

    describe.runIf(responseOf !== undefined)('a verdict that arrives after the response', () => {
      /** Sends one request; `meanwhile` runs while the guard decides. Resolves with the client's view. */
      async function late(
        limiter: RateLimiter,
        meanwhile: (response: ServerResponse) => void,
        options: GuardOptions<Request> = {},
      ): Promise<{ status: number; body: string; handled: number }> {
        let handled = 0;
        const identify = async (request: Request): Promise<string> => {
          meanwhile(responseOf!(request));
          await new Promise(setImmediate);
          return 'anna';
        };
        const origin = await serve(limiter, { ...options, identify }, async () => {
          handled += 1;
          return ok();
        });
        const response = await fetch(origin);
        const body = await response.text();
        await seenByServer();
        return { status: response.status, body, handled };
      }
      const answer = (response: ServerResponse): void => {
        response.writeHead(503).end('timeout');
      };
      const refusing = async (): Promise<RateLimiter> => {
        const limiter = perHour(1);
        await limiter.allow('anna');
        return limiter;
      };

      test('is dropped, together with the request', async () => {
        const limiter = places();
        expect(await late(limiter, answer)).toEqual({ status: 503, body: 'timeout', handled: 0 });
        expect(await leftOf(limiter, 1)).toBe(1);
      });

      test('counts the response that was sent', async () => {
        const [failures, successes] = [perHour(2), perHour(2)];
        await late(failures, answer, { count: 'failures' });
        await late(successes, answer, { count: 'successes' });
        expect(await leftOf(failures, 1)).toBe(1);
        expect(await leftOf(successes, 2)).toBe(2);
      });

      test('does not refuse a request that was answered', async () => {
        const expected = { status: 503, body: 'timeout', handled: 0 };
        expect(await late(await refusing(), answer)).toEqual(expected);
      });

      test('does not cut off a response that is being written', async () => {
        const write = (response: ServerResponse): void => {
          response.writeHead(200).write('one,');
          setTimeout(() => response.end('two'), 30);
        };
        const seen = await late(await refusing(), write);
        expect(seen).toEqual({ status: 200, body: 'one,two', handled: 0 });
      });

      test('is dropped when a function of the guard fails after the response was sent', async () => {
        await withoutWarnings(async () => {
          const cost = (): never => {
            throw new Error('no cost');
          };
          const seen = await late(perHour(1), answer, { cost });
          expect(seen).toEqual({ status: 503, body: 'timeout', handled: 0 });
        });
      });

      test('frees the place when a field cannot be written', async () => {
        const limiter = places();
        await withoutWarnings(async () => {
          const origin = await serve(limiter, {
            identify: async (request) => {
              const response = responseOf!(request);
              const { setHeader } = response;
              response.setHeader = (name, value) => {
                if (name.toLowerCase() === 'x-own') throw new Error('not here');
                return setHeader.call(response, name, value);
              };
              return 'anna';
            },
            headers: () => ({ 'X-Own': 'x' }),
          });
          await fetch(origin).then(
            (response) => response.text(),
            () => {},
          );
          expect(await leftOf(limiter, 1)).toBe(1);
        });
      });
    });
  });
}

/** Waits until a server of this process has read its sockets and acted on them. */
async function seenByServer(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
