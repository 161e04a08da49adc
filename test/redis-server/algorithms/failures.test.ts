import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter } from '../../../src/limiter/rate-limiter.ts';
import { decide } from '../../../src/script/decide.ts';
import { UNREADABLE } from '../../../src/script/home.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { decideScript } from '../../../src/script/script.gen.ts';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { CallBuilder } from '../../kit/twins/asks.ts';
import type { Ask, Governed, Spec } from '../../kit/twins/asks.ts';
import { MapTable } from '../../kit/twins/map-table.ts';
import { groupedByProduction, groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import type { Grouping } from '../../kit/twins/grouping.ts';
import type { Reply } from '../../kit/twins/lua-twin.ts';
import { UNNAMED_BUCKET } from '../../../src/script/call-shape.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const NOW = 1_767_225_600_000_000;
const HOUR = 3_600_000_000;

/** Units recover so slowly that none does during a test. One unit is exactly an hour. */
const HOURLY: Spec = { rate: 1, periodMs: 3_600_000, burst: 3, maxDebt: 0 };
const ONE: readonly Governed[] = [{ id: UNNAMED_BUCKET, spec: HOURLY }];
const SECOND: Governed = { id: 'second=t', spec: HOURLY };
const TWO: readonly Governed[] = [...ONE, SECOND];

const builder = new CallBuilder();

function allow(key: string, by = ONE, cost = 1): Ask {
  return { verb: 'allow', key, cost, by };
}

function peek(key: string, by = ONE): Ask {
  return { verb: 'peek', key, cost: 1, by };
}

function reset(key: string, by = ONE): Ask {
  return { verb: 'reset', key, cost: 1, by };
}

function entriesOf(asks: readonly Ask[]): Entry[] {
  return asks.map((ask) => builder.build(ask).entry);
}

/** Units used, if the answer is a pass; `'refused'`, `'reset'`, or the first word of a failure. */
function inWords(asks: readonly Ask[], reply: Reply): (string | number)[] {
  let place = 1;
  return asks.map(({ verb, by }) => {
    const answer = reply.slice(place, place + by.length);
    place += by.length;
    const failed = answer.filter((each) => typeof each === 'string');
    if (failed.length > 0) {
      // All limits of an entry fail together.
      const whole = failed.length === answer.length;
      return whole ? (failed[0] as string).split(' ', 1)[0]! : `half failed: ${answer.join()}`;
    }
    if (verb === 'reset') {
      return 'reset';
    }
    return answer.some((each) => Number(each) < 0) ? 'refused' : Number(answer[0]) / HOUR;
  });
}

/** A batch of equal calls takes the short path of lone-path.lua, unless each of its entries is a run of its own. */
const FORMS: readonly (readonly [string, (entries: readonly Entry[]) => readonly Grouping[]])[] = [
  ['as production writes them', groupedByProduction],
  ['each a run of its own', (entries) => [groupedOneByOne(entries)]],
];

describe.each(FORMS)('entries that fail alone, %s', (_form, group) => {
  const twin = withLuaTwin(LuaTwin);

  afterEach(async () => {
    await twin.redis.command('CONFIG', 'SET', 'maxmemory', '0');
    await twin.redis.command('FLUSHALL');
  });

  /** All asks in one script call. */
  async function answers(asks: readonly Ask[], now = NOW): Promise<(string | number)[]> {
    const [grouping, ...more] = group(entriesOf(asks));
    expect(more).toHaveLength(0);
    return inWords(asks, await twin.lua.decideAside(grouping!, now));
  }

  describe.each([
    ['a list', ['RPUSH', 'foreign', 'theirs']],
    ['a hash', ['HSET', 'foreign', 'field', 'theirs']],
    ['a set', ['SADD', 'foreign', 'theirs']],
    ['a sorted set', ['ZADD', 'foreign', '1', 'theirs']],
    ['a stream', ['XADD', 'foreign', '1-1', 'field', 'theirs']],
  ])('under a key that holds %s', (_, make) => {
    async function dump(): Promise<unknown> {
      return twin.redis.command('DEBUG', 'DIGEST-VALUE', 'foreign');
    }

    test.each<[string, Ask[], (string | number)[]]>([
      ['a call alone', [allow('foreign')], ['WRONGTYPE']],
      ['a look alone', [peek('foreign')], ['WRONGTYPE']],
      [
        'calls between neighbours',
        [allow('a'), allow('foreign'), allow('foreign'), allow('b'), peek('b')],
        [1, 'WRONGTYPE', 'WRONGTYPE', 1, 1],
      ],
      [
        'calls whose neighbours all have their own key',
        [allow('a'), allow('foreign'), allow('foreign'), allow('b')],
        [1, 'WRONGTYPE', 'WRONGTYPE', 1],
      ],
      [
        'a look between neighbours',
        [allow('a'), peek('foreign'), peek('a'), allow('b')],
        [1, 'WRONGTYPE', 1, 1],
      ],
    ])('%s', async (__, asks, expected) => {
      await twin.redis.command(...make);
      const before = await dump();
      expect(await answers(asks)).toStrictEqual(expected);
      expect(await dump()).toStrictEqual(before);
    });

    test('a call under two limits charges neither when one fails', async () => {
      await twin.redis.command(...make);
      expect(await answers([allow('foreign', TWO), allow('other', TWO)])).toStrictEqual([
        'WRONGTYPE',
        1,
      ]);
      expect(await twin.redis.command('TYPE', 'foreign')).not.toBe('string');
      expect(await twin.redis.command('DBSIZE')).toBe(2);
    });

    test('calls fail under every limit of that identity whose state is a string', async () => {
      await twin.redis.command(...make);
      const before = await dump();
      expect(
        await answers([allow('foreign', TWO), allow('foreign'), peek('foreign', [SECOND])]),
      ).toStrictEqual(['WRONGTYPE', 'WRONGTYPE', 'WRONGTYPE']);
      expect(await dump()).toStrictEqual(before);
    });

    test('a reset cures a foreign value for the rest of the same call as well', async () => {
      await twin.redis.command(...make);
      expect(await answers([allow('foreign'), reset('foreign'), allow('foreign')])).toStrictEqual([
        'WRONGTYPE',
        'reset',
        1,
      ]);
      expect(await twin.redis.command('TYPE', 'foreign')).toBe('string');

      await twin.redis.command('DEL', 'foreign');
      await twin.redis.command(...make);
      expect(await answers([reset('foreign')])).toStrictEqual(['reset']);
      expect(await answers([allow('foreign')])).toStrictEqual([1]);
    });
  });

  const readable = [
    '0',
    '7',
    '007',
    '9007199254740991',
    '0'.repeat(1_000_000),
    '0:0:1',
    '5:3:7',
    '5:0:7',
    '5:03:07',
    '5:6:1000000000',
    ';=t1',
    ';=t00000000000000001',
    ';=t9007199254740991',
    '0:v1:0:0:0:1:0:0:0:0:0',
    '12:v1:5:7:0:1:9007199254740986:9007199254740991:4503599627370496:0:7',
    '12:v1:5:6:2:3:0:0:0:0:0,1:2:3:1:0:0:2:0:2',
  ];
  const garbage = [
    '',
    ' ',
    ' 1',
    '1 ',
    '\t1',
    '1\n',
    '\n1',
    '1\0',
    '\0',
    '+1',
    '-1',
    '-0',
    '1.0',
    '1.',
    '.5',
    '1e3',
    '1E3',
    '0x10',
    '0b1',
    '1_000',
    '1,000',
    'nan',
    'NaN',
    'inf',
    '-inf',
    'Infinity',
    'nil',
    'null',
    'true',
    '{}',
    '[1]',
    '"1"',
    'token',
    '9007199254740992',
    '9007199254740993',
    '18446744073709551616',
    '9'.repeat(400),
    '9'.repeat(1_000_000),
    'x'.repeat(1_000_000),
    `${'9'.repeat(500_000)}:${'9'.repeat(499_999)}`,
    '١٢٣',
    '１２３',
    '1️⃣',
    '½',
    '\ufeff1',
    ':',
    '::',
    ':::',
    '1:',
    ':1',
    '1:2',
    '1:2:',
    '1::3',
    ':2:3',
    '1:2:0',
    '1:0:0',
    '1:1:1',
    '1:5:3',
    '1:3:3',
    '1:-1:3',
    '1:1.5:3',
    '1: 2:3',
    '1:2:3 ',
    '1:2:3\n',
    '1;2;3',
    '1:2:3:',
    '1:2:3:-4',
    '1:2:3:4',
    '1:2:3:4:',
    '1:2:3:4:-5',
    '1:2:2:4:5',
    '1:2:3:4:5:6',
    ';',
    ';1',
    '=t1',
    ';=t',
    ';t9007199254740991',
    ';=T9007199254740991',
    ';=tt9007199254740991',
    ';=t9007199254740991;',
    ';=t9007199254740991;=t9007199254740991',
    ';=t9007199254740991x',
    ';=t9007199254740992',
    ';a b=t9007199254740991',
    '9007199254740991;b=t9007199254740991',
    '1:2:9007199254740992',
    '9007199254740992:2:3',
    '1:2:3:9007199254740992',
    `1:2:3:${'9'.repeat(400)}`,
    '5:0:1:0',
    '5:3:7:9007199254740991',
    '5:6:1000000001',
    'v1',
    '5:v1',
    '5:v1:',
    '0:v2:0:0:0:1:0:0:0:0:0',
    '0:v1:0:0:0:1:0:0:0:0',
    '0:v1:0:0:0:1:0:0:0:0:0:',
    '0:v1:0:0:0:1:0:0:0:0:0,',
    '0:v1:0:0:0:0:0:0:0:0:0',
    '0:v1:0:1:0:1:0:0:0:0:0',
    '5:v1:6:0:0:1:0:0:0:0:0',
    '12:v1:5:7:0:1:9007199254740987:0:0:0:0',
    '12:v1:5:7:1:2:0:0:0:0:0',
    '12:v1:5:7:0:1:0:0:0:0:8',
    '12:v1:5:0:0:1:0:0:0:0:0,1:0:1:1:0:0:0:0:0',
    '12:v1:5:0:0:1:0:0:0:0:0,1:1:1:1:0:8:0:0:0',
    `12:v1:5:0:0:1:0:0:0:0:0${',1:1:1:1:0:0:0:0:0'.repeat(9)}`,
    `12:v1:5:0:0:1:${'9'.repeat(400)}:0:0:0:0`,
  ];

  /** Whether the TypeScript twin reads this value as a state. */
  function isReadable(value: string): boolean {
    const reply = decide(entriesOf([peek('k')]), NOW, new MapTable(new Map([['k', value]])));
    return reply[1] !== UNREADABLE;
  }

  test('at least 40 unreadable values are tested', () => {
    expect(new Set(garbage).size).toBe(garbage.length);
    expect(garbage.length).toBeGreaterThanOrEqual(40);
  });

  test.each(garbage.map((value) => [JSON.stringify(value).slice(0, 40), value]))(
    'grants nothing on %s, and still decides for its neighbours',
    async (_, value) => {
      const put = () => twin.redis.command('SET', 'k', value);
      const kept = async () => expect(await twin.redis.command('GET', 'k')).toBe(value);
      await put();
      expect(isReadable(value)).toBe(false);
      expect(await answers([allow('k')])).toStrictEqual(['UNREADABLE']);
      await kept();
      expect(await answers([peek('k')])).toStrictEqual(['UNREADABLE']);
      await kept();
      // Each neighbour is on its own key.
      expect(await answers([allow('a'), allow('k'), allow('k'), allow('b')])).toStrictEqual([
        1,
        'UNREADABLE',
        'UNREADABLE',
        1,
      ]);
      await kept();
      // A neighbour's key occurs again, and one entry has two limits.
      expect(await answers([allow('a'), allow('k', TWO), allow('k'), allow('a')])).toStrictEqual([
        2,
        'UNREADABLE',
        'UNREADABLE',
        3,
      ]);
      await kept();
      expect(await twin.redis.command('KEYS', '{k}*')).toStrictEqual([]);
      expect(await answers([allow('k'), reset('k'), allow('k')])).toStrictEqual([
        'UNREADABLE',
        'reset',
        1,
      ]);
      await put();
      expect(await answers([reset('k')])).toStrictEqual(['reset']);
      expect(await twin.redis.command('EXISTS', 'k')).toBe(0);
    },
  );

  test('fails the limit of an unreadable state alone, and keeps each state byte for byte', async () => {
    const other = `;other=q${NOW + HOUR}:whatever`;
    const second = `;second=t${NOW + HOUR}:x`;
    const put = (value: string) => twin.redis.command('SET', 'k', value);
    await put(`${other};=t${NOW + HOUR}${second}`);
    const asks = [allow('k', TWO), allow('k'), peek('k', [SECOND])];
    expect(await answers(asks)).toStrictEqual(['UNREADABLE', 2, 'UNREADABLE']);
    expect(await twin.redis.command('GET', 'k')).toBe(`;=t${NOW + 2 * HOUR}${other}${second}`);

    expect(await answers([reset('k', [SECOND]), allow('k', TWO)])).toStrictEqual(['reset', 3]);
    expect(await twin.redis.command('GET', 'k')).toBe(
      `;=t${NOW + 3 * HOUR};second=t${NOW + HOUR}${other}`,
    );
  });

  test('grants nothing on bytes that are not UTF-8', async () => {
    await twin.redis.command('SET', 'k', Buffer.from([0x31, 0xff, 0x00]));
    expect(await answers([allow('k'), allow('a')])).toStrictEqual(['UNREADABLE', 1]);
  });

  test.each(readable.map((value) => [JSON.stringify(value).slice(0, 40), value]))(
    'reads %s as a state',
    async (_, value) => {
      expect(isReadable(value)).toBe(true);
      for (const asks of [[allow('k')], [peek('k')], [peek('k'), allow('a'), allow('k')]]) {
        await twin.redis.command('SET', 'k', value);
        expect(await answers(asks)).not.toContain('UNREADABLE');
      }
    },
  );

  test(`TypeScript and Lua read the same texts as states`, async () => {
    const signs = '0001234567899999:::: -+.ex\n'.split('');
    const odd = ['', '00', '9007199254740991', '9007199254740992', '99999999999999999999'];
    const numberOf = (random: Random): string =>
      random.pick([
        String(random.int(0, 12)),
        String(random.magnitude(1, 2 ** 53 - 1)),
        random.pick(odd),
      ]);
    const textOf = (random: Random): string =>
      random.chance(50)
        ? random.list(0, 34, () => random.pick(signs)).join('')
        : random.list(1, 5, () => numberOf(random)).join(':');
    let [yes, no] = [0, 0];
    await check(50, async (random) => {
      const values: string[] = [];
      for (const _ of random.steps(60)) values.push(textOf(random));
      random.note('values', values);
      if (values.length === 0) return;
      const keys = values.map((__, i) => `v${i}`);
      const expected = values.map(isReadable);
      for (const verb of [peek, allow]) {
        await twin.redis.command('MSET', ...values.flatMap((value, i) => [keys[i]!, value]));
        const words = await answers(keys.map((key) => verb(key)));
        expect(words.map((word) => word !== 'UNREADABLE')).toStrictEqual(expected);
      }
      yes += expected.filter(Boolean).length;
      no += expected.filter((each) => !each).length;
    });
    expect(yes).toBeGreaterThan(200);
    expect(no).toBeGreaterThan(200);
  });

  describe('when the server is out of memory', () => {
    async function fill(): Promise<void> {
      await twin.redis.command('CONFIG', 'SET', 'maxmemory', '1');
    }

    test('still refuses an exhausted identity while a fresh one fails', async () => {
      expect(await answers([allow('spent', ONE, 3)])).toStrictEqual([3]);
      await fill();
      const both = [allow('fresh'), allow('spent'), peek('fresh'), peek('spent'), allow('fresh')];
      expect(await answers(both.slice(0, 2))).toStrictEqual(['OOM', 'refused']);
      expect(await answers(both.slice(0, 2).toReversed())).toStrictEqual(['refused', 'OOM']);
      // `fresh` occurs again: entries after its first change fail as well.
      expect(await answers(both)).toStrictEqual(['OOM', 'refused', 'OOM', 'refused', 'OOM']);
      expect(await twin.redis.command('KEYS', '*')).toStrictEqual(['spent']);
      expect(await twin.redis.command('GET', 'spent')).toBe(String(NOW + 3 * HOUR));
    });

    test('keeps the decisions made before the first change', async () => {
      await answers([allow('used')]);
      await fill();
      const asks = [peek('used'), peek('fresh'), allow('used'), peek('used'), allow('used')];
      expect(await answers(asks)).toStrictEqual([1, 0, 'OOM', 'OOM', 'OOM']);
      expect(await twin.redis.command('GET', 'used')).toBe(String(NOW + HOUR));
    });

    test('fails all entries of a run on one key, refusals included', async () => {
      await fill();
      expect(await answers(Array<Ask>(5).fill(allow('fresh')))).toStrictEqual(Array(5).fill('OOM'));
    });

    test('stores nothing of a call under two limits', async () => {
      await fill();
      expect(await answers([allow('k', TWO)])).toStrictEqual(['OOM']);
      expect(await twin.redis.command('DBSIZE')).toBe(0);
    });

    test('fails only a refusal that has to be stored', async () => {
      // Both are far ahead; of one it is known since when.
      await twin.redis.command('SET', 'ahead', String(NOW + 9 * HOUR));
      const left = 9 * HOUR;
      const waiting = `${NOW + left}:v1:${NOW}:${left}:0:1:${left}:0:0:0:0`;
      await twin.redis.command('SET', 'waiting', waiting);
      await fill();
      const asks = [allow('waiting'), allow('ahead'), peek('ahead')];
      expect(await answers(asks)).toStrictEqual(['refused', 'OOM', 'OOM']);
      expect(await answers([peek('ahead'), allow('waiting')])).toStrictEqual(['OOM', 'refused']);
    });

    test('still resets a key', async () => {
      await answers([allow('spent', ONE, 3)]);
      await fill();
      expect(await answers([allow('spent'), reset('spent'), peek('spent')])).toStrictEqual([
        'refused',
        'reset',
        0,
      ]);
      expect(await twin.redis.command('DBSIZE')).toBe(0);
    });

    test('decides again as soon as there is memory', async () => {
      await fill();
      expect(await answers([allow('k')])).toStrictEqual(['OOM']);
      await twin.redis.command('CONFIG', 'SET', 'maxmemory', '0');
      expect(await answers([allow('k')])).toStrictEqual([1]);
    });

    test(`never reports a charge that is not stored, nor stores another`, async () => {
      let [failed, real] = [0, 0];
      await check(60, async (random) => {
        await twin.redis.command('FLUSHALL');
        const keys = ['a', 'b', 'c', 'd'];
        const before = new MapTable();
        for (const key of keys.filter(() => random.chance(50))) {
          const value = String(NOW + random.int(0, 5) * HOUR);
          await twin.redis.command('SET', key, value);
          before.stored.set(key, value);
        }
        const asks = random.list(1, 12, () =>
          random.pick([allow, allow, allow, peek, reset])(random.pick(keys)),
        );
        await fill();
        const words = await answers(asks);
        await twin.redis.command('CONFIG', 'SET', 'maxmemory', '0');
        // Without the failed entries, the others get the same answers and leave the same states.
        const fine = asks.filter((__, i) => words[i] !== 'OOM');
        const reply = decide(entriesOf(fine), NOW, before);
        expect(inWords(fine, reply)).toStrictEqual(words.filter((word) => word !== 'OOM'));
        // Without memory a reset deletes what it would rather remember.
        const stored: (string | null)[] = await twin.redis.command('MGET', ...keys);
        const kept = keys.map((key, k) => {
          const value = before.stored.get(key) ?? null;
          return stored[k] === null && value?.includes(':v1:') === true ? null : value;
        });
        expect(stored).toStrictEqual(kept);
        failed += asks.length - fine.length;
        real += fine.length;
      });
      expect(failed).toBeGreaterThan(50);
      expect(real).toBeGreaterThan(50);
    });
  });
});

describe("a command that the connection's user may not run", () => {
  let redis: RedisServer;

  const commands = ['set', 'psetex', 'get', 'del', 'mget', 'time', 'evalsha'] as const;

  beforeAll(async () => {
    redis = await startRedis({
      users: commands.map((command) => `no-${command} on >secret ~* +@all -${command}`),
    });
  });

  afterEach(async () => {
    await redis.command('FLUSHALL');
  });

  afterAll(async () => {
    await redis?.close();
  });

  /** Uses production's own script: an answer per ask, or one error for all. */
  async function answers(command: string, asks: readonly Ask[]): Promise<unknown> {
    await redis.command('SCRIPT', 'LOAD', decideScript.text);
    const connection = await openResp({ port: redis.port });
    try {
      await connection.command('AUTH', `no-${command}`, 'secret');
      const [{ keys, args }] = groupedByProduction(entriesOf(asks)) as [
        ReturnType<typeof groupedOneByOne>,
      ];
      const reply: Reply = await connection.command(
        'EVALSHA',
        decideScript.sha1,
        keys.length,
        ...keys,
        ...args,
      );
      return inWords(asks, reply).map((word) =>
        typeof word === 'number' ? Math.ceil(word) : word,
      );
    } catch (error) {
      return /NOPERM|can't run this command|no permissions/.test(String(error))
        ? 'no permission'
        : error;
    } finally {
      connection.close();
    }
  }

  /** Inside a script Redis 7.0 replies `ERR`, later versions `NOPERM`. */
  const DENIED = expect.stringMatching(/^(ERR|NOPERM)$/);

  test.each(['mget', 'time', 'evalsha'])('nothing is decided without %s', async (command) => {
    expect(await answers(command, [allow('a'), peek('b'), reset('c')])).toBe('no permission');
    expect(await redis.command('DBSIZE')).toBe(0);
  });

  test('a fresh identity is granted nothing without SET', async () => {
    await redis.command('SET', 'spent', String(Date.now() * 1_000 + 3 * HOUR), 'PX', 60_000);
    expect(await answers('set', [allow('fresh'), allow('spent')])).toStrictEqual([
      DENIED,
      'refused',
    ]);
    expect(await redis.command('EXISTS', 'fresh')).toBe(0);
  });

  test('a known identity is granted nothing more without PSETEX', async () => {
    expect(await answers('set', [allow('a'), peek('a')])).toStrictEqual([1, 1]);
    const before = await redis.command('GET', 'a');
    expect(await answers('psetex', [allow('a'), allow('b')])).toStrictEqual([DENIED, 1]);
    // Calls of several kinds must write equal states.
    const asks = [allow('a'), peek('a'), allow('c'), peek('b')];
    expect(await answers('psetex', asks)).toStrictEqual([DENIED, DENIED, DENIED, 1]);
    expect(await redis.command('GET', 'a')).toBe(before);
  });

  test('a key with a foreign value is not taken for a fresh one without GET', async () => {
    await redis.command('RPUSH', 'foreign', 'theirs');
    expect(await answers('get', [peek('foreign'), peek('fresh')])).toStrictEqual([DENIED, DENIED]);
  });

  test('a reset and the calls after it fail without DEL', async () => {
    await redis.command('SET', 'a', 'not a state');
    const asks = [peek('a'), reset('a'), peek('a')];
    expect(await answers('del', asks)).toStrictEqual(['UNREADABLE', DENIED, DENIED]);
  });

  test.each(commands)('ready() rejects without %s', async (command) => {
    const limiter = new RateLimiter({
      redis: `redis://no-${command}:secret@127.0.0.1:${redis.port}`,
      rate: 5,
      period: '1h',
      timeoutMs: 2_000,
    });
    try {
      await expect(limiter.ready()).rejects.toThrow(/Redis refused/);
    } finally {
      await limiter.close();
    }
    expect(await redis.command('DBSIZE')).toBe(0);
  });
});
