import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  concurrency,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  tokenBucket,
} from 'distributed-rate-limiter';
import { decisionOf } from 'distributed-rate-limiter/http';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { parseList } from 'structured-headers';
import { countContract } from './count-contract.ts';
import { deferred } from './deferred.ts';
import type { Answer, ErrorHandling, Framework, Handler, Served } from './framework.ts';
import { lifeContract } from './life-contract.ts';
import { unitsContract } from './units-contract.ts';
import { pageContract } from './page-contract.ts';
import { toldContract } from './told-contract.ts';
import { waitContract } from './wait-contract.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

/** An error like those of a database driver. */
class ObjectId {
  readonly hex = 'anna';
}

const QUOTA_EXCEEDED = 'https://iana.org/assignments/http-problem-types#quota-exceeded';

/** The contract of every adapter, through real sockets. */
export function frameworkContract<Request extends object>(framework: Framework<Request>): void {
  const ok = async (): Promise<Answer> => ({ status: 200, body: 'done' });
  const user = (request: Request): string | undefined => framework.header(request, 'x-user');

  /** Serves one route, with these guards around its handler. */
  async function serve(
    guards: readonly (readonly [RateLimiter, GuardOptions<Request>?])[],
    handler: Handler<Request> = ok,
    errors: ErrorHandling = '500',
  ): Promise<Served & { call: (init?: RequestInit & { user?: string }) => Promise<Response> }> {
    const served = await framework.serve([{ path: '/', guards, handler }], errors);
    const call = (init: RequestInit & { user?: string } = {}): Promise<Response> =>
      fetch(`${served.origin}/`, {
        ...init,
        headers: { ...(init.headers as Record<string, string>), 'x-user': init.user ?? 'anna' },
      });
    open.push(served);
    return { ...served, call };
  }

  lifeContract(framework);
  countContract(framework);
  unitsContract(framework);
  pageContract(framework);
  waitContract(framework);
  toldContract(framework);

  const open: Served[] = [];
  const clock = new ManualClock();
  const inMemory = (rate: number): RateLimiter =>
    new RateLimiter({ store: new MemoryStore({ clock }), rate, period: '1m' });
  const withLimits = (...limits: Parameters<typeof given>[0]): RateLimiter => given(limits);
  const given = (limits: RateLimiter['limits']): RateLimiter =>
    new RateLimiter({ store: new MemoryStore({ clock }), limits });

  /** Resolves once `condition` holds, because some effects follow after the response has been read. */
  const becomes = (condition: () => Promise<boolean>): Promise<void> =>
    eventually(async () => {
      expect(await condition()).toBe(true);
    });

  describe(`contract of adapters: ${framework.name}`, () => {
    let away: RateLimiter;
    let awayAndOpen: RateLimiter;

    beforeAll(() => {
      // Port 1 of loopback has no listener.
      const redis = 'redis://127.0.0.1:1';
      away = new RateLimiter({ redis, rate: 1, period: '1m', failStrategy: 'closed' });
      awayAndOpen = new RateLimiter({ redis, rate: 1, period: '1m' });
    });
    afterAll(async () => {
      await Promise.all([
        ...open.map((served) => served.close()),
        away.close(),
        awayAndOpen.close(),
      ]);
    });

    test('lets a request through and reports what is left', async () => {
      const { call } = await serve([[inMemory(3), { identify: user }]]);
      const response = await call();
      expect([response.status, await response.text()]).toEqual([200, 'done']);
      expect(response.headers.get('ratelimit-policy')).toBe('"default";q=3;w=60');
      expect(response.headers.get('ratelimit')).toBe('"default";r=2;t=20');
      expect(response.headers.get('retry-after')).toBeNull();
    });

    test('answers 429 with a problem and a Retry-After', async () => {
      const { call } = await serve([[inMemory(1), { identify: user }]]);
      await call();
      const response = await call();
      expect(response.status).toBe(429);
      expect(response.headers.get('content-type')).toBe('application/problem+json');
      expect(response.headers.get('retry-after')).toBe('60');
      expect(response.headers.get('ratelimit')).toBe('"default";r=0;t=60');
      expect(await response.json()).toEqual({
        type: QUOTA_EXCEEDED,
        title: 'Request cannot be satisfied as assigned quota has been exceeded',
        status: 429,
        'violated-policies': ['default'],
      });
    });

    test('answers 429 until the end of a ban, with its own problem while it lasts', async () => {
      const time = new ManualClock();
      const ban = { after: 2, within: '10m', for: '15m' } as const;
      const limiter = new RateLimiter({
        store: new MemoryStore({ clock: time }),
        blocks: true,
        limits: [tokenBucket({ rate: 1, period: '1m', ban })],
      });
      const { call } = await serve([[limiter, { identify: user }]]);
      const answers = [];
      for (let i = 0; i < 4; i++) {
        const response = await call();
        const type = (await response.text()).match(/#([a-z-]+)/)?.[1];
        answers.push([response.status, response.headers.get('retry-after'), type]);
      }
      expect(answers).toEqual([
        [200, null, undefined],
        [429, '60', 'quota-exceeded'],
        [429, '900', 'quota-exceeded'],
        [429, '900', 'abnormal-usage-detected'],
      ]);
      expect((await call({ user: 'bert' })).status).toBe(200);
      time.advance('15m');
      expect((await call()).status).toBe(200);
    });

    test('never lets the handler see a refused request', async () => {
      let handled = 0;
      const { call } = await serve([[inMemory(1), { identify: user }]], async () => {
        handled += 1;
        return ok();
      });
      await Promise.all(Array.from({ length: 8 }, () => call()));
      expect(handled).toBe(1);
    });

    test('limits each identity by itself', async () => {
      const { call } = await serve([[inMemory(1), { identify: user }]]);
      const statuses = await Promise.all(
        ['anna', 'ben', 'anna', 'ben'].map(async (name) => (await call({ user: name })).status),
      );
      expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 200, 429, 429]);
    });

    test('awaits an identity and accepts one of several parts', async () => {
      const limiter = inMemory(1);
      const identify = async (request: Request): Promise<string[]> => ['acme', user(request)!];
      const { call } = await serve([[limiter, { identify }]]);
      expect((await call()).status).toBe(200);
      expect((await limiter.peek(['acme', 'anna'])).remaining).toBe(0);
    });

    const unusable: [sentence: string, identify: () => unknown][] = [
      ['undefined', () => undefined],
      ['null', () => null],
      ['empty', () => ''],
      ['a promise of nothing', async () => undefined],
    ];
    test.each(unusable)(
      'answers 400 and charges nothing when the identity is %s',
      async (_, identify) => {
        const options = { identify } as GuardOptions<Request>;
        const { call } = await serve([[inMemory(1), options]]);
        for (let i = 0; i < 2; i++) {
          const response = await call();
          expect(response.status).toBe(400);
          expect(response.headers.get('content-type')).toBe('application/problem+json');
          expect(response.headers.get('ratelimit')).toBeNull();
          expect(await response.json()).toMatchObject({ type: 'about:blank', status: 400 });
        }
      },
    );

    const wrong: [sentence: string, identify: () => unknown, names: string][] = [
      ['over-long', () => `anna${'x'.repeat(1_025)}`, 'a string of 1029 characters'],
      ['malformed', () => 'anna\ud800', 'half of a surrogate pair'],
      ['NaN', () => Number.NaN, 'NaN'],
      ['a fraction', () => 0.5, 'a number with a fraction'],
      ['-0', () => -0, '-0'],
      ['a boolean', () => false, 'type boolean'],
      ['an empty list', () => [], 'an array of 0'],
      ['a list with a hole', () => ['anna', undefined], '`identity[1]`'],
      ['a Date', () => new Date(0), 'Date'],
      ['an ObjectId', () => new ObjectId(), 'ObjectId'],
      ['an object', () => ({ id: 'anna' }), '(Object)'],
      ['a promise of a Date', async () => new Date(0), 'Date'],
    ];
    test.each(wrong)(
      'refuses a request whose identity is %s even with `unidentified: pass`, and warns once of its type',
      async (_, identify, names) => {
        const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
        try {
          const options = { identify, unidentified: 'pass' } as GuardOptions<Request>;
          const { call } = await serve([[inMemory(1), options]]);
          for (let i = 0; i < 2; i++) {
            const response = await call();
            expect(response.status).toBe(400);
            expect(response.headers.get('content-type')).toBe('application/problem+json');
            expect(response.headers.get('ratelimit')).toBeNull();
          }
          expect(warn.mock.calls).toEqual([
            [
              expect.stringContaining(names),
              { type: 'RateLimiterWarning', code: 'DRL_INVALID_IDENTITY' },
            ],
          ]);
          expect(JSON.stringify(warn.mock.calls)).not.toContain('anna');
        } finally {
          warn.mockRestore();
        }
      },
    );

    test.each([
      ['a number', 42],
      ['a bigint', 42n],
      ['a part', ['acme', 42]],
    ])('takes %s as identity by its decimal digits', async (_, identity) => {
      const limiter = inMemory(2);
      const { call } = await serve([[limiter, { identify: () => identity }]]);
      expect((await call()).headers.get('ratelimit')).toContain('r=1');
      const inText = Array.isArray(identity) ? ['acme', '42'] : '42';
      expect((await limiter.peek(inText)).remaining).toBe(1);
    });

    test.each([
      [
        'throws',
        () => {
          throw new Error('secret of anna');
        },
      ],
      ['rejects', () => Promise.reject(new Error('secret of anna'))],
    ])(
      'hands the error to the framework when `identify` %s, even with `unidentified: pass`',
      async (_, identify) => {
        let handled = 0;
        const { call } = await serve(
          [[inMemory(1), { identify, unidentified: 'pass' }]],
          async () => {
            handled += 1;
            return ok();
          },
        );
        expect([(await call()).status, (await call()).status]).toEqual([500, 500]);
        expect(handled).toBe(0);
      },
    );

    test('lets a request without an identity pass with `unidentified: pass`', async () => {
      const { call } = await serve([
        [inMemory(1), { identify: () => undefined, unidentified: 'pass' }],
      ]);
      expect([(await call()).status, (await call()).status]).toEqual([200, 200]);
    });

    test('answers 503 without invented numbers while the store is away under failStrategy closed', async () => {
      const { call } = await serve([[away, { identify: user }]]);
      const response = await call();
      expect(response.status).toBe(503);
      expect([...response.headers.keys()].filter((name) => name.includes('ratelimit'))).toEqual([]);
      expect(response.headers.get('retry-after')).toBeNull();
      expect(await response.json()).toMatchObject({
        type: 'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity',
        status: 503,
      });
    });

    test('lets requests pass without invented numbers while the store is away under failStrategy open', async () => {
      const { call } = await serve([[awayAndOpen, { identify: user }]]);
      const response = await call();
      expect(response.status).toBe(200);
      expect([...response.headers.keys()].filter((name) => name.includes('ratelimit'))).toEqual([]);
    });

    test('charges the cost of a request', async () => {
      const cost = (request: Request): number => (framework.method(request) === 'POST' ? 5 : 1);
      const { call } = await serve([[inMemory(10), { identify: user, cost }]]);
      expect((await call({ method: 'POST', body: 'x' })).headers.get('ratelimit')).toContain('r=5');
      expect((await call()).headers.get('ratelimit')).toContain('r=4');
    });

    test('announces the wait for the cost of the request', async () => {
      const { call } = await serve([[inMemory(60), { identify: user, cost: 30 }]]);
      await call();
      await call();
      expect((await call()).headers.get('retry-after')).toBe('30');
    });

    test('tells that waiting is no use for a cost that can never pass', async () => {
      const { call } = await serve([[inMemory(3), { identify: user, cost: 4 }]]);
      const response = await call();
      expect(response.status).toBe(429);
      expect(response.headers.get('retry-after')).toBeNull();
      expect(await response.json()).toMatchObject({ 'violated-policies': ['default'] });
    });

    test('hands an error of `cost` to the framework', async () => {
      let handled = 0;
      const { call } = await serve(
        [
          [
            inMemory(3),
            {
              identify: user,
              cost: () => {
                throw new Error('no cost');
              },
            },
          ],
        ],
        async () => {
          handled += 1;
          return ok();
        },
      );
      expect((await call()).status).toBe(500);
      expect(handled).toBe(0);
    });

    test('limits by the plan of a request', async () => {
      const paid = [tokenBucket({ name: 'paid', rate: 100, period: '1m' })];
      const limits = async (request: Request): Promise<typeof paid | undefined> =>
        user(request) === 'ben' ? paid : undefined;
      const { call } = await serve([[inMemory(1), { identify: user, limits }]]);
      expect((await call()).headers.get('ratelimit-policy')).toBe('"default";q=1;w=60');
      expect((await call({ user: 'ben' })).headers.get('ratelimit-policy')).toBe(
        '"paid";q=100;w=60',
      );
    });

    test('skips a request without counting it', async () => {
      const skip = async (request: Request): Promise<boolean> => user(request) === 'probe';
      const { call } = await serve([[inMemory(1), { identify: () => 'all', skip }]]);
      const skipped = await call({ user: 'probe' });
      expect([skipped.status, skipped.headers.get('ratelimit')]).toEqual([200, null]);
      expect((await call()).status).toBe(200);
      expect((await call()).status).toBe(429);
      expect((await call({ user: 'probe' })).status).toBe(200);
    });

    test('sends what `onRefused` returns', async () => {
      const onRefused: GuardOptions<Request>['onRefused'] = async (request, { decision }) => ({
        status: 420,
        headers: { 'X-Calm': user(request)! },
        body: { error: decision?.reason },
      });
      const { call } = await serve([[inMemory(1), { identify: user, onRefused }]]);
      await call();
      const response = await call();
      expect([response.status, response.headers.get('x-calm')]).toEqual([420, 'anna']);
      expect(response.headers.get('content-type')).toContain('application/json');
      expect(response.headers.get('retry-after')).toBe('60');
      expect(await response.json()).toEqual({ error: 'limited' });
    });

    test('sends a web Response that `onRefused` returns', async () => {
      const onRefused = (): Response => Response.json({ calm: true }, { status: 420 });
      const { call } = await serve([[inMemory(1), { identify: user, onRefused }]]);
      await call();
      const response = await call();
      expect([response.status, await response.json()]).toEqual([420, { calm: true }]);
      expect(response.headers.get('content-type')).toContain('application/json');
      expect(response.headers.get('retry-after')).toBe('60');
    });

    test.each([
      ["is 'default'", 'default' as const],
      ["returns 'default'", () => 'default' as const],
      ['returns nothing', () => undefined],
      ['returns a promise of nothing', async () => {}],
    ] satisfies [string, GuardOptions<Request>['onRefused']][])(
      'sends the default answer when `onRefused` %s',
      async (_, onRefused) => {
        const { call } = await serve([[inMemory(1), { identify: user, onRefused }]]);
        await call();
        const response = await call();
        expect(response.status).toBe(429);
        expect(await response.json()).toMatchObject({ type: QUOTA_EXCEEDED });
      },
    );

    test.each([
      [
        'throws',
        () => {
          throw new Error('no');
        },
      ],
      ['rejects', () => Promise.reject(new Error('no'))],
    ])('hands the error to the framework when `onRefused` %s', async (_, onRefused) => {
      let handled = 0;
      const { call } = await serve([[inMemory(1), { identify: user, onRefused }]], async () => {
        handled += 1;
        return ok();
      });
      await call();
      expect([(await call()).status, handled]).toEqual([500, 1]);
    });

    describe.each<[how: string, onRefused: NonNullable<GuardOptions<Request>['onRefused']>]>([
      ["is 'throw'", 'throw'],
      ["returns 'throw'", () => 'throw'],
      ["resolves with 'throw'", async () => 'throw' as const],
    ])('when `onRefused` %s', (_, onRefused) => {
      test('an error handler answers the refusal with its status and fields', async () => {
        let handled = 0;
        const handler = async (): Promise<Answer> => {
          handled += 1;
          return ok();
        };
        const { call } = await serve(
          [[inMemory(1), { identify: user, onRefused }]],
          handler,
          'as the error says',
        );
        expect((await call()).status).toBe(200);
        const response = await call();
        expect(response.status).toBe(429);
        expect(response.headers.get('retry-after')).toBe('60');
        expect(response.headers.get('ratelimit')).toBe('"default";r=0;t=60');
        expect(handled).toBe(1);
      });

      test.each<[status: number, options: () => readonly [RateLimiter, GuardOptions<Request>]]>([
        [400, () => [inMemory(1), { identify: () => undefined, onRefused }]],
        [503, () => [away, { identify: user, onRefused }]],
      ])('a refusal of status %i is thrown with that status', async (status, options) => {
        const { call } = await serve([options()], ok, 'as the error says');
        expect((await call()).status).toBe(status);
      });
    });

    test('names each of several limits in fields that an independent parser reads', async () => {
      const limiter = withLimits(
        tokenBucket({ name: 'burst', rate: 10, period: '1s' }),
        slidingWindow({ name: 'hourly', rate: 1_000, period: '1h' }),
        tokenBucket({ name: 'trial', rate: 1, period: '1h', shadow: true }),
      );
      const { call } = await serve([[limiter, { identify: user }]]);
      await call();
      const { headers } = await call();
      const items = (field: string): unknown[] =>
        parseList(headers.get(field)!).map(([name, parameters]) => [
          name,
          Object.fromEntries(parameters),
        ]);
      expect(items('ratelimit-policy')).toEqual([
        ['burst', { q: 10, w: 1 }],
        ['hourly', { q: 1_000, w: 3_600 }],
      ]);
      expect(items('ratelimit')).toMatchObject([
        ['burst', { r: 8, t: 1 }],
        ['hourly', { r: 998 }],
      ]);
    });

    test('joins the fields of limiters stacked on one route, each of which decides', async () => {
      const outer = withLimits(tokenBucket({ name: 'outer', rate: 3, period: '1m' }));
      const inner = withLimits(tokenBucket({ name: 'inner', rate: 1, period: '1m' }));
      const { call } = await serve([
        [outer, { identify: user }],
        [inner, { identify: user }],
      ]);
      expect((await call()).headers.get('ratelimit')).toBe('"outer";r=2;t=20, "inner";r=0;t=60');
      const refused = await call();
      expect(refused.status).toBe(429);
      expect(await refused.json()).toMatchObject({ 'violated-policies': ['inner'] });
      expect(refused.headers.get('ratelimit-policy')).toBe('"outer";q=3;w=60, "inner";q=1;w=60');
      expect((await call()).headers.get('ratelimit')).toContain('"outer";r=0');
      expect(await (await call()).json()).toMatchObject({ 'violated-policies': ['outer'] });
    });

    test.each([
      ['failures', 500, 0],
      ['failures', 200, 1],
      ['successes', 404, 1],
      ['successes', 302, 0],
    ] as const)('counting %s, a response of status %i leaves %i', async (count, status, left) => {
      const limiter = inMemory(1);
      const { call } = await serve([[limiter, { identify: user, count }]], async () => ({
        status,
        body: 'x',
      }));
      expect((await call({ redirect: 'manual' })).status).toBe(status);
      await becomes(async () => (await limiter.peek('anna')).remaining === left);
    });

    test('counts a handler that throws as a failure', async () => {
      const limiter = inMemory(2);
      const { call } = await serve(
        [[limiter, { identify: user, count: 'successes' }]],
        async () => {
          throw new Error('broken');
        },
      );
      expect((await call()).status).toBe(500);
      await becomes(async () => (await limiter.peek('anna')).remaining === 2);
    });

    test('never admits more requests at once than may fail', async () => {
      let inside = 0;
      let most = 0;
      const { call } = await serve(
        [[inMemory(2), { identify: user, count: 'failures' }]],
        async () => {
          most = Math.max(most, ++inside);
          await new Promise(setImmediate);
          inside -= 1;
          return { status: 401, body: 'no' };
        },
      );
      const statuses = await Promise.all(
        Array.from({ length: 6 }, async () => (await call()).status),
      );
      expect(statuses.toSorted((a, b) => a - b)).toEqual([401, 401, 429, 429, 429, 429]);
      expect(most).toBeLessThanOrEqual(2);
    });

    test('answers HEAD with the fields and no body', async () => {
      const { call } = await serve([[inMemory(1), { identify: user }]]);
      const passed = await call({ method: 'HEAD' });
      expect([passed.status, passed.headers.get('ratelimit')]).toEqual([200, '"default";r=0;t=60']);
      const refused = await call({ method: 'HEAD' });
      expect([refused.status, await refused.text()]).toEqual([429, '']);
      expect(refused.headers.get('retry-after')).toBe('60');
    });

    test('limits OPTIONS like any other method', async () => {
      const { call } = await serve([[inMemory(1), { identify: user }]]);
      expect((await call({ method: 'OPTIONS' })).status).toBe(200);
      expect((await call({ method: 'OPTIONS' })).status).toBe(429);
    });

    test('keeps one connection alive through passes and refusals with unread bodies', async () => {
      const { origin } = await serve([[inMemory(2), { identify: user }]]);
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const statuses: (number | undefined)[] = [];
      const ports = new Set<number | undefined>();
      try {
        for (let i = 0; i < 4; i++) {
          const { status, port } = await post(origin, agent, 'x'.repeat(1_000));
          statuses.push(status);
          ports.add(port);
        }
      } finally {
        agent.destroy();
      }
      expect(statuses).toEqual([200, 200, 429, 429]);
      expect(ports.size).toBe(1);
    });

    describe('a request counted twice', () => {
      const named = (namespace: string, limits = [nine]): RateLimiter =>
        new RateLimiter({ store, namespace, limits });
      const nine = tokenBucket({ rate: 9, period: '1m' });
      const store = new MemoryStore({ clock });
      let namespaces = 0;
      const fresh = (): string => `twice-${framework.name.replaceAll(/\W/g, '-')}-${namespaces++}`;
      const login = [tokenBucket({ name: 'login', rate: 9, period: '1m' })];

      async function warningsOf(
        guards: readonly (readonly [RateLimiter, GuardOptions<Request>?])[],
        handler?: Handler<Request>,
      ): Promise<unknown[]> {
        const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
        try {
          const { call } = await serve(guards, handler);
          await Promise.all([call(), call(), call({ user: 'ben' })]);
          await call();
          expect(JSON.stringify(warn.mock.calls)).not.toMatch(/anna|ben/);
          return warn.mock.calls.map(([message, options]) => [
            (options as { code?: string }).code,
            message,
          ]);
        } finally {
          warn.mockRestore();
        }
      }

      test.each<[what: string, pair: (namespace: string) => [RateLimiter, RateLimiter]]>([
        [
          'by one limiter twice',
          (namespace) => {
            const limiter = named(namespace);
            return [limiter, limiter];
          },
        ],
        [
          'by two limiters of equal numbers and namespace',
          (namespace) => [named(namespace), named(namespace)],
        ],
        [
          'by two limiters with a limit in common',
          (namespace) => [
            named(namespace, login),
            named(namespace, [...login, tokenBucket({ name: 'b', rate: 5, period: '1h' })]),
          ],
        ],
      ])('warns once when it is counted %s', async (_, pair) => {
        const [outer, inner] = pair(fresh());
        const warnings = await warningsOf([
          [outer, { identify: user }],
          [inner, { identify: async (request) => user(request)! }],
        ]);
        expect(warnings).toEqual([
          ['DRL_COUNTED_TWICE', expect.stringMatching(/'(?:default|login)'.+`namespace`/)],
        ]);
      });

      test('warns when one guard identifies by 42 and the other by "42"', async () => {
        const limiter = named(fresh());
        const warnings = await warningsOf([
          [limiter, { identify: () => 42 }],
          [limiter, { identify: () => '42' }],
        ]);
        expect(warnings).toHaveLength(1);
      });

      test.each<[what: string, guards: (namespace: string) => Parameters<typeof serve>[0]]>([
        ['a single guard', (namespace) => [[named(namespace), { identify: user }]]],
        [
          'two identities',
          (namespace) => {
            const limiter = named(namespace);
            return [
              [limiter, { identify: user }],
              [limiter, { identify: () => 'everybody' }],
            ];
          },
        ],
        [
          'two namespaces',
          (namespace) => [
            [named(namespace), { identify: user }],
            [named(`${namespace}-2`), { identify: user }],
          ],
        ],
        [
          'limits of other names in one namespace',
          (namespace) => [
            [named(namespace), { identify: user }],
            [named(namespace, login), { identify: user }],
          ],
        ],
        [
          'a guard with its own limits',
          (namespace) => {
            const limiter = named(namespace);
            return [
              [limiter, { identify: user }],
              [limiter, { identify: user, limits: login }],
            ];
          },
        ],
        [
          'a guard that skips',
          (namespace) => {
            const limiter = named(namespace);
            return [
              [limiter, { identify: user, skip: () => true }],
              [limiter, { identify: user }],
            ];
          },
        ],
      ])('does not warn of %s', async (_, guards) => {
        expect(await warningsOf(guards(fresh()))).toEqual([]);
      });

      test('does not warn of a handler that peeks', async () => {
        const limiter = named(fresh());
        const warnings = await warningsOf([[limiter, { identify: user }]], async (request) => {
          await limiter.peek(user(request)!);
          return ok();
        });
        expect(warnings).toEqual([]);
      });
    });

    test('hands the decision of a request to its handler', async () => {
      const { call } = await serve([[inMemory(5), { identify: user }]], async (request) => ({
        status: 200,
        body: String(decisionOf(request)?.remaining),
      }));
      expect(await (await call()).text()).toBe('4');
    });

    describe('a concurrency limit', () => {
      const places = (): RateLimiter => withLimits(concurrency({ max: 1, ttl: '30s' }));
      const free = async (limiter: RateLimiter): Promise<boolean> =>
        (await limiter.peek('anna')).remaining === 1;

      test('frees the place when the response is complete, and names the unit', async () => {
        const limiter = places();
        const { call } = await serve([[limiter, { identify: user }]]);
        const response = await call();
        expect(response.headers.get('ratelimit-policy')).toBe(
          '"default";q=1;qu="concurrent-requests"',
        );
        expect(response.headers.get('ratelimit')).toBe('"default";r=0');
        await response.text();
        await becomes(() => free(limiter));
      });

      test('holds the place while a response streams, and refuses others meanwhile', async () => {
        const limiter = places();
        const { source, push, end } = stream();
        const { call } = await serve([[limiter, { identify: user }]], async () => ({
          status: 200,
          body: source,
        }));
        push('one');
        const response = await call();
        const reader = response.body!.getReader();
        await reader.read();
        expect((await call()).status).toBe(429);
        push('two');
        end();
        while (!(await reader.read()).done);
        await becomes(() => free(limiter));
      });

      test('frees the place when the handler throws', async () => {
        const limiter = places();
        const { call } = await serve([[limiter, { identify: user }]], async () => {
          throw new Error('broken');
        });
        expect((await call()).status).toBe(500);
        await becomes(() => free(limiter));
      });

      test('frees the place when the client goes away before the answer', async () => {
        const limiter = places();
        const arrived = deferred<void>();
        const never = deferred<Answer>();
        const { origin } = await serve([[limiter, { identify: user }]], () => {
          arrived.resolve();
          return never.promise;
        });
        const socket = connect(Number(new URL(origin).port), '127.0.0.1');
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-User: anna\r\n\r\n');
        await arrived.promise;
        expect(await free(limiter)).toBe(false);
        socket.destroy();
        await becomes(() => free(limiter));
        never.resolve({ status: 200, body: 'late' });
      });

      test('frees the place when the client goes away amid a stream', async () => {
        const limiter = places();
        const { source, push, end } = stream();
        const { call } = await serve([[limiter, { identify: user }]], async () => ({
          status: 200,
          body: source,
        }));
        push('one');
        const gone = new AbortController();
        const response = await call({ signal: gone.signal });
        await response.body!.getReader().read();
        expect(await free(limiter)).toBe(false);
        gone.abort();
        await becomes(async () => {
          push('more'); // a server may notice only when it writes
          return free(limiter);
        });
        end();
      });

      test('never holds a place for a client that went away during the decision', async () => {
        const limiter = places();
        const asked = deferred<void>();
        const goOn = deferred<void>();
        const identify = async (): Promise<string> => {
          asked.resolve();
          await goOn.promise;
          return 'anna';
        };
        const { origin } = await serve([[limiter, { identify }]]);
        const socket = connect(Number(new URL(origin).port), '127.0.0.1');
        socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        await asked.promise;
        socket.destroy();
        await once(socket, 'close');
        await sleep(20); // until the server has noticed
        goOn.resolve();
        await sleep(20); // until a place could have been taken
        await becomes(() => free(limiter));
        expect(await free(limiter)).toBe(true);
      });
    });
  });
}

/** A body that the test writes piece by piece. */
function stream(): { source: AsyncIterable<string>; push(text: string): void; end(): void } {
  const waiting: string[] = [];
  let ended = false;
  let wake = deferred<void>();
  const notify = (): void => {
    wake.resolve();
    wake = deferred<void>();
  };
  return {
    source: (async function* () {
      for (;;) {
        while (waiting.length > 0) yield waiting.shift()!;
        if (ended) return;
        await wake.promise;
      }
    })(),
    push(text) {
      waiting.push(text);
      notify();
    },
    end() {
      ended = true;
      notify();
    },
  };
}

async function post(
  origin: string,
  agent: Agent,
  body: string,
): Promise<{ status: number | undefined; port: number | undefined; headers: IncomingHttpHeaders }> {
  const request = httpRequest(`${origin}/`, {
    method: 'POST',
    agent,
    headers: { 'x-user': 'anna', 'content-length': body.length },
  });
  request.end(body);
  const [response] = await once(request, 'response');
  const port = response.socket.localPort as number | undefined;
  response.resume();
  await once(response, 'end');
  return { status: response.statusCode, port, headers: response.headers };
}
