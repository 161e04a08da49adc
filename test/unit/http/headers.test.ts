import { describe, expect, test, vi } from 'vitest';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import type { GuardOptions, Verdict } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { parseList } from 'structured-headers';

type Fields = Record<string, string>;

/** The fields of the responses to this many requests at one instant. */
async function fieldsOf(
  limits: readonly Limit[],
  requests: number,
  options: GuardOptions<object> = {},
): Promise<Fields[]> {
  const store = new MemoryStore({ clock: new ManualClock() });
  const guard = createGuard<object>(new RateLimiter({ store, limits }), {
    identify: () => 'anna',
    ...options,
  });
  const verdicts: Verdict[] = [];
  for (let i = 0; i < requests; i++) verdicts.push(await guard.check({}));
  return verdicts.map(({ headers }) => Object.fromEntries(headers));
}

const perMinute = tokenBucket({ name: 'per-minute', rate: 60, period: '1m', burst: 2 });
const perHour = slidingWindow({ name: 'per-hour', rate: 100, period: '1h' });

describe('the header profiles', () => {
  test.each([
    [
      "draft 11: a token bucket's quota is its burst, over the time in which that refills",
      'draft-11',
      { 'RateLimit-Policy': '"per-minute";q=2;w=2', RateLimit: '"per-minute";r=1;t=1' },
      { 'RateLimit-Policy': '"per-minute";q=2;w=2', RateLimit: '"per-minute";r=0;t=1' },
    ],
    [
      'draft 7: one field with three members',
      'draft-7',
      { 'RateLimit-Policy': '2;w=2', RateLimit: 'limit=2, remaining=1, reset=1' },
      { 'RateLimit-Policy': '2;w=2', RateLimit: 'limit=2, remaining=0, reset=1' },
    ],
    [
      'draft 6: three fields, in seconds',
      'draft-6',
      {
        'RateLimit-Policy': '2;w=2',
        'RateLimit-Limit': '2',
        'RateLimit-Remaining': '1',
        'RateLimit-Reset': '1',
      },
      {
        'RateLimit-Policy': '2;w=2',
        'RateLimit-Limit': '2',
        'RateLimit-Remaining': '0',
        'RateLimit-Reset': '1',
      },
    ],
    [
      'legacy: the reset is an instant, in Unix seconds',
      'legacy',
      {
        'X-RateLimit-Limit': '2',
        'X-RateLimit-Remaining': '1',
        'X-RateLimit-Reset': expect.stringMatching(/^\d{10}$/),
      },
      {
        'X-RateLimit-Limit': '2',
        'X-RateLimit-Remaining': '0',
        'X-RateLimit-Reset': expect.stringMatching(/^\d{10}$/),
      },
    ],
    ['none: nothing while requests pass', 'none', {}, {}],
  ] as const)('writes the fields of %s', async (_, headers, passed, refused) => {
    const [first, , third] = await fieldsOf([perMinute], 3, { headers });
    expect(first).toEqual(passed);
    expect(third).toEqual({
      ...refused,
      'Content-Type': 'application/problem+json',
      'Retry-After': '1',
    });
  });

  test.each(['draft-8', 'draft-9', 'draft-10'] as const)(
    'writes the fields of draft 11 for %s',
    async (headers) => {
      const [old, current] = [
        await fieldsOf([perMinute], 3, { headers }),
        await fieldsOf([perMinute], 3, { headers: 'draft-11' }),
      ];
      expect(old).toEqual(current);
      expect(old[0]).toHaveProperty('RateLimit');
    },
  );

  test('passes the decision and the limits to a function of the application', async () => {
    const [fields] = await fieldsOf([perMinute], 1, {
      headers: ({ decision, limits }) => ({
        'X-Left': `${decision.remaining} of ${limits[0]!.name}`,
      }),
    });
    expect(fields).toEqual({ 'X-Left': '1 of per-minute' });
  });

  test('a function that throws costs a request only its fields', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const headers = (): never => {
      throw new Error('no');
    };
    const [first, , refused] = await fieldsOf([perMinute], 3, { headers });
    expect(first).toEqual({});
    expect(refused).toEqual({ 'Content-Type': 'application/problem+json', 'Retry-After': '1' });
    const codes = warn.mock.calls.map(([, options]) => (options as { code?: string }).code);
    // A guard made for each request, as in this file, causes a warning as well.
    expect(codes.filter((code) => code !== 'DRL_MADE_PER_REQUEST')).toEqual(['DRL_HOOK_FAILED']);
    warn.mockRestore();
  });

  test('the drafts before 8 describe the limit nearest to exhaustion', async () => {
    const [first] = await fieldsOf([perHour, perMinute], 1, { headers: 'draft-6' });
    expect(first).toMatchObject({
      'RateLimit-Limit': '2',
      'RateLimit-Policy': '100;w=3600, 2;w=2',
    });
    const [, second] = await fieldsOf(
      [slidingWindow({ name: 'tight', rate: 1, period: '1h' }), perMinute],
      2,
      { headers: 'draft-6' },
    );
    expect(second).toMatchObject({ 'RateLimit-Limit': '1', 'RateLimit-Remaining': '0' });
  });
});

describe('a policy in draft 11', () => {
  test.each<[string, Limit, string]>([
    [
      'a fraction of a second is rounded up',
      tokenBucket({ rate: 7, period: '1s', burst: 8 }),
      'q=8;w=2',
    ],
    ['a period below a second has no window', slidingWindow({ rate: 5, period: '500ms' }), 'q=5'],
    ['a sliding window is its period', slidingWindow({ rate: 5, period: '90s' }), 'q=5;w=90'],
    ['a log is its period', slidingWindowLog({ rate: 5, period: '1d' }), 'q=5;w=86400'],
    ['a fixed window is its period', fixedWindow({ rate: 5, period: '1h' }), 'q=5;w=3600'],
    ['a calendar day has one length', fixedWindow({ rate: 5, period: 'day' }), 'q=5;w=86400'],
    ['a calendar month has no window', fixedWindow({ rate: 5, period: 'month' }), 'q=5'],
    [
      'a concurrency limit has a unit and no window',
      concurrency({ max: 3, ttl: '30s' }),
      'q=3;qu="concurrent-requests"',
    ],
  ])('writes the policy: %s', async (_, limit, policy) => {
    const [fields] = await fieldsOf([limit], 1);
    expect(fields!['RateLimit-Policy']).toBe(`"default";${policy}`);
    expect(parseList(fields!['RateLimit-Policy']!)).toHaveLength(1);
    expect(parseList(fields!['RateLimit']!)).toHaveLength(1);
  });

  test('stays the same in every response', async () => {
    const fields = await fieldsOf([perMinute, perHour], 5);
    expect(new Set(fields.map((each) => each['RateLimit-Policy'])).size).toBe(1);
  });

  test('never offers more than the quota', async () => {
    for (const each of await fieldsOf([perMinute, perHour], 5)) {
      const quotas = parseList(each['RateLimit-Policy']!).map(([, of]) => Number(of.get('q')));
      const left = parseList(each['RateLimit']!).map(([, of]) => Number(of.get('r')));
      left.forEach((units, i) => expect(units).toBeLessThanOrEqual(quotas[i]!));
    }
  });

  test('hides a shadow limit, and sends no field when it is the only one', async () => {
    const shadow = tokenBucket({ name: 'trial', rate: 1, period: '1m', shadow: true });
    const [fields] = await fieldsOf([perMinute, shadow], 1);
    expect(JSON.stringify(fields)).not.toContain('trial');
    expect(await fieldsOf([shadow], 2)).toEqual([{}, {}]);
  });
});

describe('Retry-After', () => {
  test.each([
    ['whole seconds are unchanged', 60, 1, '1'],
    ['a fraction is rounded up, so that no client comes too early', 50, 1, '2'],
    ['less than a second becomes one second', 600, 1, '1'],
    ['it is the wait for the cost of the request', 60, 30, '30'],
  ])('rounds the wait: %s', async (_, rate, cost, seconds) => {
    const limit = tokenBucket({ rate, period: '1m', burst: cost });
    const [, refused] = await fieldsOf([limit], 2, { cost });
    expect(refused!['Retry-After']).toBe(seconds);
  });

  test('never ends before the announced window of the refusing limit', async () => {
    const limits = [perMinute, slidingWindow({ name: 'tight', rate: 1, period: '1h' })];
    const [, refused] = await fieldsOf(limits, 2);
    const ends = parseList(refused!['RateLimit']!)
      .filter(([name]) => name === 'tight')
      .map(([, of]) => Number(of.get('t')));
    expect(Number(refused!['Retry-After'])).toBeGreaterThanOrEqual(Math.max(...ends));
  });
});

describe('the partition key `pk`', () => {
  const partitionSecret = 'a secret of at least thirty-two bytes';
  const partition = (fields: Fields): string | undefined =>
    /pk=(:[A-Za-z0-9+/]{16}:)/.exec(fields['RateLimit'] ?? '')?.[1];

  test('is sent only when `partitionSecret` is set', async () => {
    expect(partition((await fieldsOf([perMinute], 1))[0]!)).toBeUndefined();
    expect(partition((await fieldsOf([perMinute], 1, { partitionSecret }))[0]!)).toBeDefined();
  });

  test('is stable per identity, and differs by identity and by secret', async () => {
    const of = async (identity: string, secret: string): Promise<string | undefined> =>
      partition(
        (
          await fieldsOf([perMinute], 1, {
            identify: () => identity,
            partitionSecret: secret,
          })
        )[0]!,
      );
    const [anna, again, ben, other] = await Promise.all([
      of('anna', partitionSecret),
      of('anna', partitionSecret),
      of('ben', partitionSecret),
      of('anna', `${partitionSecret}!`),
    ]);
    expect(again).toBe(anna);
    expect(new Set([anna, ben, other]).size).toBe(3);
  });

  test('is a byte sequence to an independent parser', async () => {
    const [fields] = await fieldsOf([perMinute, perHour], 1, { partitionSecret });
    for (const [, of] of parseList(fields!['RateLimit']!)) {
      expect(of.get('pk')).toBeInstanceOf(ArrayBuffer);
      expect((of.get('pk') as ArrayBuffer).byteLength).toBe(12);
    }
  });
});
