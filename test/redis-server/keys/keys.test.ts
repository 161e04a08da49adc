import { createHash, createHmac } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Identity, Limit } from 'distributed-rate-limiter';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { slotOf } from '../../../src/redis/connection/slot.ts';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { check, Random, seed } from '../../kit/random.mjs';

const SECRET = 'a secret of thirty-two bytes, or more';
const numbers = { rate: 5, period: '1h' } as const;

/** Computes the digest a second way, as the design defines it. */
function digest(identity: Identity, secret?: string | Uint8Array): string {
  const bytes =
    typeof identity !== 'object'
      ? Buffer.from(`${identity}`, 'utf8')
      : Buffer.from(
          'ff' +
            identity
              .map((part) => {
                const hex = Buffer.from(`${part}`, 'utf8').toString('hex');
                return (hex.length / 2).toString(16).padStart(8, '0') + hex;
              })
              .join(''),
          'hex',
        );
  const algorithm = secret === undefined ? createHash('sha256') : createHmac('sha256', secret);
  return algorithm.update(bytes).digest('hex');
}

/** A cluster of one node, which has slots and rejects keys of different ones. */
let redis: RedisServer;
let client: Redis;

beforeAll(async () => {
  redis = await startRedis({ config: { 'cluster-enabled': 'yes' } });
  await redis.command('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await waitUntil('the cluster of one', async () =>
    String(await redis.command('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  );
  client = new Redis({ host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  await redis.close();
});
beforeEach(async () => {
  await redis.command('FLUSHALL');
});

async function keys(): Promise<string[]> {
  return ((await redis.command('KEYS', '*')) as string[]).sort();
}

function limiterOf(
  options: { namespace?: string; hashSecret?: string | Uint8Array; limits?: readonly Limit[] } = {},
): RateLimiter {
  const { limits = [tokenBucket(numbers)], ...rest } = options;
  return new RateLimiter({
    redis: client,
    namespace: 'app',
    failStrategy: 'throw',
    timeoutMs: 10_000,
    limits,
    ...rest,
  });
}

describe('the keys of an identity', () => {
  test.each<[string, Identity]>([
    ['ASCII text', 'user:12345'],
    ['text beyond ASCII', 'grün 🦊'],
    ['text with braces, colons and a line end', '{user}:#{}\r\n'],
    ['text of 1,024 bytes', 'é'.repeat(512)],
    ['a single part', ['user:12345']],
    ['several parts', ['org', 'user', '🦊']],
  ])('the unnamed limit has the key <namespace>:<algorithm>:<sha256>: %s', async (_, identity) => {
    await limiterOf().allow(identity);
    expect(await keys()).toEqual([`app:token_bucket:${digest(identity)}`]);
  });

  test('the digest equals that of sha256sum', async () => {
    await limiterOf().allow('user:12345');
    // the output of `printf user:12345 | sha256sum`
    expect(await keys()).toEqual([
      'app:token_bucket:4e95b893bbbb7c28820bbe7a1cf8dfb656821d1d6e0d14a99ef6f7fda43930b0',
    ]);
  });

  test('the default namespace is rate-limit, and namespaces may have slashes', async () => {
    const limiter = new RateLimiter({
      redis: client,
      ...numbers,
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    await limiter.allow('user');
    await limiterOf({ namespace: 'team/app.v2_x-y' }).allow('user');
    expect(await keys()).toEqual([
      `rate-limit:token_bucket:${digest('user')}`,
      `team/app.v2_x-y:token_bucket:${digest('user')}`,
    ]);
  });

  test('limits share one value, and logs and leases have keys of their own in its slot', async () => {
    await limiterOf({
      limits: [
        tokenBucket({ ...numbers, name: 'hourly' }),
        tokenBucket(numbers),
        fixedWindow({ ...numbers, name: 'a.b_c-d' }),
        slidingWindowLog({ ...numbers, name: 'calls' }),
        concurrency({ name: 'jobs', max: 5, ttl: '1m' }),
      ],
    }).acquire('user');
    const K = `app:token_bucket:${digest('user')}`;
    expect(await keys()).toEqual(
      [K, `{${K}}/calls:sliding_window_log`, `{${K}}/jobs:concurrency`].sort(),
    );
    const value = String(await redis.command('GET', K));
    expect(value.replaceAll(/\d+/g, 'N')).toBe(';hourly=tN;=tN;a.b_c-d=fN:N:N');
    const slots = await Promise.all(
      (await keys()).map((key) => redis.command('CLUSTER', 'KEYSLOT', key)),
    );
    expect(new Set(slots).size).toBe(1);
  });

  test('limits that are all named have the key <namespace>:limits:<sha256>', async () => {
    await limiterOf({
      limits: [tokenBucket({ ...numbers, name: 'a' }), tokenBucket({ ...numbers, name: 'b' })],
    }).allow(['org', 'user']);
    expect(await keys()).toEqual([`app:limits:${digest(['org', 'user'])}`]);
  });

  test.each<[string, string | Uint8Array]>([
    ['text', SECRET],
    ['bytes', Uint8Array.from({ length: 64 }, (_, i) => i)],
  ])('hashSecret makes the digest an HMAC: %s', async (_, hashSecret) => {
    await limiterOf({ hashSecret }).allow('10.0.0.1');
    await limiterOf({ hashSecret }).allow(['10.0.0.1', 'x']);
    expect(await keys()).toEqual(
      [
        `app:token_bucket:${digest('10.0.0.1', hashSecret)}`,
        `app:token_bucket:${digest(['10.0.0.1', 'x'], hashSecret)}`,
      ].sort(),
    );
  });

  test('peek writes no key, and reset removes all states but those of buckets with charges', async () => {
    const limits = [slidingWindow(numbers), tokenBucket({ ...numbers, name: 'hourly' })];
    const limiter = limiterOf({ limits });
    await limiter.peek('user');
    expect(await keys()).toEqual([]);
    await limiter.reset('user');
    expect(await keys()).toEqual([]);
    await limiter.allow('user');
    expect(await keys()).toHaveLength(1);
    await limiter.reset('user');
    const [key] = await keys();
    expect(await redis.command('GET', key!)).toMatch(/^;hourly=t\d+:v1:[^;]*$/);
  });

  test('adding a limit keeps the keys of the others', async () => {
    const one = limiterOf();
    await Promise.all([one.allow('user'), one.allow('user'), one.allow(['org', 'user'])]);
    const before = await keys();
    const two = limiterOf({
      limits: [tokenBucket({ ...numbers, name: 'added' }), tokenBucket(numbers)],
    });
    const { limits } = await two.allow('user');
    expect(limits.map(({ name, remaining }) => [name, remaining])).toEqual([
      ['added', 4],
      ['default', 2],
    ]);
    expect(await keys()).toEqual(before);

    const named = limiterOf({ limits: [tokenBucket({ ...numbers, name: 'first' })] });
    await named.allow('user');
    const both = limiterOf({
      limits: [
        tokenBucket({ ...numbers, name: 'second' }),
        tokenBucket({ ...numbers, name: 'first' }),
      ],
    });
    expect((await both.peek('user')).limits.map(({ remaining }) => remaining)).toEqual([5, 4]);
  });
});

describe('no two keys are the same', () => {
  function anyPart(random: Random): string {
    return random
      .list(1, 12, () => {
        const last = random.pick([0x7e, 0x7ff, 0x10_f7ff]);
        const place = random.int(0, last);
        // A lone surrogate is not valid text.
        return String.fromCodePoint(place < 0xd800 ? place : place + 0x800);
      })
      .join('');
  }

  test('an identity is hashed as specified, whatever its parts', async () => {
    await check(200, async (random) => {
      const parts = random.list(1, 4, () => anyPart(random));
      const who = random.chance(50) ? parts : parts[0]!;
      const secretly = random.chance(50);
      random.note('identity', who);
      await redis.command('FLUSHALL');
      await limiterOf(secretly ? { hashSecret: SECRET } : {}).allow(who);
      expect(await keys()).toEqual([
        `app:token_bucket:${digest(who, secretly ? SECRET : undefined)}`,
      ]);
    });
  });

  test.each<[Identity, Identity]>([
    ['ab', ['ab']],
    [['a', 'b'], ['ab']],
    [
      ['ab', 'c'],
      ['a', 'bc'],
    ],
    [['a', 'b'], 'a,b'],
    [
      ['a', 'b', 'c'],
      ['a', 'b\u0000\u0000\u0000\u0001c'],
    ],
    ['\u00ff\u0000\u0000\u0000\u0001a', ['a']],
    ['user', 'user '],
    ['é', 'e\u0301'],
  ])('the identities %j and %j have different keys', async (one, other) => {
    await Promise.all([limiterOf().allow(one), limiterOf().allow(other)]);
    expect(await keys()).toHaveLength(2);
  });

  test('no name can forge the key of another', async () => {
    const odd = '{}/:#\\ \n\0*é'
      .split('')
      .flatMap((sign) => [sign, `a${sign}`, `${sign}a`, `a${sign}a`]);
    for (const name of [...odd, '', 'x'.repeat(65), 'default']) {
      expect(() => tokenBucket({ ...numbers, name })).toThrow(/name/);
    }
    for (const namespace of [...odd.filter((text) => !text.includes('/')), '', 'x'.repeat(65)]) {
      expect(() => limiterOf({ namespace })).toThrow(/namespace/);
    }
  });

  /** Any character of a name, and the separators of the library's own keys. */
  function anyName(random: Random, signs: string): string {
    const words = ['token_bucket', 'limits', 'a', '0'.repeat(8)];
    const name = random
      .list(1, 6, () => random.pick(random.chance(50) ? words : signs.split('')))
      .join('');
    return name.length <= 64 && name !== 'default' ? name : 'a';
  }

  interface Place {
    readonly namespace: string;
    readonly name: string | undefined;
    readonly beside: boolean;
    readonly who: Identity;
  }

  function anyPlace(random: Random): Place {
    const place = {
      namespace: anyName(random, 'ab./_-'),
      name: random.chance(80) ? anyName(random, 'ab._-') : undefined,
      beside: random.chance(50),
      who: random.pick<Identity>(['a', 'b', ['a'], ['a', 'b']]),
    };
    random.note('place', place);
    return place;
  }

  function keyOf({ namespace, name, beside, who }: Place): string {
    const K = `${namespace}:${name === undefined || beside ? 'token_bucket' : 'limits'}:${digest(who)}`;
    const limit = tokenBucket({ ...numbers, ...(name === undefined ? {} : { name }) });
    return `${K} ${stateKeyOf(limit).id}`;
  }

  test('different namespaces, names and identities have different states, and all keys of an identity share its slot', async () => {
    await check(2_000, (random) => {
      const [one, other] = [anyPlace(random), anyPlace(random)];
      const same = (a: Place, b: Place): boolean =>
        a.namespace === b.namespace &&
        a.name === b.name &&
        JSON.stringify(a.who) === JSON.stringify(b.who) &&
        (a.name === undefined || a.beside === b.beside);
      expect(keyOf(one) === keyOf(other)).toBe(same(one, other));
      const [K = ''] = keyOf(one).split(' ');
      const log = slidingWindowLog({
        ...numbers,
        ...(one.name === undefined ? {} : { name: one.name }),
      });
      expect(slotOf(`{${K}}${stateKeyOf(log).suffix}`)).toBe(slotOf(K));
    });
  });
});

describe('slots', () => {
  test('the slot equals that of Redis Cluster, also with odd braces', async () => {
    const odd = [
      '',
      '{',
      '}',
      '{}',
      '{}a',
      'a{}',
      '{a}',
      '{a}b',
      'b{a}c',
      '{a',
      'a}',
      '}{',
      '}{a}',
      '{{a}}',
      '{a}{b}',
      '{}{a}',
      'a{}{b}c',
      '{a{b}c}',
      '{a}}',
      '{{a}',
      '{ }',
      '{:}',
      'a:{b}:c',
      '{a}#block',
      '{a}/b:c',
      '123456789',
    ];
    const signs = '{}{}ab:/#~ '.split('');
    const random = new Random(seed);
    const texts = Array.from({ length: 3_000 }, () =>
      random.list(1, 24, () => random.pick(signs)).join(''),
    );
    const ours = Array.from(
      { length: 500 },
      (_, i) => `{app:token_bucket:${digest(String(i))}}/name:sliding_window_log`,
    );
    const all = [...new Set([...odd, ...texts, ...ours])];
    expect(all.length).toBeGreaterThanOrEqual(2_000);
    const slots = await Promise.all(all.map((key) => redis.command('CLUSTER', 'KEYSLOT', key)));
    expect(all.map((key) => [key, slotOf(key)])).toEqual(all.map((key, i) => [key, slots[i]]));
    expect(new Set(slots).size).toBeGreaterThan(1_000);
  });
});
