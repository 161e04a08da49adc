import { afterAll, describe, expect, test, vi } from 'vitest';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { decisionOf } from 'distributed-rate-limiter/http';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import type { Framework, Handler, Served } from './framework.ts';

const hour = { period: '1h' } as const;
const rpm = tokenBucket({ name: 'rpm', by: ['org', 'user'], rate: 10, ...hour });
const tpm = tokenBucket({ name: 'tpm', by: 'org', unit: 'tokens', rate: 100, ...hour });
const bytes = tokenBucket({ name: 'all', by: [], unit: 'content_bytes', rate: 1_000, ...hour });
const places = concurrency({ name: 'open', by: 'org', max: 2, ttl: '30s' });

type AnyLimits = readonly Limit<string, string, string>[];
type Parts = Readonly<Record<string, string | null | undefined>>;

/** Limits by part and by unit, as every adapter has to treat them. */
export function unitsContract<Request extends object>(framework: Framework<Request>): void {
  describe(`contract of adapters, parts and units: ${framework.name}`, () => {
    const open: Served[] = [];
    afterAll(async () => {
      await Promise.all(open.map((served) => served.close()));
    });

    function limiterOf(limits: AnyLimits): RateLimiter<string, string> {
      const store = new MemoryStore({ clock: new ManualClock() });
      return new RateLimiter({ store, limits });
    }

    function header(request: Request, name: string): string | undefined {
      return framework.header(request, name);
    }

    /** The parts of a request: `x-org`, and `x-user` or null. */
    function identify(request: Request): Parts {
      return { org: header(request, 'x-org'), user: header(request, 'x-user') ?? null };
    }

    async function serve(
      limiter: RateLimiter<string, string>,
      options: object,
      handler: Handler<Request> = async () => ({ status: 200, body: 'done' }),
    ): Promise<(parts: Parts, fields?: Record<string, string>) => Promise<Response>> {
      // The framework passes both on, whatever the limits; test/unit/types has the types of each adapter.
      const guard = [limiter, options] as unknown as [RateLimiter, GuardOptions<Request>];
      const served = await framework.serve([{ path: '/', guards: [guard], handler }]);
      open.push(served);
      return (parts, fields) =>
        fetch(`${served.origin}/`, {
          headers: {
            ...Object.fromEntries(
              Object.entries(parts).map(([name, part]) => [`x-${name}`, String(part)]),
            ),
            ...fields,
          },
        });
    }

    const left = async (limiter: RateLimiter<string, string>, parts: Parts): Promise<unknown> =>
      (await limiter.peek(parts as never, { cost: 0 })).limits.map(({ remaining }) => remaining);

    const tokensOf = (request: Request): { tokens: number } => ({
      tokens: Number(header(request, 'x-tokens') ?? 0),
    });

    test('charges the parts of a request the units that its cost names', async () => {
      const limiter = limiterOf([rpm, tpm]);
      const call = await serve(limiter, { identify, cost: tokensOf });
      const response = await call({ org: 'acme', user: 'anna' }, { 'x-tokens': '30' });
      expect([response.status, await response.text()]).toEqual([200, 'done']);
      await call({ org: 'acme', user: 'ben' }, { 'x-tokens': '20' });
      expect(await left(limiter, { org: 'acme', user: 'anna' })).toEqual([9, 50]);
      expect(await left(limiter, { org: 'other', user: 'anna' })).toEqual([10, 100]);
    });

    test('refuses by the unit that is used up, and charges nothing', async () => {
      const limiter = limiterOf([rpm, tpm]);
      const call = await serve(limiter, { identify, cost: tokensOf });
      await call({ org: 'acme', user: 'anna' }, { 'x-tokens': '90' });
      const response = await call({ org: 'acme', user: 'ben' }, { 'x-tokens': '15' });
      expect(response.status).toBe(429);
      expect(response.headers.get('retry-after')).toBe('180');
      expect(await response.json()).toMatchObject({ 'violated-policies': ['tpm'] });
      expect(await left(limiter, { org: 'acme', user: 'ben' })).toEqual([10, 10]);
    });

    test('announces each limit, with `qu` only for units of the registry', async () => {
      const limiter = limiterOf([rpm, tpm, bytes, places]);
      const cost = { tokens: 5, content_bytes: 50 };
      const call = await serve(limiter, { identify, cost });
      const { headers } = await call({ org: 'acme', user: 'anna' });
      expect(headers.get('ratelimit-policy')).toBe(
        '"rpm";q=10;w=3600, "tpm";q=100;w=3600, "all";q=1000;qu="content-bytes";w=3600, "open";q=2;qu="concurrent-requests"',
      );
      expect(headers.get('ratelimit')).toBe(
        '"rpm";r=9;t=360, "tpm";r=95;t=180, "all";r=950;t=180, "open";r=1',
      );
    });

    test('tells a partition key for each set of parts, and none for a counter of all', async () => {
      const limiter = limiterOf([rpm, tpm, bytes]);
      const cost = { tokens: 1 };
      const call = await serve(limiter, { identify, cost, partitionSecret: 's'.repeat(32) });
      const partitions = async (parts: Parts): Promise<(string | undefined)[]> =>
        (await call(parts)).headers
          .get('ratelimit')!
          .split(', ')
          .map((item) => /;pk=:([A-Za-z0-9+/]{16}):/.exec(item)?.[1]);
      // The call asks for no bytes, and is told of the limits that it asked.
      const [anna, org, ...none] = await partitions({ org: 'acme', user: 'anna' });
      const [ben, same] = await partitions({ org: 'acme', user: 'ben' });
      const [, other] = await partitions({ org: 'other', user: 'anna' });
      expect(none).toEqual([]);
      expect(same).toBe(org);
      expect(new Set([anna, ben, org, other]).size).toBe(4);
    });

    test('has no partition key for limits by no part', async () => {
      const call = await serve(limiterOf([bytes, tpm]), {
        identify: (request: Request) => ({ org: header(request, 'x-org') }),
        cost: { content_bytes: 1, tokens: 1 },
        partitionSecret: 's'.repeat(32),
      });
      const { headers } = await call({ org: 'acme' });
      expect(headers.get('ratelimit')).toMatch(
        /^"all";r=999;t=4, "tpm";r=99;t=36;pk=:[A-Za-z0-9+/]{16}:$/,
      );
    });

    test('speaks of the limit that a caller feels first in formats of one limit', async () => {
      const limiter = limiterOf([rpm, tpm]);
      const call = await serve(limiter, { identify, cost: tokensOf, headers: 'draft-7' });
      const { headers } = await call({ org: 'acme', user: 'anna' }, { 'x-tokens': '40' });
      expect(headers.get('ratelimit')).toBe('limit=100, remaining=60, reset=1440');
    });

    test('leaves out the limits by a part that is null', async () => {
      const limiter = limiterOf([rpm, tpm]);
      const call = await serve(limiter, { identify, cost: { tokens: 5 } });
      const { status, headers } = await call({ org: 'acme' });
      expect([status, headers.get('ratelimit')]).toEqual([200, '"tpm";r=95;t=180']);
    });

    test.each<[string, () => unknown]>([
      ['lacks a part', () => ({ org: 'anna' })],
      ['has a part that no limit counts by', () => ({ org: 'anna', user: 'a', ip: 'b' })],
      ['is whole', () => 'anna'],
      ['has only parts that are null', () => ({ org: null, user: null })],
    ])('answers 400 when an identity %s, and warns once without a part', async (_, given) => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      try {
        const call = await serve(limiterOf([rpm, tpm]), { identify: given, unidentified: 'pass' });
        for (let i = 0; i < 2; i++) {
          const { status, headers } = await call({});
          expect([status, headers.get('ratelimit')]).toEqual([400, null]);
        }
        expect(warn.mock.calls).toEqual([
          [expect.any(String), { type: 'RateLimiterWarning', code: 'DRL_INVALID_IDENTITY' }],
        ]);
        expect(JSON.stringify(warn.mock.calls)).not.toContain('anna');
      } finally {
        warn.mockRestore();
      }
    });

    test('hands the decision with its cost and units to the handler', async () => {
      const limiter = limiterOf([rpm, tpm]);
      const call = await serve(limiter, { identify, cost: tokensOf }, async (request) => ({
        status: 200,
        body: JSON.stringify(decisionOf(request)),
      }));
      const response = await call({ org: 'acme', user: 'anna' }, { 'x-tokens': '5' });
      expect(await response.json()).toMatchObject({
        cost: { calls: 1, tokens: 5 },
        limits: [
          { name: 'rpm', by: ['org', 'user'], unit: 'calls', remaining: 9 },
          { name: 'tpm', by: ['org'], unit: 'tokens', remaining: 95 },
        ],
      });
    });

    test('refunds every unit of a request that does not count', async () => {
      const limiter = limiterOf([rpm, tpm]);
      const call = await serve(limiter, { identify, cost: tokensOf, count: 'failures' });
      await (await call({ org: 'acme', user: 'anna' }, { 'x-tokens': '5' })).text();
      await vi.waitFor(async () => {
        expect(await left(limiter, { org: 'acme', user: 'anna' })).toEqual([10, 100]);
      });
    });

    test.each<[string, object, string]>([
      ['a number where units are named', { cost: 5 }, '`cost` must name the units'],
      ['an unknown unit', { cost: { token: 5 } }, 'got "token"'],
    ])('refuses a constant cost before the first request: %s', async (_, options, message) => {
      await expect(serve(limiterOf([rpm, tpm]), { identify, ...options })).rejects.toThrow(message);
    });
  });
}
