import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { fixedWindow } from '../../../src/algorithms/fixed-window.ts';
import { slidingWindow } from '../../../src/algorithms/sliding-window.ts';
import { tokenBucket } from '../../../src/algorithms/token-bucket.ts';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { decideScript } from '../../../src/script/script.gen.ts';
import { virtualScript } from '../../kit/fakes/virtual-script.ts';
import { check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { openResp, startRedis, startReplicated } from '../../kit/servers/index.mjs';
import { groupedByProduction } from '../../kit/twins/grouping.ts';

/**
 * The production script writes the keys of a large batch by `MSETEX` where the server has it. These tests compare it with
 * the same script key by key, and run on every server: on one without `MSETEX` both do the same.
 */

const NOW = 1_767_225_600_000_000;
/** Keys of a batch; the script writes key by key below 32. */
const MANY = 64;

/** How much later the second half of a script may read the clock. */
const DRIFT_MS = 1_000;

const slow = { rate: 50, period: '30d' } as const;
const SETS = {
  'a token bucket': [tokenBucket(slow)],
  'a token bucket whose unit is no whole microsecond': [tokenBucket({ rate: 7, period: '1h' })],
  'a fixed window': [fixedWindow({ rate: 5, period: '1d' })],
  'a sliding window': [slidingWindow({ rate: 5, period: '1d' })],
  'two limits of an identity': [
    tokenBucket(slow),
    fixedWindow({ name: 'day', rate: 5, period: '1d' }),
  ],
  'limits by user and by organization': [
    tokenBucket({ name: 'user', by: ['org', 'user'], rate: 5, period: '1d' }),
    tokenBucket({ name: 'org', by: 'org', rate: 40, period: '30d' }),
  ],
};

/** The script twice in one call, on two sets of keys, the second time without what it needs for `MSETEX`. */
const BOTH = `local function decide(KEYS, ARGV, redis)
${virtualScript.text}
end
local mine, others, args = {}, {}, {}
for i, key in ipairs(KEYS) do mine[i], others[i] = 'a:' .. key, 'b:' .. key end
for i, arg in ipairs(ARGV) do args[i] = arg end
local plain = { call = redis.call, pcall = redis.pcall, error_reply = redis.error_reply }
local out = { decide(mine, ARGV, redis), decide(others, args, plain) }
for _, keys in ipairs({ mine, others }) do
  local kept = {}
  for i, key in ipairs(keys) do
    local kind = redis.call('TYPE', key).ok
    kept[2 * i - 1] = kind == 'string' and redis.call('GET', key) or kind
    kept[2 * i] = redis.call('PTTL', key)
  end
  out[#out + 1] = kept
end
for i, key in ipairs(mine) do redis.call('PERSIST', key) redis.call('PERSIST', others[i]) end
return out`;

let redis: Awaited<ReturnType<typeof startRedis>>;
/** Whether the server has `MSETEX`. */
let has = false;

beforeAll(async () => {
  redis = await startRedis();
  has = Boolean((await redis.command('COMMAND', 'INFO', 'MSETEX'))[0]);
});
afterAll(() => redis.close());

function entriesOf(name: keyof typeof SETS, count: number, random: Random): Entry[] {
  const set = new LimitSet('w', SETS[name], false);
  const shape = set.shape('allow', random.int(1, 3));
  const times = random.pick([1, 1, 3]);
  return Array.from({ length: count }, () => {
    const key = `{w}:${random.int(1, 90)}`;
    const homes = name.includes('organization')
      ? { homes: [key, `{w}:org${random.int(1, 3)}`] }
      : {};
    return Array.from({ length: times }, () => ({ key, ...homes, shape }));
  }).flat();
}

const commandsSent = async (): Promise<number> =>
  (await redis.commandStats())['msetex']?.calls ?? 0;

describe('batches written together and key by key', () => {
  test.each(Object.keys(SETS) as (keyof typeof SETS)[])(
    'leave the same states and answers under %s, and keys live as long or up to half longer',
    async (name) => {
      await redis.command('CONFIG', 'RESETSTAT');
      let [longer, foreign] = [0, 0];
      await check(40, async (random) => {
        await redis.command('FLUSHALL');
        let now = NOW;
        for (const _ of random.steps(1, 6)) {
          now += random.pick([0, 1_000_000, 3_600_000_000, 86_400_000_000]);
          if (random.chance(20)) {
            const key = `{w}:${random.int(1, 90)}`;
            for (const side of ['a:', 'b:']) {
              await redis.command('DEL', side + key);
              await redis.command('RPUSH', side + key, 'x');
            }
          }
          for (const { keys, args } of groupedByProduction(entriesOf(name, MANY, random))) {
            const [mine, others, kept, keptByOthers] = (await redis.command(
              'EVAL',
              BOTH,
              keys.length,
              ...keys,
              ...args,
              now,
            )) as [unknown[], unknown[], (string | number)[], (string | number)[]];
            expect(mine).toEqual(others);
            foreign += mine.filter((each) => String(each).startsWith('WRONGTYPE')).length;
            for (let i = 0; i < kept.length; i += 2) {
              const [ttl, own] = [Number(kept[i + 1]), Number(keptByOthers[i + 1])];
              expect(kept[i]).toBe(keptByOthers[i]);
              // Servers that have it stop their clock while a script runs; Redis 7.0 does not.
              expect(ttl).toBeGreaterThanOrEqual(own - (has ? 0 : DRIFT_MS));
              expect(ttl).toBeLessThanOrEqual(has ? Math.max(own, own * 1.5) : own + DRIFT_MS);
              longer += Number(ttl > own + DRIFT_MS);
            }
          }
        }
      });
      expect(foreign).toBeGreaterThan(0);
      expect((await commandsSent()) > 0).toBe(has);
      if (!has) expect(longer).toBe(0);
      // Keys of windows expire at the end of one, all together.
      else if (!name.includes('window')) expect(longer).toBeGreaterThan(0);
    },
    60_000,
  );
});

/** A call under each of these keys, as production's own script takes them. */
function batch(keys: readonly string[], name: keyof typeof SETS = 'a token bucket'): [string] {
  const shape = new LimitSet('w', SETS[name], false).shape('allow', 1);
  const [{ keys: sent, args } = { keys: [], args: [] }] = groupedByProduction(
    keys.map((key) => ({ key, shape })),
  );
  return ['EVAL', decideScript.text, String(sent.length), ...sent, ...args] as never;
}

const named = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

describe('a large batch', () => {
  test('is one MSETEX where the server has it, and is counted as no error where it has not', async () => {
    await redis.command('FLUSHALL');
    await redis.command('CONFIG', 'RESETSTAT');
    expect(await redis.command(...batch(named('k', MANY)))).toHaveLength(1 + MANY);
    expect(await commandsSent()).toBe(has ? 1 : 0);
    expect((await redis.commandStats())['set']?.calls ?? 0).toBe(has ? 0 : MANY);
    expect(await redis.info('errorstats')).toEqual({});
    expect((await redis.info('stats'))['total_error_replies']).toBe('0');
    expect(await redis.keyCounts()).toEqual({ keys: MANY, expires: MANY });
  });

  test('of fewer than 32 keys is written key by key', async () => {
    await redis.command('CONFIG', 'RESETSTAT');
    await redis.command(...batch(named('few', 31)));
    expect(await commandsSent()).toBe(0);
  });

  test.each(['a token bucket', 'two limits of an identity'] as const)(
    'under %s fails as a whole while memory is full',
    async (name) => {
      await redis.command('FLUSHALL');
      await redis.command('CONFIG', 'SET', 'maxmemory', 1);
      onTestFinished(() => void redis.command('CONFIG', 'SET', 'maxmemory', 0));
      const [, ...answers] = await redis.command(...batch(named('k', MANY), name));
      expect(answers.filter((each: unknown) => !String(each).startsWith('OOM'))).toEqual([]);
      expect(await redis.command('DBSIZE')).toBe(0);
    },
  );

  test.each(['a token bucket', 'two limits of an identity'] as const)(
    'under %s fails for a key of a foreign type alone',
    async (name) => {
      await redis.command('FLUSHALL');
      await redis.command('RPUSH', 'k40', 'x');
      const [, ...answers] = await redis.command(...batch(named('k', MANY), name));
      const width = answers.length / MANY;
      const failed = answers.flatMap((each: unknown, i: number) =>
        String(each).startsWith('WRONGTYPE') ? [i] : [],
      );
      expect(failed).toEqual(Array.from({ length: width }, (_, i) => 40 * width + i));
      expect(await redis.keyCounts()).toEqual({ keys: MANY, expires: MANY - 1 });
    },
  );

  test('on a replica is answered with its error', async () => {
    const { replica, close } = await startReplicated();
    onTestFinished(close);
    const call = replica.command(...batch(named('k', MANY)));
    await expect(call).rejects.toThrow(/READONLY/);
  });
});

describe('a user', () => {
  const rights = '-@all +eval +time +mget +get +set +psetex +del';

  async function as(rules: string) {
    await redis.command('FLUSHALL');
    await redis.command('ACL', 'SETUSER', 'someone', 'reset', 'on', 'nopass', ...rules.split(' '));
    const connection = await openResp({ path: redis.socketPath });
    onTestFinished(() => connection.close());
    await connection.command('AUTH', 'someone', 'any');
    await redis.command('CONFIG', 'RESETSTAT');
    await redis.command('ACL', 'LOG', 'RESET');
    return connection;
  }

  test('without the right to MSETEX has all keys written, and nothing is logged', async () => {
    const connection = await as(`~* ${rights}`);
    await connection.command(...batch(named('k', MANY)));
    expect(await redis.keyCounts()).toEqual({ keys: MANY, expires: MANY });
    expect(await commandsSent()).toBe(0);
    expect(await redis.command('ACL', 'LOG')).toEqual([]);
  });
});
