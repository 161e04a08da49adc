import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit, ObservedResponse } from 'distributed-rate-limiter';
import { parseRateLimit } from 'distributed-rate-limiter/fetch';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';

const KINDS = [
  ['token_bucket', tokenBucket],
  ['sliding_window', slidingWindow],
  ['sliding_window_log', slidingWindowLog],
  ['fixed_window', fixedWindow],
] as const;

function make<By extends string = never, Unit extends string = never>(
  limits: readonly Limit<string, By, Unit>[],
  options: { readonly blocks?: boolean } = {},
) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const limiter = new RateLimiter({ store, limits, observes: true, ...options });
  return { clock, store, limiter };
}

/** The fields of a provider of 100 units per minute. */
function says(remaining: number, reset: number, more: Record<string, string> = {}) {
  return {
    'X-RateLimit-Limit': '100',
    'X-RateLimit-Remaining': String(remaining),
    'X-RateLimit-Reset': String(reset),
    ...more,
  };
}

async function passesOf(limiter: RateLimiter, calls: number): Promise<number> {
  let passed = 0;
  for (let i = 0; i < calls; i++) {
    passed += (await limiter.allow('a')).allowed ? 1 : 0;
  }
  return passed;
}

describe('observe', () => {
  test.each(KINDS)('%s: lets no more pass than is left, until the reset', async (_, of) => {
    const { clock, limiter } = make([of({ rate: 100, period: '1m' })]);
    expect(await limiter.observe('a', says(7, 30))).toEqual(['default']);
    expect(await limiter.peek('a')).toMatchObject({ remaining: 7, limit: 100 });
    clock.advance('10s');
    expect(await passesOf(limiter, 50)).toBe(7);
    expect(await limiter.allow('a')).toMatchObject({
      reason: 'limited',
      limitedBy: ['default'],
      remaining: 0,
      retryAfterMs: 20_000,
    });
    clock.advance('19999ms');
    expect(await passesOf(limiter, 50)).toBe(0);
    clock.advance('1ms');
    expect(await limiter.allow('a')).toMatchObject({ allowed: true });
    expect(await limiter.peek('other')).toMatchObject({ remaining: 100 });
  });

  test.each(KINDS)('%s: gives nothing that the limit itself refuses', async (_, of) => {
    const { limiter } = make([of({ rate: 3, period: '1h' })]);
    await limiter.allow('a', { cost: 3 });
    await limiter.observe('a', says(90, 1));
    expect(await limiter.allow('a')).toMatchObject({ reason: 'limited', remaining: 0 });
    expect(await limiter.peek('b')).toMatchObject({ remaining: 3 });
  });

  test('keeps the lowest report of those that come out of order', async () => {
    const { clock, limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(3, 30));
    await limiter.observe('a', says(5, 30));
    expect(await limiter.peek('a')).toMatchObject({ remaining: 3, resetAfterMs: 30_000 });
    await limiter.allow('a', { cost: 2 });
    await limiter.observe('a', says(2, 30));
    expect(await limiter.peek('a')).toMatchObject({ remaining: 1 });
    await limiter.observe('a', says(0, 10));
    expect(await limiter.peek('a')).toMatchObject({ allowed: false, retryAfterMs: 10_000 });
    clock.advance('10s');
    expect(await limiter.peek('a')).toMatchObject({ allowed: true, remaining: 1 });
  });

  test('holds the longer of two equal reports', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(0, 10));
    await limiter.observe('a', says(0, 40));
    await limiter.observe('a', says(0, 20));
    expect(await limiter.peek('a')).toMatchObject({ retryAfterMs: 40_000 });
  });

  test('heeds a report of the next window', async () => {
    const { clock, limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(0, 10));
    clock.advance('10s');
    await limiter.observe('a', says(60, 60));
    expect(await limiter.peek('a')).toMatchObject({ remaining: 60 });
  });

  test('counts the next window from its beginning, before any response of it', async () => {
    const { clock, limiter } = make([tokenBucket({ rate: 1_000, period: '1s' })]);
    await limiter.observe('a', says(0, 60));
    clock.advance('60s');
    expect(await passesOf(limiter, 150)).toBe(100);
    clock.advance('200ms');
    // Of the window before; then the first of this window, which says when it ends.
    await limiter.observe('a', says(3, 0.1));
    await limiter.observe('a', says(0, 0.2));
    expect(await limiter.peek('a')).toMatchObject({ retryAfterMs: 59_800 });
    await limiter.observe('a', says(60, 50));
    expect(await limiter.peek('a')).toMatchObject({ remaining: 0, retryAfterMs: 50_000 });
    clock.advance('50s');
    expect(await limiter.peek('a')).toMatchObject({ remaining: 100 });
    clock.advance('60s');
    expect(await limiter.peek('a')).toMatchObject({ remaining: 1_000 });
  });

  test('a hold by Retry-After keeps what is known of the window', async () => {
    const { clock, limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(9, 30));
    await limiter.observe('a', new Response('', { status: 429, headers: { 'Retry-After': '5' } }));
    expect(await limiter.peek('a')).toMatchObject({ remaining: 0, retryAfterMs: 5_000 });
    clock.advance('5s');
    expect(await limiter.peek('a')).toMatchObject({ remaining: 9 });
    expect(await limiter.peek('a', { cost: 10 })).toMatchObject({ retryAfterMs: 25_000 });
  });

  test('gives back what a call of the same window gives back, and no more', async () => {
    const { clock, limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    const before = await limiter.allow('a', { cost: 4 });
    await limiter.observe('a', says(50, 30));
    const call = await limiter.allow('a', { cost: 30 });
    const reservation = await limiter.reserve('a', { cost: 20, ttl: '1m' });
    expect(await limiter.peek('a')).toMatchObject({ remaining: 0 });
    await limiter.refund(before);
    expect(await limiter.peek('a')).toMatchObject({ remaining: 0 });
    await limiter.refund(call);
    expect(await limiter.peek('a')).toMatchObject({ remaining: 30 });
    await reservation.settle(5);
    expect(await limiter.peek('a')).toMatchObject({ remaining: 45 });

    const late = await limiter.reserve('a', { cost: 40, ttl: '5m' });
    clock.advance('30s');
    await limiter.observe('a', says(10, 60));
    await late.cancel();
    expect(await limiter.peek('a')).toMatchObject({ remaining: 10 });
  });

  test('charges what a reservation adds, and what its settlement finds missing', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(50, 30));
    const reservation = await limiter.reserve('a', { cost: 10, ttl: '1m' });
    await reservation.add(5);
    expect(await limiter.peek('a')).toMatchObject({ remaining: 35 });
    expect(await reservation.add(36)).toMatchObject({ allowed: false, reason: 'limited' });
    expect(await reservation.settle(25)).toMatchObject({ charged: 25, uncharged: 0 });
    expect(await limiter.peek('a')).toMatchObject({ remaining: 25 });
  });

  test('a reservation that another limiter settles gives back as well', async () => {
    const limits = [
      tokenBucket({ name: 'req', unit: 'calls', rate: 60, period: '1m' }),
      tokenBucket({ name: 'tok', unit: 'tokens', rate: 900, period: '1m' }),
    ];
    const { store, limiter } = make(limits);
    const other = new RateLimiter({ store, limits, observes: true });
    await limiter.observe('a', says(50, 30));
    await limiter.observe('a', {
      RateLimit: '"tok";r=500;t=30',
      'RateLimit-Policy': '"tok";q=900;qu="tokens"',
    });
    const call = await limiter.reserve('a', { cost: { tokens: 400 }, ttl: '1m' });
    const resumed = other.resume(call.token);
    expect(await resumed.settle({ tokens: 100 })).toMatchObject({ charged: { tokens: 100 } });
    expect(await call.settle({ tokens: 7 })).toMatchObject({ charged: { tokens: 100 } });
    expect(await other.resume(call.token).settle({ tokens: 9 })).toMatchObject({
      charged: { tokens: 100 },
    });
    const { limits: states } = await limiter.peek('a', { cost: { tokens: 1 } });
    expect(states.map(({ remaining }) => remaining)).toEqual([49, 400]);
  });

  test('allowUpTo grants no more than is left', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(12, 30));
    expect(await limiter.allowUpTo('a', 50)).toMatchObject({ granted: 12, remaining: 0 });
  });

  test('a credit does not raise what the provider left; reset forgets it', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(0, 30));
    expect((await limiter.credit('a', 50)).allowed).toBe(true);
    expect(await limiter.peek('a')).toMatchObject({ allowed: false });
    await limiter.reset('a');
    expect(await limiter.peek('a')).toMatchObject({ allowed: true, remaining: 100 });
  });

  test('waiting callers pass at the reset', async () => {
    const { clock, limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(1, 30));
    const turns = [limiter.wait('a'), limiter.wait('a')];
    let passed = 0;
    for (const turn of turns) void turn.then(() => (passed += 1));
    await turns[0];
    clock.advance('29999ms');
    await new Promise((resolve) => setImmediate(resolve));
    expect(passed).toBe(1);
    clock.advance('1ms');
    await turns[1];
  });

  test('a shadow limit only counts what the provider would refuse', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m', shadow: true })]);
    await limiter.observe('a', says(0, 30));
    const decision = await limiter.allow('a');
    expect(decision).toMatchObject({ allowed: true, limits: [{ refused: true, shadow: true }] });
    expect(limiter.stats().limits['default']).toMatchObject({ shadowRefused: 1 });
  });

  test('heeds a provider beside blocks and leases', async () => {
    const { limiter } = make(
      [concurrency({ name: 'places', max: 5, ttl: '1m' }), tokenBucket({ rate: 9, period: '1m' })],
      { blocks: true },
    );
    await limiter.observe('a', says(2, 30));
    const leases = [await limiter.acquire('a'), await limiter.acquire('a')];
    expect(leases.map(({ allowed }) => allowed)).toEqual([true, true]);
    expect(await limiter.acquire('a')).toMatchObject({ limitedBy: ['default'] });
    expect(await limiter.refund(leases[0]!)).toMatchObject({ remaining: 1 });
    await limiter.block('a', '1m');
    expect(await limiter.acquire('a')).toMatchObject({ reason: 'blocked' });
    await Promise.all(leases.map((lease) => lease.release()));
  });
});

describe('a refusal of the provider', () => {
  const refusal = (status: number, headers: Record<string, string>) =>
    new Response('', { status, headers });

  test.each([
    ['a Response', refusal(429, { 'Retry-After': '20' })],
    ['a response of undici', { statusCode: 429, headers: { 'retry-after': '20' } }],
    ['a response of axios', { status: 503, headers: { 'retry-after': ['20'] } }],
    ['headers', new Headers({ 'Retry-After': '20' })],
    ['a report', parseRateLimit({ 'retry-after': '20' })],
    ['an overload of Anthropic', refusal(529, { 'Retry-After': '20' })],
  ] as const)('holds back all calls until Retry-After: %s', async (_, response) => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    expect(await limiter.observe('a', response)).toEqual(['default']);
    expect(await limiter.allow('a')).toMatchObject({ allowed: false, retryAfterMs: 20_000 });
  });

  test('Retry-After counts before the reset of the limit that is used up', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', refusal(429, says(0, 50, { 'Retry-After': '2' })));
    expect(await limiter.allow('a')).toMatchObject({ retryAfterMs: 2_000 });
  });

  test.each([
    ['a redirect', refusal(200, { 'Retry-After': '20' })],
    ['a refusal without a time', refusal(429, {})],
    ['an answer without fields', refusal(200, {})],
    ['an answer from a cache', refusal(200, { ...says(0, 50), age: '3' })],
    ['a reset that has passed', refusal(200, says(0, 0))],
  ])('changes nothing: %s', async (_, response) => {
    const { store, limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    expect(await limiter.observe('a', response)).toEqual([]);
    expect(await limiter.peek('a')).toMatchObject({ allowed: true, remaining: 100 });
    expect(store.size).toBe(0);
  });

  test('without a reset the report holds for the window, the provider’s or else ours', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', { 'X-RateLimit-Remaining': '0' });
    expect(await limiter.allow('a')).toMatchObject({ retryAfterMs: 60_000 });
    await limiter.observe('b', { RateLimit: '"x";r=0', 'RateLimit-Policy': '"x";q=9;w=5' });
    expect(await limiter.allow('b')).toMatchObject({ retryAfterMs: 5_000 });
  });
});

describe('several limits', () => {
  const OPENAI = {
    'x-ratelimit-limit-requests': '60',
    'x-ratelimit-remaining-requests': '40',
    'x-ratelimit-reset-requests': '20s',
    'x-ratelimit-limit-tokens': '90000',
    'x-ratelimit-remaining-tokens': '30000',
    'x-ratelimit-reset-tokens': '40s',
  };
  const leftOf = ({ limits }: Decision) =>
    Object.fromEntries(limits.map(({ name, remaining }) => [name, remaining]));

  test('maps requests and tokens to the limits of their units', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'req', unit: 'calls', rate: 60, period: '1m' }),
      tokenBucket({ name: 'tok', unit: 'tokens', rate: 90_000, period: '1m' }),
      fixedWindow({ name: 'money', unit: 'micros', rate: 1_000, period: 'month' }),
    ]);
    expect(await limiter.observe('a', OPENAI)).toEqual(['req', 'tok']);
    const all = { tokens: 1, micros: 1 };
    expect(leftOf(await limiter.peek('a', { cost: all }))).toEqual({
      req: 40,
      tok: 30_000,
      money: 1_000,
    });
    const call = await limiter.reserve('a', { cost: { tokens: 4_000, micros: 1 }, ttl: '1m' });
    await call.settle({ tokens: 500 });
    expect(leftOf(await limiter.peek('a', { cost: all }))).toEqual({
      req: 39,
      tok: 29_500,
      money: 999,
    });
  });

  test('maps input and output tokens of Anthropic, and leaves out the priority tier', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'in', unit: 'input_tokens', rate: 900, period: '1m' }),
      tokenBucket({ name: 'out', unit: 'output_tokens', rate: 900, period: '1m' }),
    ]);
    const reset = new Date(Date.now() + 30_000).toISOString();
    const field = (name: string, left: string) => [
      [`anthropic-${name}-limit`, '900'],
      [`anthropic-${name}-remaining`, left],
      [`anthropic-${name}-reset`, reset],
    ];
    const fields = [
      ['ratelimit-input-tokens', '11'],
      ['ratelimit-output-tokens', '22'],
      ['priority-input-tokens', '1'],
      ['ratelimit-tokens', '33'],
    ].flatMap(([name, left]) => field(name!, left!));
    const response = { ...Object.fromEntries(fields), date: new Date().toUTCString() };
    expect(await limiter.observe('a', response)).toEqual(['in', 'out']);
    const cost = { input_tokens: 1, output_tokens: 1 };
    expect(leftOf(await limiter.peek('a', { cost }))).toEqual({ in: 11, out: 22 });
  });

  test('a limiter without units heeds the requests, or the unit that is said', async () => {
    const { limiter } = make([tokenBucket({ rate: 100_000, period: '1m' })]);
    await limiter.observe('a', OPENAI);
    await limiter.observe('b', OPENAI, { unit: 'tokens' });
    expect(await limiter.peek('a')).toMatchObject({ remaining: 40 });
    expect(await limiter.peek('b')).toMatchObject({ remaining: 30_000 });
    expect(await limiter.observe('c', OPENAI, { unit: 'images' })).toEqual([]);
  });

  test('of limits of one unit heeds that of the name, the window or the size', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'second', rate: 10, period: '1s' }),
      tokenBucket({ name: 'minute', rate: 300, period: '1m' }),
      tokenBucket({ name: 'daily', rate: 5_000, period: '1h' }),
    ]);
    const headers = (policy: string, count: string) => ({
      'RateLimit-Policy': policy,
      RateLimit: count,
    });
    const named = headers('"daily";q=1;w=1', '"daily";r=9;t=30');
    const windowed = headers('"x";q=7;w=60', '"x";r=9;t=30');
    const sized = { ...says(9, 30), 'X-RateLimit-Limit': '10' };
    expect(await limiter.observe('a', named)).toEqual(['daily']);
    expect(await limiter.observe('a', windowed)).toEqual(['minute']);
    expect(await limiter.observe('a', sized)).toEqual(['second']);
  });

  test('of several reports for one limit heeds the one with the least left', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', {
      'RateLimit-Policy': '"burst";q=50;w=60, "daily";q=1000;w=86400',
      RateLimit: '"burst";r=20;t=30, "daily";r=4;t=9000',
    });
    expect(await limiter.peek('a')).toMatchObject({ remaining: 4, resetAfterMs: 9_000_000 });
  });

  test('heeds a provider in the limit that counts by the fewest parts', async () => {
    const { limiter } = make([
      tokenBucket({ name: 'user', by: ['org', 'user'], rate: 50, period: '1m' }),
      tokenBucket({ name: 'org', by: 'org', rate: 50, period: '1m' }),
    ]);
    const acme = (user: string) => ({ org: 'acme', user });
    expect(await limiter.observe(acme('ann'), says(3, 30))).toEqual(['org']);
    expect(await limiter.peek(acme('bob'))).toMatchObject({ remaining: 3, limitName: 'org' });
    expect(await limiter.peek({ org: 'other', user: 'ann' })).toMatchObject({ remaining: 50 });
  });

  test('a plan of the same name heeds what was observed', async () => {
    const { limiter } = make([tokenBucket({ rate: 100, period: '1m' })]);
    await limiter.observe('a', says(3, 30));
    const limits = [tokenBucket({ rate: 1_000, period: '1m' })];
    expect(await limiter.peek('a', { limits })).toMatchObject({ remaining: 3 });
  });

  test('where units come back continuously a report holds until what was left is back', async () => {
    const fields = (left: number) => ({
      ...OPENAI,
      'x-ratelimit-remaining-requests': String(left),
      'x-ratelimit-reset-requests': `${60 - left}s`,
    });
    const { limiter } = make([tokenBucket({ rate: 60, period: '1m' })]);
    const lasts = async (left: number) => {
      await limiter.observe(`left ${left}`, fields(left));
      return (await limiter.peek(`left ${left}`)).resetAfterMs;
    };
    expect(await lasts(45)).toBe(15_000);
    expect(await lasts(20)).toBe(20_000);
    expect(await lasts(0)).toBe(6_000);
  });
});

describe('wrong use', () => {
  const limits = [tokenBucket({ rate: 100, period: '1m' })];

  test('rejects without the option `observes`', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), limits });
    expect(limiter.observes).toBe(false);
    await expect(limiter.observe('a', says(1, 1))).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringContaining('`observes: true`'),
    });
  });

  test.each([
    ['no response', () => [undefined], 'response'],
    ['a text', () => ['429'], 'response'],
    ['an unknown option', () => [says(1, 1), { units: 'tokens' }], 'units'],
    ['a wrong unit', () => [says(1, 1), { unit: 'Tokens!' }], 'unit'],
  ] as const)('rejects %s', async (_, args, name) => {
    const { limiter } = make(limits);
    const [response, options] = args() as unknown as [ObservedResponse, object];
    await expect(limiter.observe('a', response, options)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringContaining(`\`${name}\``),
    });
  });

  test('rejects `unit` where limits have units, leases alone, and a closed limiter', async () => {
    const { limiter } = make([tokenBucket({ unit: 'calls', rate: 1, period: '1s' })]);
    await expect(limiter.observe('a', says(1, 1), { unit: 'calls' })).rejects.toThrow('`unit`');
    const { limiter: leases } = make([concurrency({ max: 1, ttl: '1m' })]);
    await expect(leases.observe('a', says(1, 1))).rejects.toThrow('concurrency');
    await leases.close();
    await expect(leases.observe('a', says(1, 1))).rejects.toMatchObject({
      code: 'ERR_LIMITER_CLOSED',
    });
  });
});
