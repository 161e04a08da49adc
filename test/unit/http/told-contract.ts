import { afterAll, describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import type { Framework, Served } from './framework.ts';

/** What every adapter tells of refused requests, so that logs stay short. */
export function toldContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, refusals told: ${framework.name}`, () => {
    const open: Served[] = [];
    afterAll(async () => {
      await Promise.all(open.map((served) => served.close()));
    });

    async function serve(limiter: RateLimiter): Promise<(user: string) => Promise<Response>> {
      const identify = (request: Request) => framework.header(request, 'x-user');
      const handler = async () => ({ status: 200, body: 'done' });
      const guards = [[limiter, { identify }]] as const;
      const served = await framework.serve([{ path: '/', guards, handler }]);
      open.push(served);
      return (user) => fetch(`${served.origin}/`, { headers: { 'x-user': user } });
    }

    test('tells `onBlock` each refusal, and that of one identity once a minute as new', async () => {
      const clock = new ManualClock();
      const told: [user: unknown, reason: string, repeated: boolean][] = [];
      const limiter = new RateLimiter({
        store: new MemoryStore({ clock }),
        rate: 1,
        period: '1h',
        onBlock: (who, { reason, repeated }) => void told.push([who, reason, repeated]),
      });
      const call = await serve(limiter);
      const ask = async (users: readonly string[]): Promise<void> => {
        for (const each of users) await (await call(each)).text();
      };
      await ask(['anna', 'anna', 'anna', 'ben', 'ben', 'ben', 'anna']);
      clock.advance('59999ms');
      await ask(['anna']);
      clock.advance('1ms');
      await ask(['anna', 'anna', 'ben', 'ben']);
      expect(told).toEqual([
        ['anna', 'limited', false],
        ['anna', 'limited', true],
        ['ben', 'limited', false],
        ['ben', 'limited', true],
        ['anna', 'limited', true],
        ['anna', 'limited', true],
        ['anna', 'limited', false],
        ['anna', 'limited', true],
        ['ben', 'limited', false],
        ['ben', 'limited', true],
      ]);
    });

    test('tells `onBlock` once a minute that the store is away', async () => {
      const told: [reason: string, repeated: boolean][] = [];
      const limiter = new RateLimiter({
        redis: 'redis://127.0.0.1:1',
        rate: 1,
        period: '1m',
        failStrategy: 'closed',
        onBlock: (_, { reason, repeated }) => void told.push([reason, repeated]),
      });
      const call = await serve(limiter);
      expect([(await call('anna')).status, (await call('anna')).status]).toEqual([503, 503]);
      expect(told.map(([, repeated]) => repeated)).toEqual([false, true]);
      await limiter.close();
    });
  });
}
