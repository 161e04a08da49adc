import { slidingWindow, slidingWindowLog, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { reserveDetails, settleDetails, makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import { encodeCalls } from '../../../src/stores/encode.ts';
import type { Call } from '../../../src/stores/store.ts';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { recordingScript } from './recording-script.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';

let server: RedisServer;
let connection: Awaited<ReturnType<typeof openResp>>;

beforeAll(async () => {
  server = await startRedis();
  connection = await openResp({ path: server.socketPath });
});
afterAll(async () => {
  connection.close();
  await server.close();
});
beforeEach(async () => {
  await connection.command('FLUSHALL');
});

const NOW = 1_760_000_000_000_000;
const bucket = tokenBucket({ rate: 100, period: '100s' });
const window = slidingWindow({ name: 'window', rate: 100, period: '100s' });
/** A limit whose key cannot be written: see `recordingScript`. */
const full = slidingWindowLog({ name: 'full', rate: 100, period: '100s' });

function entry(verb: Verb, limits: readonly Limit[], record?: string, more?: object): Entry {
  const rules = limits.map((limit) => ({
    limit,
    plan: limit.plan(verb === 'settle' ? 1 : 10, 0),
    ...stateKeyOf(limit),
  }));
  return { key: 'K', shape: makeShape(verb, 10, rules), record, ...more };
}
const reserve = (limits: readonly Limit[], record: string): Entry =>
  entry('reserve', limits, record, { details: reserveDetails(60_000) });
const settle = (limits: readonly Limit[], record: string, actual: number): Entry =>
  entry('settle', limits, record, { details: settleDetails(actual, 2_500, false) });

/** The script's answer after `now`, and the states that it left. */
async function run(
  ...entries: Entry[]
): Promise<{ out: (number | string)[]; left: Record<string, unknown> }> {
  const { keys, args } = encodeCalls(entries as readonly unknown[] as readonly Call[], 0);
  const reply: [(number | string)[], string[]] = await connection.command(
    'EVAL',
    recordingScript,
    keys.length,
    ...keys,
    ...args,
    String(NOW),
  );
  const found: string[] = await connection.command('KEYS', '*');
  const left: Record<string, unknown> = {};
  for (const key of found.toSorted()) {
    left[key] = await connection.command('GET', key).catch(() => 'another type');
  }
  return { out: reply[0].slice(1), left };
}

const OOM = 'OOM command not allowed';
const HELD = `held;${NOW + 60_000_000};10`;
const TAT = String(NOW + 10_000_000);
const RECEIPT = `1000000:1:${TAT}:0`;

test('a reservation and its record are written in one call', async () => {
  expect(await run(reserve([bucket], '#r:1'))).toEqual({
    out: [10_000_000],
    left: { K: TAT, '{K}#r:1': `${HELD};${RECEIPT}` },
  });
});

test('a reservation whose record cannot be written charges nothing', async () => {
  expect(await run(reserve([bucket], '#r:full'))).toEqual({ out: [OOM], left: {} });
});

test('a reservation that cannot be charged under one limit leaves no record', async () => {
  const { out, left } = await run(reserve([bucket, full], '#r:1'));
  expect(new Set(out)).toEqual(new Set([OOM]));
  expect(left).toHaveProperty('K', TAT);
  expect(left).not.toHaveProperty('{K}#r:1');
});

test('a settlement that cannot be recorded refunds and charges nothing', async () => {
  const before = { K: TAT, '{K}#r:full': `${HELD};${RECEIPT}` };
  for (const actual of [0, 50]) {
    await connection.command('MSET', ...Object.entries(before).flat());
    expect(await run(settle([bucket], '#r:full', actual))).toEqual({
      out: [OOM, OOM],
      left: before,
    });
  }
});

test('a settlement whose effect cannot be written fails, and later ones find it expired', async () => {
  const index = NOW / 100_000_000;
  const home = `;window=s${(index + 2) * 100_000_000}:100000000:${index}:0:10`;
  await connection.command('SET', 'full', home);
  await connection.command('SET', '{full}#r:1', `${HELD};100000000:${index}`);
  const settlement = { ...settle([window], '#r:1', 4), key: 'full' };
  expect(await run(settlement)).toEqual({ out: [OOM, OOM], left: { full: home } });
  expect((await run(settlement)).out).toEqual([-1, 0]);
});

test('entries that depend on a failed charge fail with it, and others are kept', async () => {
  const { out, left } = await run(
    entry('peek', [bucket]),
    reserve([bucket], '#r:full'),
    entry('allow', [bucket]),
    reserve([bucket], '#r:2'),
    { ...entry('allow', [bucket]), key: 'other' },
  );
  expect(out).toEqual([0, OOM, OOM, OOM, 10_000_000]);
  expect(left).toEqual({ other: TAT });
});

test.each([
  ['a list', ['RPUSH', '{K}#r:1', 'x'], /^WRONGTYPE/],
  ['malformed text', ['SET', '{K}#r:1', 'x'], /^UNREADABLE/],
  ['a receipt of another algorithm', ['SET', '{K}#r:1', `${HELD};a:1`], /^UNREADABLE/],
  ['a record with too few receipts', ['SET', '{K}#r:1', `${HELD};1000000:1`], /^UNREADABLE/],
])(
  '%s under the key of a record fails only its own entry and grants nothing',
  async (_, put, kind) => {
    const limits = [bucket, tokenBucket({ name: 'second', rate: 100, period: '100s' })];
    await connection.command('SET', 'K', `;=t${TAT};second=t${TAT}`);
    await connection.command(...(put as [string, ...string[]]));
    const { out } = await run(settle(limits, '#r:1', 0), entry('peek', limits));
    expect(out).toEqual([
      expect.stringMatching(kind),
      expect.stringMatching(kind),
      10_000_000,
      10_000_000,
    ]);
  },
);

test('a reservation that the client sends twice is charged once', async () => {
  const { out, left } = await run(reserve([bucket], '#r:1'), reserve([bucket], '#r:1'));
  expect(out).toEqual([10_000_000, 10_000_000]);
  expect(left['K']).toBe(TAT);
});

test('a reservation that arrives after its own settlement charges nothing more', async () => {
  const unreserved = { details: settleDetails(4, 5_000, true) };
  const { out, left } = await run(
    entry('settle', [bucket], '#r:1', unreserved),
    reserve([bucket], '#r:1'),
    settle([bucket], '#r:1', 9),
  );
  expect(out).toEqual([4, 0, 4_000_000, 4, 0]);
  expect(left['K']).toBe(String(NOW + 4_000_000));
});
