import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { GuardOptions, RefusalResponse } from 'distributed-rate-limiter/http';
import type { Framework, Served } from './framework.ts';

const BROWSER =
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';
const PAGE = 'text/html; charset=utf-8';
const TEXT = 'text/plain; charset=utf-8';
const PROBLEM = 'application/problem+json';

/** How every adapter answers by the request's `Accept`, under `negotiate`. */
export function pageContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, forms of refusals: ${framework.name}`, () => {
    const open: Served[] = [];
    let away: RateLimiter;
    beforeAll(() => {
      // Port 1 of loopback has no listener.
      const redis = 'redis://127.0.0.1:1';
      away = new RateLimiter({ redis, rate: 1, period: '1m', failStrategy: 'closed' });
    });
    afterAll(async () => {
      await Promise.all([...open.map((served) => served.close()), away.close()]);
    });

    const HOSTILE = `anna<script>alert("1")</script>&'`;
    const perMinute = (): RateLimiter =>
      new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1m' });

    async function serve(
      limiter: RateLimiter,
      options: GuardOptions<Request>,
    ): Promise<(accept: string, init?: RequestInit) => Promise<Response>> {
      const guards = [[limiter, { identify: () => HOSTILE, ...options }]] as const;
      const handler = async () => ({ status: 200, body: 'done' });
      const served = await framework.serve([{ path: '/', guards, handler }]);
      open.push(served);
      return (accept, init) =>
        fetch(`${served.origin}/?<b>`, { ...init, headers: { accept, 'x-user': '<b>anna</b>' } });
    }

    test.each([
      [BROWSER, PAGE],
      ['text/plain', TEXT],
      ['text/html;q=0.5, text/plain', TEXT],
      ['*/*', PROBLEM],
      ['application/json', PROBLEM],
      ['image/png', PROBLEM],
    ])('refuses a request that accepts %s with %s', async (accept, type) => {
      const call = await serve(perMinute(), { negotiate: true });
      const passed = await call(accept);
      expect([passed.status, passed.headers.get('vary')]).toEqual([200, null]);
      const refused = await call(accept);
      expect([refused.status, refused.headers.get('content-type')]).toEqual([429, type]);
      expect(refused.headers.get('vary')).toBe('Accept');
      expect(refused.headers.get('retry-after')).toMatch(/^(?:59|60)$/);
      expect(refused.headers.get('ratelimit')).toMatch(/^"default";r=0/);
      const body = await refused.text();
      expect(body).not.toMatch(/anna|script|<b>/);
      expect(body).toContain(
        type === PROBLEM ? '#quota-exceeded' : 'You have sent too many requests. Try again in ',
      );
      expect(body.startsWith('<!doctype html>')).toBe(type === PAGE);
    });

    test('answers HEAD with the type of the page and no body', async () => {
      const call = await serve(perMinute(), { negotiate: true });
      await call(BROWSER);
      const refused = await call(BROWSER, { method: 'HEAD' });
      expect([refused.status, await refused.text()]).toEqual([429, '']);
      expect(refused.headers.get('content-type')).toBe(PAGE);
    });

    test.each<[status: number, says: string, given: () => [RateLimiter, GuardOptions<Request>]]>([
      [
        400,
        'This request does not say who makes it.',
        () => [perMinute(), { identify: () => undefined }],
      ],
      [503, 'This request cannot be checked at present. Try again later.', () => [away, {}]],
    ])('sends a page with status %i', async (status, says, given) => {
      const [limiter, options] = given();
      const call = await serve(limiter, { ...options, negotiate: true });
      const refused = await call(BROWSER);
      expect([refused.status, refused.headers.get('content-type')]).toEqual([status, PAGE]);
      expect(await refused.text()).toContain(`<p>${says}</p>`);
    });

    test.each([undefined, false])('sends the problem with `negotiate: %s`', async (negotiate) => {
      const call = await serve(perMinute(), negotiate === undefined ? {} : { negotiate });
      await call(BROWSER);
      const refused = await call(BROWSER);
      expect(refused.headers.get('content-type')).toBe(PROBLEM);
      expect(refused.headers.get('vary')).toBeNull();
      expect(await refused.json()).toMatchObject({ status: 429 });
    });

    test('shows the page to `onRefused`, whose own fields and status are sent with it', async () => {
      const seen: RefusalResponse[] = [];
      const call = await serve(perMinute(), {
        negotiate: true,
        onRefused: (_, refusal) => {
          seen.push(refusal);
          return undefined;
        },
      });
      await call(BROWSER);
      const refused = await call(BROWSER);
      expect(seen).toHaveLength(1);
      expect(await refused.text()).toBe(seen[0]!.body);
      expect(Object.fromEntries(seen[0]!.headers)).toMatchObject({
        'Content-Type': PAGE,
        Vary: 'Accept',
      });
    });
  });
}
