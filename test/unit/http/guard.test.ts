import { describe, expect, test } from 'vitest';
import {
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  RateLimitExceeded,
  tokenBucket,
} from 'distributed-rate-limiter';
import { createGuard, decisionOf } from 'distributed-rate-limiter/http';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { secondCopy } from '../../kit/fakes/second-copy.ts';

const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1m' });
const identify = (): string => 'anna';

describe('options of a guard', () => {
  test.each<[option: string, options: unknown, says: string]>([
    ['identify', { identify: 'x-api-key' }, 'a function'],
    ['identify', { keyGenerator: identify }, 'Did you mean `identify`'],
    ['identify', { identifi: identify }, 'Did you mean `identify`'],
    ['cost', { cost: -1 }, 'a whole number from 0'],
    ['cost', { cost: 1.5 }, 'a whole number from 0'],
    ['cost', { cost: '2' }, 'a whole number from 0'],
    ['cost', { weight: 2 }, 'Did you mean `cost`'],
    ['limits', { limits: Array(17).fill(0) }, '1 to 16 limits'],
    ['limits', { limits: [{ rate: 1, period: '1s' }] }, 'made of limits'],
    ['limits', { limits: 5 }, '1 to 16 limits'],
    ['skip', { skip: true }, 'a function'],
    ['skip', { allowList: [] }, 'Did you mean `skip`'],
    ['onRefused', { onRefused: 'slow down' }, "a function, 'throw' or 'default'"],
    ['onRefused', { onRefused: true }, "a function, 'throw' or 'default'"],
    ['onRefused', { handler: identify }, 'Did you mean `onRefused`'],
    ['onRefused', { onLimited: identify }, 'Did you mean `onRefused`'],
    ['negotiate', { negotiate: 'html' }, 'true or false'],
    ['headers', { headers: 'draft-5' }, "'draft-11'"],
    ['headers', { headers: true }, "'draft-11'"],
    ['headers', { headers: 'toString' }, "'draft-11'"],
    ['headers', { standardHeaders: true }, 'Did you mean `headers`'],
    ['count', { count: 'none' }, "'failures'"],
    ['count', { count: 'toString' }, "'failures'"],
    ['count', { count: true }, 'or a function'],
    ['count', { requestWasSuccessful: identify }, 'Did you mean `count`'],
    ['waitUntil', { waitUntil: true }, 'a function'],
    ['wait', { wait: true }, 'an object'],
    ['wait', { wait: {} }, '`timeoutMs` must be a whole number from 1 to 600000'],
    ['wait', { wait: { timeoutMs: 0 } }, 'from 1 to 600000'],
    ['wait', { wait: { timeoutMs: Infinity } }, 'from 1 to 600000'],
    ['wait', { wait: { timeoutMs: 1, maxQueue: -1 } }, 'from 0 to 10000'],
    ['wait', { wait: { timeoutMs: 1, signal: 1 } }, '`signal` is not an option of wait'],
    ['wait', { wait: { timeout: 1 } }, 'Did you mean `timeoutMs`'],
    ['maxQueue', { maxQueue: 1 }, 'wait: { timeoutMs, maxQueue }'],
    ['count', { skipSuccessfulRequests: true }, 'Did you mean `count`'],
    ['unidentified', { unidentified: 'allow' }, "'refuse', 'pass'"],
    ['partitionSecret', { partitionSecret: 'short' }, 'at least 32 bytes'],
    ['ipv6Prefix', { identify, ipv6Prefix: 64 }, 'left out where `identify` is given'],
    ['trustedProxies', { identify, trustedProxies: ['loopback'] }, 'left out where `identify`'],
    ['options', 'strict', 'an object'],
    ['options', null, 'an object'],
    ['options', [], 'an object'],
  ])('refuses %s: %j', (_, options, says) => {
    const make = (): unknown => createGuard(limiter, options as GuardOptions<object>);
    expect(make).toThrow(RateLimiterError);
    expect(make).toThrow(says);
  });

  test('refuses invalid options of its limiter', () => {
    expect(() => createGuard({ store: new MemoryStore(), rate: -1, period: '1m' })).toThrow(
      '`rate`',
    );
  });

  test('does not repeat a secret', () => {
    expect(() => createGuard(limiter, { partitionSecret: 'hunter2' })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    );
  });
});

describe('a limiter of another copy of the package', () => {
  test('decides about requests and holds places', async () => {
    const other = await secondCopy();
    expect(other.RateLimiter).not.toBe(RateLimiter);
    const foreign = new other.RateLimiter({
      store: new other.MemoryStore(),
      rate: 1,
      period: '1m',
    });
    const rated = createGuard(foreign, { identify });
    expect(rated.limiter).toBe(foreign);
    expect(await rated.check({})).toMatchObject({ pass: true });
    expect(await rated.check({})).toMatchObject({ pass: false, status: 429 });
    const lending = createGuard(foreign, {
      identify,
      limits: [other.concurrency({ name: 'places', max: 1, ttl: '1m' })],
    });
    expect(await lending.check({})).toHaveProperty('finish', expect.any(Function));
    expect(await lending.check({})).toMatchObject({ pass: false, status: 429 });
  });
});

describe("`onRefused: 'throw'`", () => {
  test('rejects with a RateLimitExceeded that has status, headers and decision', async () => {
    const guard = createGuard<object>(
      { store: new MemoryStore(), rate: 1, period: '1m' },
      { identify, onRefused: 'throw' },
    );
    await guard.check({});
    const request = {};
    const error: unknown = await guard.check(request).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RateLimitExceeded);
    expect(error).toMatchObject({
      status: 429,
      statusCode: 429,
      headers: { 'Retry-After': '60' },
      decision: { allowed: false, reason: 'limited' },
    });
    expect((error as RateLimitExceeded).decision).toBe(decisionOf(request));
  });
});

describe('a verdict', () => {
  const inMemory = (): RateLimiter =>
    new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1m', blocks: true });

  test('refuses a blocked identity with 429, until the block ends', async () => {
    const blocking = inMemory();
    await blocking.block('anna', '10m');
    const verdict = await createGuard(blocking, { identify }).check({});
    expect(verdict).toMatchObject({ pass: false, status: 429 });
    expect(Object.fromEntries(verdict.headers)).toMatchObject({ 'Retry-After': '600' });
    expect(verdict).toHaveProperty('body', expect.stringContaining('abnormal-usage-detected'));
  });

  test("rejects with the store's error under failStrategy throw, for the framework to handle", async () => {
    const away = new RateLimiter({
      redis: 'redis://127.0.0.1:1',
      rate: 1,
      period: '1m',
      failStrategy: 'throw',
    });
    await expect(createGuard(away, { identify }).check({})).rejects.toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_STORE/) }),
    );
    await away.close();
  });

  test('rejects and charges nothing when `limits` returns no limits', async () => {
    const guarded = inMemory();
    const limits = (() => 'gold') as unknown as () => undefined;
    await expect(createGuard(guarded, { identify, limits }).check({})).rejects.toThrow('`limits`');
    expect((await guarded.peek('anna')).remaining).toBe(1);
  });

  test('refunds once, however often it is told of the end', async () => {
    const guarded = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1h' });
    await guarded.allow('anna', { cost: 2 });
    const verdict = await createGuard(guarded, { identify, count: 'failures' }).check({});
    if (!verdict.pass) throw new Error('refused');
    verdict.finish!(200);
    verdict.finish!(200);
    verdict.finish!('aborted');
    expect((await guarded.peek('anna')).remaining).toBe(3);
  });

  test('has no finish when nothing can be refunded', async () => {
    expect(await createGuard(inMemory(), { identify }).check({})).not.toHaveProperty('finish');
  });

  test('remembers the decision of each request', async () => {
    const [first, second, skipped] = [{}, {}, {}];
    const guard = createGuard<object>(inMemory(), { identify, skip: (each) => each === skipped });
    await guard.check(first);
    await guard.check(second);
    await guard.check(skipped);
    expect([decisionOf(first)?.allowed, decisionOf(second)?.allowed]).toEqual([true, false]);
    expect(decisionOf(skipped)).toBeUndefined();
  });

  test('decides under its own static limits', async () => {
    const guarded = inMemory();
    const limits = [tokenBucket({ name: 'login', rate: 2, period: '1m' })];
    const guard = createGuard(guarded, { identify, limits });
    const passes = [await guard.check({}), await guard.check({}), await guard.check({})];
    expect(passes.map(({ pass }) => pass)).toEqual([true, true, false]);
  });
});
