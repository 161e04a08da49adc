import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { GuardOptions, RefusalResponse } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import type { Framework, Served } from './framework.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

/** How every adapter lets requests wait for their turn. */
export function waitContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, requests that wait: ${framework.name}`, () => {
    const open: Served[] = [];
    afterAll(async () => {
      await Promise.all(open.map((served) => served.close()));
    });

    /** Serves under a limit of one request a minute. */
    async function serve(wait: { timeoutMs: number; maxQueue?: number }): Promise<{
      origin: string;
      clock: ManualClock;
      limiter: RateLimiter;
      refusals: RefusalResponse[];
      call(): Promise<Response>;
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
      };
      const handler = async () => {
        handled += 1;
        return { status: 200, body: 'done' };
      };
      const served = await framework.serve([{ path: '/', guards: [[limiter, options]], handler }]);
      open.push(served);
      const { origin } = served;
      return {
        origin,
        clock,
        limiter,
        refusals,
        call: () => fetch(`${origin}/`),
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
