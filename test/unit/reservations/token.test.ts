import { fixedWindow, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { digestIdentity } from '../../../src/base/identity.ts';

type Options = Readonly<Record<string, unknown>>;

const ID = 'user:12345';
const SECRET = 'secret'.repeat(6);
const OTHER_SECRET = 'other!'.repeat(6);
const clock = new ManualClock();
const store = new MemoryStore({ clock });
const make = (options: Options = {}): RateLimiter =>
  new RateLimiter({ store, namespace: 'mine', limits: [bucket()], ...options });
const bucket = () => tokenBucket({ rate: 100, period: '100s' });
const tokenOf = async (limiter: RateLimiter, identity = ID): Promise<string> =>
  (await limiter.reserve(identity, { cost: 1, ttl: '1m' })).token;

describe('a token', () => {
  test('has neither the identity, the namespace nor an amount in it', async () => {
    const { token } = await make().reserve(ID, { cost: 97, ttl: '1m' });
    expect(token).toMatch(/^1\.[0-9a-f]{32}\.token_bucket\.[0-9a-f]{64}\.[0-9a-f]{32}$/);
    expect(token).toContain(digestIdentity(ID, undefined));
    expect(await tokenOf(make({ hashSecret: SECRET }))).not.toContain(
      digestIdentity(ID, undefined),
    );
  });

  test('is in no JSON, no copy and no printed form of a reservation or of a handle', async () => {
    const limiter = make();
    const reservation = await limiter.reserve(ID, { cost: 1, ttl: '1m' });
    const { token } = reservation;
    const record = token.split('.')[1]!;
    for (const handle of [reservation, limiter.resume(token)]) {
      const printed = [
        JSON.stringify(handle),
        inspect(handle),
        inspect(handle, { showHidden: true, depth: null }),
        inspect({ ...handle }),
      ];
      expect(printed.join()).not.toContain(record);
      expect(handle.token).toBe(token);
    }
  });

  test('is not in what hooks hear, nor is anything to settle with', async () => {
    const heard: object[] = [];
    const limiter = make({
      onAllow: (_identity: unknown, decision: object) => void heard.push(decision),
    });
    const reservation = await limiter.reserve(ID, { cost: 1, ttl: '1m' });
    expect(reservation.token).toBeTypeOf('string');
    for (const name of ['token', 'settle', 'add', 'cancel']) {
      expect(name in heard[0]!).toBe(false);
    }
  });

  test.each<[string, Options, Options]>([
    ['another namespace', {}, { namespace: 'yours' }],
    [
      'another namespace of the same secret',
      { hashSecret: SECRET },
      { namespace: 'yours', hashSecret: SECRET },
    ],
    ['another secret', { hashSecret: SECRET }, { hashSecret: OTHER_SECRET }],
    ['a limiter without a secret', { hashSecret: SECRET }, {}],
    ['a limiter with a secret', {}, { hashSecret: SECRET }],
  ])('of %s is unknown', async (_of, mine, yours) => {
    const token = await tokenOf(make(mine));
    expect(() => make(yours).resume(token)).toThrow(
      expect.objectContaining({
        code: 'ERR_UNKNOWN_TOKEN',
        message: expect.not.stringContaining(token.slice(2, 10)),
      }),
    );
    expect(await make(mine).resume(token).settle(0)).toMatchObject({ expired: false });
  });

  test('cannot be made into one of another identity, record or kind', async () => {
    const limiter = make({ hashSecret: SECRET });
    const mine = (await tokenOf(limiter)).split('.');
    const yours = (await tokenOf(limiter, 'user:2')).split('.');
    for (const part of [1, 3]) {
      const forged = mine.with(part, yours[part]!).join('.');
      expect(() => limiter.resume(forged)).toThrow(
        expect.objectContaining({ code: 'ERR_UNKNOWN_TOKEN' }),
      );
    }
    for (const forged of [
      mine.with(2, 'none'),
      mine.toSpliced(3, 1),
      mine.toSpliced(3, 0, yours[3]!),
    ]) {
      expect(() => limiter.resume(forged.join('.'))).toThrow(
        expect.objectContaining({ code: 'ERR_UNKNOWN_TOKEN' }),
      );
    }
  });

  test('of one home cannot be made into one of two', async () => {
    const limits = [
      fixedWindow({ by: 'org', rate: 10, period: '1h' }),
      fixedWindow({ name: 'user', by: ['org', 'user'], rate: 10, period: '1h' }),
    ];
    const limiter = new RateLimiter({ store, limits, hashSecret: SECRET });
    const of = async (user: string) =>
      (await limiter.reserve({ org: 'acme', user }, { cost: 1, ttl: '1m' })).token.split('.');
    const [mine, yours] = [await of('1'), await of('2')];
    expect(mine).toHaveLength(7);
    expect(mine.slice(2, 5)).toEqual(yours.slice(2, 5));
    expect(() => limiter.resume(mine.with(5, yours[5]!).join('.'))).toThrow(
      expect.objectContaining({ code: 'ERR_UNKNOWN_TOKEN' }),
    );
  });

  test('is refused in any other form, told by its size alone, and nothing is sent', async () => {
    const limiter = make();
    const token = await tokenOf(limiter);
    const { size } = store;
    const wrong: unknown[] = [
      undefined,
      null,
      17,
      {},
      [token],
      Symbol('token'),
      { toString: () => token },
      new Proxy({}, { get: () => token }),
      '',
      '__proto__',
      'constructor',
      token.slice(0, -1),
      token.slice(1),
      `${token}\n`,
      ` ${token}`,
      `${token}.`,
      token.toUpperCase(),
      token.replace('token_bucket', 'token-bucket'),
      token.replace('token_bucket', '__proto__'.padEnd(25, '_')),
      token.replace(/\.[0-9a-f]{64}/, '.*'),
      token.replace(/\.[0-9a-f]{64}/, "']]..redis.call('FLUSHALL')..[['"),
      token.replace(/\.[0-9a-f]{64}/, '.{a}*?[x]\r\nFLUSHALL\r\n'),
      `1.${'0'.repeat(32)}.limits.${'\0'.repeat(64)}.${'0'.repeat(32)}`,
      `1.${'0'.repeat(1_000_000)}`,
      '.'.repeat(2_000),
    ];
    for (const value of wrong) {
      expect(() => limiter.resume(value as string)).toThrow(
        expect.objectContaining({
          code: 'ERR_INVALID_OPTION',
          message: expect.stringMatching(
            /^`token` must be what `reservation\.token` gave, .{1,80}\. Pass all/,
          ),
        }),
      );
    }
    expect(() => limiter.resume(token.replace('1.', '2.'))).toThrow('got one of version 2');
    expect(() =>
      limiter.resume(`1.${'0'.repeat(32)}.__proto__.${'0'.repeat(64)}.${'0'.repeat(32)}`),
    ).toThrow(expect.objectContaining({ code: 'ERR_UNKNOWN_TOKEN' }));
    expect(store.size).toBe(size);
  });

  test('of a limiter of any kind of key names the keys of that limiter', async () => {
    const kinds: Options[] = [
      { rate: 5, period: '1m' },
      { rate: 5, period: '1m', algorithm: 'fixed_window' },
      { limits: [tokenBucket({ name: 'named', rate: 5, period: '1m' })] },
      { limits: [tokenBucket({ by: 'user', rate: 5, period: '1m' })] },
      {
        limits: [
          tokenBucket({ by: 'user', rate: 5, period: '1m' }),
          tokenBucket({ name: 'ip', by: 'ip', rate: 5, period: '1m' }),
        ],
      },
      { limits: [tokenBucket({ by: [], rate: 5, period: '1m' })] },
    ];
    for (const [i, kind] of kinds.entries()) {
      const limiter: RateLimiter = new RateLimiter({
        store,
        namespace: `kind-${i}`,
        ...kind,
      } as never);
      const identity = [ID, ID, ID, { user: ID }, { user: ID, ip: '::1' }, {}][i] as string;
      const { token, allowed } = await limiter.reserve(identity, { cost: 4, ttl: '1m' });
      expect(allowed).toBe(true);
      const other = new RateLimiter({ store, namespace: `kind-${i}`, rate: 1, period: '1s' });
      expect(await other.resume(token).settle(1)).toEqual({
        charged: 1,
        uncharged: 0,
        expired: false,
      });
      expect((await limiter.peek(identity)).remaining).toBe(4);
    }
  });
});
