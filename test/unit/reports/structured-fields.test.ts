import { describe, expect, test } from 'vitest';
import {
  isInnerList,
  parseDictionary as parseDictionaryElsewhere,
  parseList as parseListElsewhere,
  Token,
  DisplayString,
} from 'structured-headers';
import type { BareItem as ItemElsewhere, InnerList, Item } from 'structured-headers';
import { parseRateLimit } from 'distributed-rate-limiter/fetch';
import { parseDictionary, parseList } from '../../../src/reports/structured-fields.ts';
import type { BareItem } from '../../../src/reports/structured-fields.ts';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

/** Headers in the normal run; `DRL_FUZZ` sets the number for a longer run. */
const HEADERS = Number(process.env['DRL_FUZZ'] ?? casesOf(60_000));

const SEEDS = [
  '"burst";q=100;w=60,"daily";q=1000;w=86400;pk=:dHJpYWwxMjEzMjM=:',
  '"peruser";q=65535;qu="content-bytes";w=10;pk=:sdfjLJUOUH==:',
  '"default";r=50;t=30, "d\\"\\\\ay";r=0;t=0;x;y=?0;z=1.5;a=*t/:k',
  'burst;a=5;w=8;c=-1;u=%"f%c3%bc";d=@1659578233',
  'limit=100, remaining=50, reset=30',
  'a=(1 "x";y  tok);z, b, c=:AA==:;d="e", *k_-.=?1',
  '100;w=60, 10;w=1;comment="a, b"',
  'Tue, 15 Nov 1994 08:12:31 GMT',
  'Sunday, 06-Nov-94 08:49:37 GMT',
  'Sun Nov  6 08:49:37 1994',
  '1700000030.5, 100;w=1',
];
const ALPHABET = [
  ...'"\\;=,:?()*@% \t.-_/0123456789aqrtw'.split(''),
  'é',
  '\u0000',
  '"x"',
  ';r=1',
  ':AA==:',
];

function mutated(random: Random): string {
  let text = random.pick(SEEDS);
  for (const _ of random.steps(0, 4)) {
    const at = random.int(0, text.length);
    const removed = random.chance(50) ? random.int(0, 3) : 0;
    const added = random.chance(70) ? random.pick(ALPHABET) : '';
    text = text.slice(0, at) + added + text.slice(at + removed);
  }
  return text;
}

function soup(random: Random): string {
  return random.list(0, 24, () => random.pick(ALPHABET)).join('');
}

/** The other library's result in the form of ours; undefined if it throws. */
function elsewhere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function theirs(value: ItemElsewhere): unknown {
  if (value instanceof Token) return { type: 'token', value: value.toString() };
  if (value instanceof DisplayString) return 'display';
  if (value instanceof Date) return { type: 'date', value: value.getTime() / 1_000 };
  if (typeof value === 'boolean') return { type: 'boolean', value };
  if (typeof value === 'string') return { type: 'string', value };
  // The library does not distinguish 1.0 from 1.
  if (typeof value === 'number') return { value: value + 0 };
  return Buffer.from(value as ArrayBuffer).toString('base64');
}

function ours(bare: BareItem): unknown {
  if (bare.type === 'display') return 'display';
  if (bare.type === 'integer' || bare.type === 'decimal') return { value: bare.value };
  // Base64 allows several spellings of padding and of the bits that pad.
  if (bare.type === 'bytes') return Buffer.from(bare.value, 'base64').toString('base64');
  return { type: bare.type, value: bare.value };
}

const theirMember = (member: Item | InnerList): unknown =>
  isInnerList(member) ? 'inner-list' : theirs(member[0]);
const ourMember = (bare: BareItem): unknown =>
  bare.type === 'inner-list' ? 'inner-list' : ours(bare);

/**
 * structured-headers 2.1 rejects a date that is followed by anything, and cannot hold dates beyond JavaScript's range.
 */
function isContested(text: string): boolean {
  return /@-?\d+[^\d]|@-?\d{13}/.test(text);
}

describe('agrees with an independent parser', () => {
  test.each([
    [
      'lists',
      (text: string) =>
        elsewhere(() =>
          parseListElsewhere(text).map((member) => [
            theirMember(member),
            [...member[1]].map(([key, value]) => [key, theirs(value)]),
          ]),
        ),
      (text: string) =>
        parseList(text)?.map(({ bare, parameters }) => [
          ourMember(bare),
          [...parameters].map(([key, value]) => [key, ours(value)]),
        ]),
    ],
    [
      'dictionaries',
      (text: string) =>
        elsewhere(() =>
          [...parseDictionaryElsewhere(text)].map(([key, member]) => [key, theirMember(member)]),
        ),
      (text: string) => {
        const members = parseDictionary(text);
        return members && [...members].map(([key, bare]) => [key, ourMember(bare)]);
      },
    ],
  ] as const)('agrees with an independent parser on %s', async (_, readElsewhere, read) => {
    let wellFormed = 0;
    let compared = 0;
    await check(HEADERS / 2, (random) => {
      const text = random.chance(70) ? mutated(random) : soup(random);
      random.note('text', text);
      if (isContested(text)) return;
      compared++;
      const expected = readElsewhere(text);
      wellFormed += expected === undefined ? 0 : 1;
      expect(read(text)).toEqual(expected);
    });
    expect(compared).toBeGreaterThan(HEADERS / 4);
    expect(wellFormed).toBeGreaterThan(HEADERS / 50);
    expect(compared - wellFormed).toBeGreaterThan(HEADERS / 50);
  });
});

const NAMES = [
  'RateLimit',
  'RateLimit-Policy',
  'RateLimit-Limit',
  'RateLimit-Remaining',
  'RateLimit-Reset',
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'X-Rate-Limit-Reset',
  'Retry-After',
  'Date',
  'Age',
];

/** A time that a caller can wait: whole, never negative, never NaN. */
function isDuration(ms: number | undefined): boolean {
  return ms === undefined || (Number.isInteger(ms) && ms >= 0);
}

test('random headers never make parseRateLimit throw or return an invalid duration', async () => {
  let read = 0;
  await check(HEADERS, (random) => {
    const headers: Record<string, string | string[]> = {};
    for (const _ of random.steps(1, 4)) {
      const value = random.chance(80) ? mutated(random) : soup(random);
      headers[random.pick(NAMES)] = random.chance(20) ? [value, mutated(random)] : value;
    }
    const now = random.magnitude(1, 4e12);
    random.note('headers', headers);
    random.note('now', now);
    const report = parseRateLimit(headers, { now });
    const durations = [
      report.waitMs,
      report.retryAfterMs,
      ...report.limits.flatMap((limit) => [limit.windowMs, limit.effectiveWindowMs]),
    ];
    if (!durations.every(isDuration)) {
      expect.fail(JSON.stringify(report));
    }
    read += report.limits.length > 0 || report.retryAfterMs !== undefined ? 1 : 0;
  });
  expect(read).toBeGreaterThan(HEADERS / 10);
});

/** Nanoseconds per character in the fastest of several runs. */
function pace(field: string): number {
  const times = Array.from({ length: 20 }, () => {
    const start = process.hrtime.bigint();
    parseRateLimit({
      ratelimit: field,
      'ratelimit-policy': field,
      'retry-after': field,
      date: field,
    });
    return Number(process.hrtime.bigint() - start);
  });
  return Math.min(...times) / field.length;
}

test.each([
  ['spaces', (n: number) => ' '.repeat(n)],
  ['an open string', (n: number) => `"${'\\\\'.repeat(n / 2)}`],
  ['digits', (n: number) => '1'.repeat(n)],
  ['parameters', (n: number) => `"x";r=1${';a'.repeat(n / 2)}`],
  ['an open inner list', (n: number) => `(${'1 '.repeat(n / 2)}`],
  ['open parentheses', (n: number) => '('.repeat(n)],
  ['base64 without an end', (n: number) => `:${'A'.repeat(n)}`],
  ['padding', (n: number) => `:${'='.repeat(n)}`],
  ['an open display string', (n: number) => `%"${'%c3'.repeat(n / 3)}`],
  ['a number and spaces', (n: number) => `1${' '.repeat(n)}x`],
])('parsing %s takes linear time', (_, make) => {
  // Quadratic time would take 16 times as long per character.
  expect(pace(make(8_000)) / pace(make(500))).toBeLessThan(8);
});
