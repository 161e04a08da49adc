import { createHash, createHmac } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { AnyIdentity } from '../../../src/base/identity.ts';
import type { Decision, Limit, RateLimiterOptions } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { LimitSet } from '../../../src/limiter/limit-set.ts';

type AnyLimits = readonly Limit<string, string>[];

let clock: ManualClock;
let store: MemoryStore;
let made = 0;

beforeEach(() => {
  clock = new ManualClock();
  store = new MemoryStore({ clock });
});

/** A limiter of which the types know no part. */
function limiterOf(
  limits: AnyLimits,
  options: Partial<RateLimiterOptions<string>> = {},
): RateLimiter<string> {
  return new RateLimiter({ store, namespace: `by-${++made}`, ...options, limits } as never);
}

const minute = { period: '1m' } as const;
const perOrg = tokenBucket({ name: 'org', by: 'org', rate: 10, ...minute });
const perUser = fixedWindow({ name: 'user', by: ['user', 'org'], rate: 3, ...minute });

function left(decision: Pick<Decision, 'limits'>): unknown {
  return Object.fromEntries(decision.limits.map(({ name, remaining }) => [name, remaining]));
}

describe('limits that count by parts of an identity', () => {
  test('count the same call under each home, and calls that share a part together', async () => {
    const limiter = limiterOf([perOrg, perUser]);
    expect(left(await limiter.allow({ org: 'a', user: 1 }))).toEqual({ org: 9, user: 2 });
    expect(left(await limiter.allow({ org: 'a', user: 2 }))).toEqual({ org: 8, user: 2 });
    expect(left(await limiter.allow({ org: 'b', user: 1 }))).toEqual({ org: 9, user: 2 });
    expect(left(await limiter.peek({ org: 'a', user: 1 }))).toEqual({ org: 8, user: 2 });
  });

  test('charge no home if one refuses', async () => {
    const limiter = limiterOf([perOrg, perUser]);
    const refused = await limiter.allow({ org: 'a', user: 1 }, { cost: 3 });
    expect(refused.allowed).toBe(true);
    const second = await limiter.allow({ org: 'a', user: 1 });
    expect(second).toMatchObject({ allowed: false, limitedBy: ['user'] });
    expect(left(await limiter.peek({ org: 'a', user: 2 }))).toEqual({ org: 7, user: 3 });
  });

  test('say in a decision which parts they count by', async () => {
    const all = slidingWindow({ name: 'all', by: [], rate: 100, ...minute });
    const limiter = limiterOf([perOrg, perUser, all]);
    const { limits } = await limiter.allow({ user: 1, org: 'a' });
    expect(limits.map(({ name, by }) => [name, by])).toEqual([
      ['org', ['org']],
      ['user', ['org', 'user']],
      ['all', []],
    ]);
    const impossible = await limiter.allow({ user: 1, org: 'a' }, { cost: 4 });
    expect(impossible).toMatchObject({ reason: 'impossible', limitedBy: ['user'], maxCost: 3 });
    expect(impossible.limits[1]!.by).toEqual(['org', 'user']);
    const whole = await new RateLimiter({ store, rate: 1, period: '1m' }).allow('a');
    expect(Object.keys(whole.limits[0]!)).not.toContain('by');
  });

  test('`by` is a set: order and repetition change nothing', () => {
    const one = tokenBucket({ by: ['b', 'a', 'b'], rate: 1, ...minute });
    expect(one.by).toEqual(['a', 'b']);
    expect(tokenBucket({ by: 'a', rate: 1, ...minute }).by).toEqual(['a']);
    expect(tokenBucket({ by: [], rate: 1, ...minute }).by).toEqual([]);
    expect(tokenBucket({ rate: 1, ...minute }).by).toBeUndefined();
  });

  test('`by: []` is one counter for all, whose identity is {}', async () => {
    const limiter = limiterOf([tokenBucket({ by: [], rate: 2, ...minute })]);
    expect((await limiter.allow({})).remaining).toBe(1);
    const beside = limiterOf([tokenBucket({ name: 'all', by: [], rate: 3, ...minute }), perOrg]);
    await beside.allow({ org: 'a' });
    expect(left(await beside.allow({ org: 'b' }))).toEqual({ all: 1, org: 9 });
  });

  test.each<[string, AnyLimits]>([
    ['a token bucket', [tokenBucket({ name: 'a', by: 'a', rate: 5, ...minute })]],
    ['a window', [slidingWindow({ name: 'a', by: 'a', rate: 5, ...minute })]],
    ['a log', [slidingWindowLog({ name: 'a', by: 'a', rate: 5, ...minute })]],
  ])('give back what a decision charged in each home: %s', async (_, limits) => {
    const limiter = limiterOf([...limits, fixedWindow({ name: 'b', by: 'b', rate: 5, ...minute })]);
    const decision = await limiter.allow({ a: 1, b: 1 }, { cost: 2 });
    expect(left(await limiter.refund(decision))).toEqual({ a: 5, b: 5 });
    const grant = await limiter.allowUpTo({ a: 1, b: 1 }, 9);
    expect(grant.granted).toBe(5);
    expect(left(await limiter.refund(grant))).toEqual({ a: 5, b: 5 });
  });

  test('wait in one queue for all homes of a call', async () => {
    const limiter = limiterOf([
      tokenBucket({ name: 'a', by: 'a', rate: 1, period: '1s' }),
      tokenBucket({ name: 'b', by: ['a', 'b'], rate: 1, period: '1s' }),
    ]);
    await limiter.allow({ a: 1, b: 1 });
    const waiting = limiter.wait({ a: 1, b: 2 });
    clock.advance('1s');
    expect((await waiting).allowed).toBe(true);
  });

  test('follow whole identities: another name, type or split of parts is another home', () => {
    const keysOf = (identity: AnyIdentity, limits: AnyLimits, secret?: string) => {
      const { key, homes } = new LimitSet('ns', limits, false).locate(identity, secret);
      return homes ?? [key];
    };
    const ab = [tokenBucket({ by: ['a', 'b'], rate: 1, ...minute })];
    const [key] = keysOf({ a: 'x', b: 'y' }, ab);
    expect(keysOf({ b: 'y', a: 'x' }, ab)).toEqual([key]);
    const others = [
      ...keysOf({ a: 'y', b: 'x' }, ab),
      ...keysOf({ a: 'xy', b: 'y' }, ab),
      ...keysOf({ a: 'x', b: 'y' }, ab, 's'.repeat(32)),
      ...keysOf({ a: 'x', c: 'y' }, [tokenBucket({ by: ['a', 'c'], rate: 1, ...minute })]),
      ...keysOf({ ab: 'xy' }, [tokenBucket({ by: 'ab', rate: 1, ...minute })]),
    ];
    expect(new Set([key, ...others]).size).toBe(others.length + 1);
    expect(keysOf({ a: 1, b: 2n }, ab)).toEqual(keysOf({ a: '1', b: '2' }, ab));
  });

  test('keys are the digests of the tag and of the home, as documented', () => {
    const length = (text: string): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(Buffer.byteLength(text));
      return Buffer.concat([bytes, Buffer.from(text)]);
    };
    const digest = (secret: string | undefined, ...parts: string[]): string => {
      const bytes = Buffer.concat([Buffer.of(0xfe), ...parts.map(length)]);
      return secret === undefined
        ? createHash('sha256').update(bytes).digest('hex')
        : createHmac('sha256', secret).update(bytes).digest('hex');
    };
    const limits = [perUser, perOrg];
    for (const secret of [undefined, 's'.repeat(32)]) {
      const { key, homes } = new LimitSet('ns', limits, false).locate(
        { user: 7, org: 'ä' },
        secret,
      );
      const tag = digest(secret, 'org', 'ä');
      expect(homes).toEqual([
        `{ns:limits:${tag}}:${digest(secret, 'org', 'ä', 'user', '7')}`,
        `{ns:limits:${tag}}:${tag}`,
      ]);
      expect(key).toBe(homes![0]);
      const apart = [perOrg, tokenBucket({ name: 'ip', by: 'ip', rate: 1, ...minute })];
      expect(new LimitSet('ns', apart, false).locate({ ip: 1, org: 'a' }, secret).homes).toEqual([
        `ns:limits:${digest(secret, 'org', 'a')}`,
        `ns:limits:${digest(secret, 'ip', '1')}`,
      ]);
    }
  });
});

describe('parts of an identity', () => {
  const limits: AnyLimits = [perOrg, tokenBucket({ name: 'ip', by: 'ip', rate: 5, ...minute })];

  test.each<[string, unknown, string]>([
    ['a part is missing', { org: 'a' }, '`identity.ip` must be given, got undefined'],
    ['a part is undefined', { org: 'a', ip: undefined }, '`identity.ip` must be given'],
    ['a part is named that no limit counts by', { org: 'a', ip: 1, x: 1 }, 'no limit counts by'],
    ['a part is inherited', Object.create({ org: 'a', ip: 1 }), '`identity.ip` must be given'],
    ['a part is empty', { org: '', ip: 1 }, '`identity.org` must be a non-empty'],
    ['a part is no text', { org: {}, ip: 1 }, '`identity.org` must be a non-empty'],
    ['a part has a fraction', { org: 1.5, ip: 1 }, '`identity.org`'],
    ['a part is several', { org: ['a'], ip: 1 }, '`identity.org`'],
    [
      'the parts are too long together',
      { org: 'a'.repeat(600), ip: 'b'.repeat(600) },
      '1024 bytes',
    ],
    ['it is a string', 'a', 'named parts, since the limits say `by`: { ip, org }'],
    ['it is a number', 5, 'named parts'],
    ['it is an array', ['a', 'b'], 'got an array of 2'],
    ['it is nothing', undefined, 'got undefined'],
    ['it is null', null, 'got null'],
    [
      'it throws when it is read',
      new Proxy(
        {},
        {
          ownKeys: () => {
            throw new Error('no');
          },
        },
      ),
      'must be readable',
    ],
  ])('are refused if %s', async (_, identity, text) => {
    const limiter = limiterOf(limits);
    const calls = [
      limiter.allow(identity as never),
      limiter.peek(identity as never),
      limiter.allowUpTo(identity as never, 1),
      limiter.reserve(identity as never, { ttl: '1m' }),
      limiter.wait(identity as never),
    ];
    for (const call of calls) {
      const error = await call.catch((caught: unknown) => caught);
      expect(error).toMatchObject({
        code: 'ERR_INVALID_IDENTITY',
        message: expect.stringContaining(text),
      });
    }
    expect(store.size).toBe(0);
  });

  test('named like a method of all objects have to be own properties', async () => {
    const limiter = limiterOf([tokenBucket({ by: 'toString', rate: 1, ...minute })]);
    await expect(limiter.allow({})).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
    expect((await limiter.allow({ toString: 'a' })).allowed).toBe(true);
  });

  test('are refused by a limiter of whole identities', async () => {
    const limiter = new RateLimiter({ store, rate: 1, period: '1m' });
    await expect(limiter.allow({ org: 'a' } as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_IDENTITY',
    });
  });

  test('null leaves out the limits that count by it', async () => {
    const user = tokenBucket({ name: 'user', by: ['ip', 'user'], rate: 1, ...minute });
    const ip = tokenBucket({ name: 'ip', by: 'ip', rate: 5, ...minute });
    const limiter = limiterOf([user, ip]);
    const decision = await limiter.allow({ ip: '::1', user: null }, { cost: 4 });
    expect(left(decision)).toEqual({ ip: 1 });
    expect(decision.allowed).toBe(true);
    expect(left(await limiter.peek({ ip: '::1', user: 'a' }))).toEqual({ user: 1, ip: 1 });
    await limiter.refund(decision);
    expect(left(await limiter.peek({ ip: '::1', user: null }))).toEqual({ ip: 5 });
    await expect(limiter.allow({ ip: null, user: 'a' })).rejects.toMatchObject({
      code: 'ERR_INVALID_IDENTITY',
      message: expect.stringContaining('at least one limit'),
    });
  });

  test('null leaves `acquire` without a place where it leaves out the only concurrency limit', async () => {
    const limiter = limiterOf([
      concurrency({ name: 'user', by: 'user', max: 1, ttl: '10s' }),
      tokenBucket({ name: 'ip', by: 'ip', rate: 5, ...minute }),
    ]);
    const lease = await limiter.acquire({ ip: 1, user: null });
    expect([lease.allowed, lease.leaseId, lease.remaining]).toEqual([true, undefined, 4]);
    expect((await limiter.acquire({ ip: 1, user: 'a' })).leaseId).toBeDefined();
    await expect(limiter.allow({ ip: 1, user: null })).rejects.toMatchObject({
      code: 'ERR_LEASE_REQUIRED',
    });
  });
});

describe('one home', () => {
  const ip = tokenBucket({ name: 'ip', by: 'ip', rate: 5, maxDebt: 5, ...minute });
  const both = tokenBucket({ name: 'both', by: ['ip', 'user'], rate: 5, maxDebt: 5, ...minute });
  const everybody = tokenBucket({ name: 'all', by: [], rate: 50, maxDebt: 50, ...minute });
  const limits: AnyLimits = [ip, both, everybody];

  test('is blocked by exactly its parts, and refuses every call that counts there', async () => {
    const limiter = limiterOf(limits, { blocks: true });
    await limiter.block({ ip: 1 }, '10s');
    expect(await limiter.allow({ ip: 1, user: 'a' })).toMatchObject({
      reason: 'blocked',
      retryAfterMs: 10_000,
    });
    expect((await limiter.allow({ ip: 2, user: 'a' })).allowed).toBe(true);
    await limiter.block({ user: 'a', ip: 2 }, '20s');
    expect((await limiter.allow({ ip: 2, user: 'a' })).reason).toBe('blocked');
    expect((await limiter.allow({ ip: 2, user: 'b' })).allowed).toBe(true);
    await limiter.unblock({ ip: 1 });
    expect((await limiter.allow({ ip: 1, user: 'a' })).allowed).toBe(true);
    await limiter.block({}, '1s');
    expect((await limiter.allow({ ip: 1, user: 'a' })).reason).toBe('blocked');
  });

  test('of several that are blocked, the longest block counts', async () => {
    const limiter = limiterOf(limits, { blocks: true });
    await limiter.block({ ip: 1 }, '30s');
    await limiter.block({ ip: 1, user: 'a' }, '10s');
    await limiter.block({}, '20s');
    expect((await limiter.allow({ ip: 1, user: 'a' })).retryAfterMs).toBe(30_000);
    expect((await limiter.allow({ ip: 1, user: null })).retryAfterMs).toBe(30_000);
    expect((await limiter.allow({ ip: 2, user: 'a' })).retryAfterMs).toBe(20_000);
  });

  test('keeps its block under every plan, and under none', async () => {
    const limiter = limiterOf(limits, { blocks: true });
    await limiter.block({ ip: 1, user: 'a' }, '10s');
    const plan = [tokenBucket({ name: 'ip', by: 'ip', rate: 500, ...minute })];
    expect((await limiter.allow({ ip: 1, user: 'a' }, { limits: plan })).reason).toBe('blocked');
    expect((await limiter.allow({ ip: 1, user: 'a' }, { limits: [] })).reason).toBe('blocked');
    expect((await limiter.allow({ ip: 1, user: 'b' }, { limits: [] })).reason).toBe('unlimited');
    expect((await limiter.allow({ ip: 1, user: null }, { limits: [] })).reason).toBe('unlimited');
  });

  test('is penalized and reset alone', async () => {
    const limiter = limiterOf(limits);
    const peek = async () => left(await limiter.peek({ ip: 1, user: 'a' }));
    expect(left(await limiter.penalize({ ip: 1 }, 3))).toEqual({ ip: 2 });
    expect(await peek()).toEqual({ ip: 2, both: 5, all: 50 });
    await limiter.penalize({}, 10);
    await limiter.allow({ ip: 1, user: 'a' });
    expect(await peek()).toEqual({ ip: 1, both: 4, all: 39 });
    await limiter.reset({ ip: 1, user: 'a' });
    expect(await peek()).toEqual({ ip: 1, both: 5, all: 39 });
    await limiter.reset({ ip: 1 });
    await limiter.reset({});
    expect(await peek()).toEqual({ ip: 5, both: 5, all: 50 });
  });

  test.each<[string, unknown]>([
    ['a part of a home', { user: 'a' }],
    ['more than a home', { ip: 1, user: 'a', x: 1 }],
    ['no value', { ip: 1, user: null }],
    ['a whole identity', 'a'],
  ])('is not found by %s', async (_, identity) => {
    const limiter = limiterOf(limits, { blocks: true });
    const calls = [
      limiter.block(identity as never, '1s'),
      limiter.unblock(identity as never),
      limiter.reset(identity as never),
      limiter.penalize(identity as never, 1),
    ];
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
    }
    expect(store.size).toBe(0);
  });

  test('is named by the error of another set of parts', async () => {
    await expect(limiterOf(limits).reset({ user: 'a' })).rejects.toThrow(
      '{ ip } or { ip, user } or {}',
    );
  });
});

describe('plans of limits by parts', () => {
  const own: AnyLimits = [perOrg, perUser];

  test('share the homes of the limiter', async () => {
    const limiter = limiterOf(own);
    await limiter.allow({ org: 'a', user: 1 }, { cost: 2 });
    const plan = [tokenBucket({ name: 'org', by: 'org', rate: 100, ...minute })];
    expect(left(await limiter.allow({ org: 'a', user: 1 }, { limits: plan }))).toEqual({ org: 97 });
    expect(left(await limiter.peek({ org: 'a', user: 1 }))).toEqual({ org: 7, user: 1 });
  });

  test('of the same name by other parts count apart', async () => {
    const limiter = limiterOf(own);
    await limiter.allow({ org: 'a', user: 1 }, { cost: 2 });
    const plan = [tokenBucket({ name: 'org', by: ['org', 'user'], rate: 10, ...minute })];
    expect(left(await limiter.peek({ org: 'a', user: 1 }, { limits: plan }))).toEqual({ org: 10 });
  });

  test.each<[string, AnyLimits, AnyLimits, string]>([
    [
      'says no `by` where the limiter does',
      own,
      [tokenBucket({ rate: 1, ...minute })],
      'must say `by` where the limiter\'s own do, but the limit "default" does not',
    ],
    [
      'says `by` where the limiter does not',
      [tokenBucket({ rate: 1, ...minute })],
      [perOrg],
      'must not say `by`',
    ],
    [
      'lacks a part of the hash tag',
      own,
      [tokenBucket({ name: 'x', by: 'user', rate: 1, ...minute })],
      'the limit "x" does not count by "org"',
    ],
  ])('are refused if one %s', async (_, limits, plan, text) => {
    const limiter = limiterOf(limits);
    const identity = limits[0]!.by === undefined ? 'a' : { org: 'a', user: 1 };
    await expect(limiter.allow(identity, { limits: plan })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringContaining(text),
    });
  });
});

describe('the options `by` and `tagBy`', () => {
  test.each<[string, unknown]>([
    ['a number', 5],
    ['null', null],
    ['an empty name', ''],
    ['a name with a brace', 'a{'],
    ['a name in an array that is none', ['a', 5]],
    ['more than 8 parts', 'a b c d e f g h i'.split(' ')],
  ])('refuse %s', (_, by) => {
    expect(() => tokenBucket({ by: by as never, rate: 1, ...minute })).toThrow('`by` must be');
    expect(() => limiterOf([perOrg], { tagBy: by as never })).toThrow('`tagBy` must be');
  });

  test('all limits say `by`, or none', () => {
    expect(() => limiterOf([perOrg, tokenBucket({ name: 'x', rate: 1, ...minute })])).toThrow(
      '`limits` must say `by` in each limit or in none, but the limit "org" does and the limit "x" does not',
    );
  });

  test('`tagBy` names parts that all limits count by', () => {
    expect(() => limiterOf([perOrg, perUser], { tagBy: ['org', 'user'] })).toThrow(
      '`tagBy` must name parts that all limits count by, but the limit "org" does not count by "user"',
    );
    expect(() => limiterOf([tokenBucket({ rate: 1, ...minute })], { tagBy: 'org' })).toThrow(
      '`tagBy` must be left out where no limit says `by`',
    );
  });

  test('`tagBy` keeps the keys when a limit is added that counts by less', () => {
    const keys = (limits: AnyLimits, tagBy?: readonly string[]): readonly string[] => {
      const set = new LimitSet('ns', limits, false, { tagBy });
      const { key, homes } = set.locate({ org: 'a', user: 1 }, undefined);
      return homes ?? [key];
    };
    expect(keys([perUser], ['org'])).toEqual([keys([perUser, perOrg])[0]]);
    expect(keys([perUser])).not.toEqual([keys([perUser, perOrg])[0]]);
  });

  test('an option of a limit among those of a limiter is told where it belongs', () => {
    expect(() => new RateLimiter({ store, rate: 1, period: '1m', by: 'org' } as never)).toThrow(
      'limits: [tokenBucket({ rate, period, by })]',
    );
  });
});
