import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { GuardOptions, RefusalResponse } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import type { ErrorHandling, Framework, Served } from './framework.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

/** How every adapter lets requests wait for their turn. */
export function waitContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, requests that wait: ${framework.name}`, () => {
    const open: Served[] = [];
    afterAll(async () => {
      await Promise.all(open.map((served) => served.close()));
    });

    /** Serves under a limit of one request a minute. */
    async function serve(
      wait: { timeoutMs: number; maxQueue?: number },
      more: Pick<GuardOptions<Request>, 'count' | 'negotiate' | 'onRefused' | 'waitUntil'> = {},
      errors?: ErrorHandling,
    ): Promise<{
      origin: string;
      clock: ManualClock;
      limiter: RateLimiter;
      refusals: RefusalResponse[];
      call(accept?: string): Promise<Response>;
      /** Resolves once so many requests have been decided, or wait. */
      arrived(count: number): Promise<void>;
      handled(): number;
    }> {
      const clock = new ManualClock();
      const limiter = new RateLimiter({
        store: new MemoryStore({ clock }),
        rate: 1,
        period: '1m',
      });
      let arrivals = 0;
      let handled = 0;
      const refusals: RefusalResponse[] = [];
      const options: GuardOptions<Request> = {
        wait,
        identify: () => {
          arrivals += 1;
          return 'anna';
        },
        onRefused: (_, refusal) => {
          refusals.push(refusal);
          return undefined;
        },
        ...more,
      };
      const handler = async () => {
        handled += 1;
        return { status: 200, body: 'done' };
      };
      const guards = [[limiter, options]] as const;
      const served = await framework.serve([{ path: '/', guards, handler }], errors);
      open.push(served);
      const { origin } = served;
      return {
        origin,
        clock,
        limiter,
        refusals,
        call: (accept) => fetch(`${origin}/`, accept === undefined ? {} : { headers: { accept } }),
        async arrived(count) {
          await eventually(async () => expect(arrivals).toBe(count));
          await new Promise(setImmediate); // a store in memory decides in this turn
        },
        handled: () => handled,
      };
    }

    test('lets a request pass when its turn comes', async () => {
      const { call, clock, arrived, handled } = await serve({ timeoutMs: 60_000 });
      expect((await call()).status).toBe(200);
      const waiting = call();
      await arrived(2);
      clock.advance('59s');
      await new Promise(setImmediate);
      expect(handled()).toBe(1);
      clock.advance('1s');
      const response = await waiting;
      expect([response.status, await response.text()]).toEqual([200, 'done']);
      expect(response.headers.get('ratelimit')).toBe('"default";r=0;t=60');
      expect(handled()).toBe(2);
    });

    test('refuses at once a request whose turn comes too late', async () => {
      const { call, handled } = await serve({ timeoutMs: 59_999 });
      await call();
      const refused = await call();
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
      expect(refused.headers.get('ratelimit')).toBe('"default";r=0;t=60');
      expect(await refused.json()).not.toHaveProperty('detail');
      expect(handled()).toBe(1);
    });

    test('refuses a request that waited in vain like any other', async () => {
      const { call, clock, arrived, handled, refusals } = await serve({ timeoutMs: 60_000 });
      await call();
      const first = call();
      await arrived(2);
      const second = call();
      await arrived(3);
      clock.advance('60s');
      expect((await first).status).toBe(200);
      const refused = await second;
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
      expect(refused.headers.get('ratelimit')).toBe('"default";r=0;t=60');
      expect(await refused.json()).not.toHaveProperty('detail');
      expect(refusals[0]).not.toHaveProperty('isQueueFull');
      expect(handled()).toBe(2);
    });

    test('refuses at once, and says so, when the queue is full', async () => {
      const { call, clock, arrived, refusals } = await serve({ timeoutMs: 60_000, maxQueue: 0 });
      await call();
      const waiting = call();
      await arrived(2);
      const refused = await call();
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
      expect(refused.headers.get('ratelimit')).toBe('"default";r=0;t=60');
      expect(refused.headers.get('content-type')).toBe('application/problem+json');
      expect(await refused.json()).toEqual({
        type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
        title: 'Request cannot be satisfied as assigned quota has been exceeded',
        status: 429,
        'violated-policies': ['default'],
        detail: 'As many requests of this client as may wait for their turn do so already.',
      });
      expect(refusals).toMatchObject([{ isQueueFull: true, decision: { reason: 'limited' } }]);
      clock.advance('60s');
      expect((await waiting).status).toBe(200);
    });

    test('gives back what a request that waited does not count, and says so to `waitUntil`', async () => {
      const works: Promise<void>[] = [];
      const { call, clock, arrived, limiter } = await serve(
        { timeoutMs: 60_000 },
        { count: ({ status }) => status >= 400, waitUntil: (work) => void works.push(work) },
      );
      await limiter.allow('anna');
      const waiting = call();
      await arrived(1);
      expect(works).toEqual([]);
      clock.advance('60s');
      expect((await waiting).status).toBe(200);
      expect(works).toHaveLength(1);
      await works[0];
      expect((await limiter.peek('anna')).remaining).toBe(1);
    });

    test("throws the refusal of a full queue and of a request that waited in vain, with `onRefused: 'throw'`", async () => {
      const { call, clock, arrived, handled } = await serve(
        { timeoutMs: 60_000, maxQueue: 1 },
        { onRefused: 'throw' },
        'as the error says',
      );
      await call();
      const first = call();
      await arrived(2);
      const inVain = call();
      await arrived(3);
      const tooMany = await call();
      clock.advance('60s');
      expect((await first).status).toBe(200);
      for (const refused of [tooMany, await inVain]) {
        expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
        expect(refused.headers.get('ratelimit')).toBe('"default";r=0;t=60');
      }
      expect(handled()).toBe(2);
    });

    test('answers a full queue with a page for browsers', async () => {
      const { call, clock, arrived } = await serve(
        { timeoutMs: 60_000, maxQueue: 0 },
        { negotiate: true },
      );
      await call();
      const waiting = call();
      await arrived(2);
      const refused = await call('text/html');
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60']);
      expect(refused.headers.get('content-type')).toMatch(/^text\/html/);
      expect(await refused.text()).toContain('<h1>');
      clock.advance('60s');
      expect((await waiting).status).toBe(200);
    });

    test('hands the error to the framework when the limiter is closed', async () => {
      const { call, arrived, handled, limiter } = await serve({ timeoutMs: 60_000 });
      await call();
      const waiting = [call(), call()];
      await arrived(3);
      await limiter.close();
      const statuses = (await Promise.all(waiting)).map(({ status }) => status);
      expect([...statuses, (await call()).status]).toEqual([500, 500, 500]);
      expect(handled()).toBe(1);
    });

    test.each([
      ['closed', 503],
      ['open', 200],
      ['throw', 500],
    ] as const)(
      'lets no request wait while the store is away under failStrategy %s',
      async (failStrategy, status) => {
        const redis = 'redis://127.0.0.1:1'; // has no listener
        const limiter = new RateLimiter({ redis, rate: 1, period: '1m', failStrategy });
        const wait = { timeoutMs: 600_000 };
        const guards = [[limiter, { wait, identify: () => 'anna' }]] as const;
        const handler = async () => ({ status: 200, body: 'done' });
        const served = await framework.serve([{ path: '/', guards, handler }]);
        open.push(served);
        const answers = await Promise.all([1, 2, 3].map(() => fetch(`${served.origin}/`)));
        expect(answers.map((answer) => answer.status)).toEqual([status, status, status]);
        await limiter.close();
      },
    );

    test.each([
      ['the first in its queue', 0],
      ['behind another one', 1],
    ])('charges no request whose client leaves, %s', async (_, before) => {
      const { origin, call, clock, arrived, handled, limiter, refusals } = await serve({
        timeoutMs: 300_000,
      });
      await call();
      const others = Array.from({ length: before }, () => call());
      await arrived(1 + before);
      const socket = connect(Number(new URL(origin).port), '127.0.0.1');
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await arrived(2 + before);
      socket.destroy();
      await once(socket, 'close');
      await sleep(30); // until the server has noticed
      for (let i = 0; i <= before; i++) {
        clock.advance('1m');
        await Promise.all(others.slice(0, i + 1));
        await new Promise(setImmediate);
      }
      expect((await limiter.peek('anna')).remaining).toBe(1);
      expect(handled()).toBe(1 + before);
      expect(refusals).toEqual([]);
      expect((await call()).status).toBe(200);
    });
  });
}
