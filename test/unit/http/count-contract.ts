import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { EndedResponse, GuardOptions } from 'distributed-rate-limiter/http';
import { deferred } from './deferred.ts';
import type { Answer, Framework, Handler, Served } from './framework.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

/** How every adapter counts by a function of the response, and what it leaves to do after the response. */
export function countContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, counting by response: ${framework.name}`, () => {
    const open: Served[] = [];
    afterAll(async () => {
      await Promise.all(open.map((served) => served.close()));
    });

    const identify = (): string => 'anna';
    const perHour = (rate: number): RateLimiter =>
      new RateLimiter({ store: new MemoryStore(), rate, period: '1h' });
    const places = (): RateLimiter =>
      new RateLimiter({ store: new MemoryStore(), limits: [concurrency({ max: 1, ttl: '30s' })] });
    const left = async (limiter: RateLimiter): Promise<number | undefined> =>
      (await limiter.peek('anna')).remaining;
    const becomes = (limiter: RateLimiter, remaining: number): Promise<void> =>
      eventually(async () => expect(await left(limiter)).toBe(remaining));
    const answering =
      (status: number): Handler<Request> =>
      async () => ({ status, body: 'x' });

    async function serve(
      limiter: RateLimiter,
      options: GuardOptions<Request>,
      handler: Handler<Request>,
    ): Promise<string> {
      const guards = [[limiter, { identify, ...options }]] as const;
      const served = await framework.serve([{ path: '/', guards, handler }]);
      open.push(served);
      return served.origin;
    }

    async function statusOf(origin: string): Promise<number> {
      const response = await fetch(origin, { headers: { 'x-user': 'anna' } });
      await response.text();
      return response.status;
    }

    async function warningsIn(run: () => Promise<void>): Promise<unknown[][]> {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      try {
        await run();
        return warn.mock.calls;
      } finally {
        warn.mockRestore();
      }
    }

    const wrongPassword = ({ status }: EndedResponse): boolean => status === 401;
    test.each<[how: string, count: NonNullable<GuardOptions<Request>['count']>]>([
      ['returns', wrongPassword],
      ['resolves with', async (response) => wrongPassword(response)],
    ])('counts a response for which `count` %s true, and no other', async (_, count) => {
      const limiter = perHour(3);
      expect(await statusOf(await serve(limiter, { count }, answering(401)))).toBe(401);
      expect(await statusOf(await serve(limiter, { count }, answering(500)))).toBe(500);
      expect(await statusOf(await serve(limiter, { count }, answering(200)))).toBe(200);
      await becomes(limiter, 2);
    });

    test('hands `count` the response and its request', async () => {
      const seen: [status: number, response: unknown, user: string | undefined][] = [];
      const count = ({ status, response }: EndedResponse, request: Request): boolean => {
        seen.push([status, response, framework.header(request, 'x-user')]);
        return true;
      };
      await statusOf(await serve(perHour(1), { count }, answering(404)));
      await eventually(async () => expect(seen).toHaveLength(1));
      const own = expect.objectContaining(
        framework.responseOf === undefined ? { status: 404 } : { statusCode: 404 },
      );
      expect(seen).toEqual([[404, own, 'anna']]);
    });

    test.each<[how: string, count: () => unknown]>([
      [
        'throws',
        () => {
          throw new Error('secret');
        },
      ],
      ['rejects', () => Promise.reject(new Error('secret'))],
      ['returns nothing', () => undefined],
      ['returns 1', () => 1],
      ['resolves with nothing', async () => {}],
    ])('counts a response for which `count` %s, with one warning', async (_, count) => {
      const limiter = perHour(3);
      const warnings = await warningsIn(async () => {
        let calls = 0;
        const counting = (): never => {
          calls += 1;
          return count() as never;
        };
        const origin = await serve(limiter, { count: counting }, answering(200));
        expect([await statusOf(origin), await statusOf(origin)]).toEqual([200, 200]);
        await eventually(async () => expect(calls).toBe(2));
        await new Promise(setImmediate);
        expect(await left(limiter)).toBe(1);
      });
      expect(warnings).toEqual([
        [
          expect.stringContaining('`count` failed for a request, which counts.'),
          { type: 'RateLimiterWarning', code: 'DRL_HOOK_FAILED' },
        ],
      ]);
      expect(JSON.stringify(warnings)).not.toContain('secret');
    });

    test('counts an aborted request without asking `count`', async () => {
      const limiter = perHour(2);
      const arrived = deferred<void>();
      const answer = deferred<Answer>();
      let asked = 0;
      const count = (): boolean => {
        asked += 1;
        return false;
      };
      const works: Promise<void>[] = [];
      const waitUntil = (work: Promise<void>): void => void works.push(work);
      const origin = await serve(limiter, { count, waitUntil }, () => {
        arrived.resolve();
        return answer.promise;
      });
      const socket = connect(Number(new URL(origin).port), '127.0.0.1');
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await arrived.promise;
      socket.destroy();
      await once(socket, 'close');
      await works[0]; // the guard knows that the client has gone
      answer.resolve({ status: 200, body: 'late' });
      expect([asked, await left(limiter)]).toEqual([0, 1]);
    });

    describe('`waitUntil`', () => {
      test.each<[what: string, limiter: RateLimiter, options: GuardOptions<Request>]>([
        ['refunds a charge', perHour(1), { count: 'failures' }],
        ['refunds a charge by an async `count`', perHour(1), { count: async () => false }],
        ['frees a place', places(), {}],
      ])('gets a promise that resolves once the guard %s', async (_, limiter, options) => {
        const works: [work: Promise<void>, user: string | undefined][] = [];
        const leftAfter: Promise<number | undefined>[] = [];
        const waitUntil = (work: Promise<void>, request: Request): void => {
          works.push([work, framework.header(request, 'x-user')]);
          leftAfter.push(work.then(() => left(limiter)));
        };
        let during: [works: number, left: number | undefined] | undefined;
        const origin = await serve(limiter, { ...options, waitUntil }, async () => {
          during = [works.length, await left(limiter)];
          return { status: 200, body: 'x' };
        });
        expect(await statusOf(origin)).toBe(200);
        expect(during).toEqual([1, 0]); // called before the handler, and pending in it
        expect(await Promise.all(leftAfter)).toEqual([1]);
        expect(works.map(([, user]) => user)).toEqual(['anna']);
      });

      test('is not called when there is nothing to give back, or the request is refused', async () => {
        let calls = 0;
        const waitUntil = (): void => void (calls += 1);
        const all = await serve(perHour(1), { waitUntil }, answering(200));
        expect([await statusOf(all), await statusOf(all)]).toEqual([200, 429]);
        expect(calls).toBe(0);
      });

      test('that throws costs nothing, with one warning', async () => {
        const limiter = perHour(3);
        const warnings = await warningsIn(async () => {
          const waitUntil = (): never => {
            throw new Error('no context');
          };
          const origin = await serve(limiter, { count: 'failures', waitUntil }, answering(200));
          expect([await statusOf(origin), await statusOf(origin)]).toEqual([200, 200]);
          await becomes(limiter, 3);
        });
        expect(warnings).toMatchObject([
          [expect.stringContaining('`waitUntil` failed'), { code: 'DRL_HOOK_FAILED' }],
        ]);
      });
    });
  });
}
