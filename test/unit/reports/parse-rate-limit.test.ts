import { describe, expect, test } from 'vitest';
import { parseRateLimit } from 'distributed-rate-limiter/fetch';
import type { ReportedLimit, ResponseHeaders } from 'distributed-rate-limiter/fetch';

/** Tue, 15 Nov 1994 08:12:31 GMT */
const NOW = Date.UTC(1994, 10, 15, 8, 12, 31);
const DATE = 'Tue, 15 Nov 1994 08:12:31 GMT';

type Fields = Record<string, string | readonly string[]>;

/** Reads the fields as web Headers and as a record with upper-case names; both must agree. */
function read(fields: Fields) {
  const web = new Headers();
  for (const [name, lines] of Object.entries(fields)) {
    for (const line of [lines].flat()) web.append(name, line);
  }
  const report = parseRateLimit(web, { now: NOW });
  const upper = Object.entries(fields).map(([name, value]) => [name.toUpperCase(), value]);
  expect(parseRateLimit(Object.fromEntries(upper), { now: NOW })).toEqual(report);
  return report;
}

/** A report's limits without undefined properties. */
function said(limits: readonly ReportedLimit[]): object[] {
  return limits.map((limit) => JSON.parse(JSON.stringify(limit)) as object);
}

const requests = { unit: 'requests' };

describe('the limits in each form of the fields', () => {
  const rows: readonly (readonly [sentence: string, fields: Fields, limits: object[]])[] = [
    [
      'draft-8 to -11: policies and counts of the same names are one',
      {
        'RateLimit-Policy': '"burst";q=100;w=60,"daily";q=1000;w=86400;pk=:dHJpYWw=:',
        RateLimit: '"burst";r=50;t=30, "daily";r=999;pk=:dHJpYWw=:',
      },
      [
        {
          ...requests,
          name: 'burst',
          quota: 100,
          windowMs: 60_000,
          remaining: 50,
          effectiveWindowMs: 30_000,
        },
        {
          ...requests,
          name: 'daily',
          quota: 1000,
          windowMs: 86_400_000,
          remaining: 999,
          partitionKey: 'dHJpYWw=',
        },
      ],
    ],
    [
      'counts may come in another order, and be spread over lines',
      {
        'RateLimit-Policy': ['"a";q=1', '"b";q=2;w=5'],
        RateLimit: ['"b";t=3;r=2', '"a";r=1'],
      },
      [
        { ...requests, name: 'a', quota: 1, remaining: 1 },
        {
          ...requests,
          name: 'b',
          quota: 2,
          windowMs: 5_000,
          remaining: 2,
          effectiveWindowMs: 3_000,
        },
      ],
    ],
    [
      'only the policy nearest to exhaustion need be counted',
      {
        'RateLimit-Policy': '"hour";q=10;w=3600, "day";q=100;w=86400',
        RateLimit: '"day";r=10;t=36000',
      },
      [
        { ...requests, name: 'hour', quota: 10, windowMs: 3_600_000 },
        {
          ...requests,
          name: 'day',
          quota: 100,
          windowMs: 86_400_000,
          remaining: 10,
          effectiveWindowMs: 36_000_000,
        },
      ],
    ],
    [
      'a count without a policy says nothing of quota, window and unit',
      { RateLimit: '"default";r=50;t=30' },
      [{ name: 'default', remaining: 50, effectiveWindowMs: 30_000 }],
    ],
    [
      'another unit, and unknown parameters of every type',
      {
        'RateLimit-Policy':
          '"bytes";q=65535;qu="content-bytes";w=10;acme=1.5;x;y=?0;z="\\"";d=@5;u=%"f%c3%bc";b=:AA==:;t=a/b:c',
        RateLimit: '"bytes";comment="a, b;c=(";r=7',
      },
      [{ name: 'bytes', quota: 65_535, windowMs: 10_000, unit: 'content-bytes', remaining: 7 }],
    ],
    [
      'one policy and several partitions of it',
      { 'RateLimit-Policy': '"p";q=9;w=1', RateLimit: '"p";r=1;pk=:AAAA:, "p";r=2;pk=:BBBB:' },
      [
        { ...requests, name: 'p', quota: 9, windowMs: 1_000, remaining: 1, partitionKey: 'AAAA' },
        { ...requests, name: 'p', quota: 9, windowMs: 1_000, remaining: 2, partitionKey: 'BBBB' },
      ],
    ],
    [
      'policies of one name that differ in their partition',
      {
        'RateLimit-Policy': '"p";q=9;pk=:AAAA:, "p";q=5;pk=:BBBB:',
        RateLimit: '"p";r=2;pk=:BBBB:',
      },
      [
        { ...requests, name: 'p', quota: 9, partitionKey: 'AAAA' },
        { ...requests, name: 'p', quota: 5, remaining: 2, partitionKey: 'BBBB' },
      ],
    ],
    [
      'the draft after draft-11: tokens, `a` and `w`',
      { 'RateLimit-Policy': 'burst;q=100;w=60', RateLimit: 'burst;a=5;w=8;c=1' },
      [
        {
          ...requests,
          name: 'burst',
          quota: 100,
          windowMs: 60_000,
          remaining: 5,
          effectiveWindowMs: 8_000,
        },
      ],
    ],
    [
      'in draft-11 `a` and `w` of a count have no meaning',
      { RateLimit: '"x";r=5;w=8;a=no' },
      [{ name: 'x', remaining: 5 }],
    ],
    [
      'a repeated parameter: the last counts',
      { RateLimit: '"x";r=5;r=6' },
      [{ name: 'x', remaining: 6 }],
    ],
    [
      'draft-7: a dictionary, and the policy of the same quota',
      {
        RateLimit: 'limit=100, remaining=50, reset=30',
        'RateLimit-Policy': '10;w=1, 100;w=60;burst=5',
      },
      [
        { quota: 10, windowMs: 1_000 },
        { quota: 100, windowMs: 60_000, remaining: 50, effectiveWindowMs: 30_000 },
      ],
    ],
    [
      'draft-7: unknown directives of any form are passed over',
      { RateLimit: 'x=(1 "a";b), remaining=5;c=1, y, z=:AA==:, reset=2' },
      [{ remaining: 5, effectiveWindowMs: 2_000 }],
    ],
    [
      'draft-6: three fields and a policy',
      {
        'RateLimit-Limit': '100',
        'RateLimit-Remaining': '50',
        'RateLimit-Reset': '30',
        'RateLimit-Policy': '100;w=60',
      },
      [{ quota: 100, windowMs: 60_000, remaining: 50, effectiveWindowMs: 30_000 }],
    ],
    [
      'an early draft repeated the policies in the limit',
      { 'RateLimit-Limit': '100, 100;window=60', 'RateLimit-Remaining': '50' },
      [{ quota: 100, remaining: 50 }],
    ],
    [
      'legacy, reset in seconds from now, with a fraction',
      { 'X-RateLimit-Limit': '60', 'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset': '12.5' },
      [{ quota: 60, remaining: 0, effectiveWindowMs: 12_500 }],
    ],
    [
      'legacy, reset in Unix seconds',
      {
        'X-RateLimit-Remaining': '3',
        'X-RateLimit-Reset': '1700000030',
        Date: 'Tue, 14 Nov 2023 22:13:20 GMT',
      },
      [{ remaining: 3, effectiveWindowMs: 30_000 }],
    ],
    [
      'legacy, reset in Unix milliseconds',
      {
        'X-Rate-Limit-Limit': '9',
        'X-Rate-Limit-Reset': '1700000030500',
        Date: 'Tue, 14 Nov 2023 22:13:20 GMT',
      },
      [{ quota: 9, effectiveWindowMs: 30_500 }],
    ],
    [
      'legacy, reset in the past',
      { 'X-RateLimit-Reset': '1000000000', Date: 'Tue, 14 Nov 2023 22:13:20 GMT' },
      [{ effectiveWindowMs: 0 }],
    ],
    [
      'of several forms the newest counts',
      {
        RateLimit: '"new";r=1',
        'RateLimit-Remaining': '2',
        'X-RateLimit-Remaining': '3',
        'X-Rate-Limit-Remaining': '4',
      },
      [{ name: 'new', remaining: 1 }],
    ],
    [
      'where the newest is malformed the next counts',
      { RateLimit: '"new";r=1;', 'RateLimit-Remaining': '-2', 'X-RateLimit-Remaining': '3' },
      [{ remaining: 3 }],
    ],
    [
      'legacy counts belong to the named policy of their quota',
      {
        'RateLimit-Policy': '"p";q=60;w=60',
        'X-RateLimit-Limit': '60',
        'X-RateLimit-Remaining': '3',
      },
      [{ ...requests, name: 'p', quota: 60, windowMs: 60_000, remaining: 3 }],
    ],
    [
      'a cached response is ignored',
      { RateLimit: '"x";r=0;t=9', 'X-RateLimit-Remaining': '3', Age: '1' },
      [],
    ],
    [
      'a response with Age: 0 counts',
      { RateLimit: '"x";r=0', Age: '0' },
      [{ name: 'x', remaining: 0 }],
    ],
    ['no fields, no limits', {}, []],
  ];
  test.each(rows)('reads the limits: %s', (_, fields, limits) => {
    expect(said(read(fields).limits)).toEqual(limits);
  });
});

describe('a malformed field is ignored as a whole', () => {
  test.each([
    '"x"',
    '"x";r',
    '"x";r=-1',
    '"x";r=1.0',
    '"x";r="1"',
    '"x";r=1;t=-1',
    '"x";r=1;t=0.5',
    '"x";r=1;pk="AA=="',
    '"x";r=1;pk=:A-:',
    '"x";r=1,',
    ',"x";r=1',
    '"x";r=1 "y";r=2',
    '"x";r=1, "y"',
    '"x";r=1, 5;r=2',
    '"x";r=1, ("y");r=2',
    '"x;r=1',
    '"x\\y";r=1',
    '"ü";r=1',
    '"x";R=1',
    '"x" ;r=1',
    '"x";r=1234567890123456',
    '"x";r=1;u=%"%ff"',
    '"x";r=1;u=%"%FF"',
    "'x';r=1",
    'limit=1, remaining=-1',
    'limit=1, remaining',
    'limit="1", remaining=1',
    'limit=1, reset=1',
    Array.from({ length: 65 }, (_, i) => `"${i}";r=1`).join(),
    `"x";r=1;c="${'y'.repeat(8_200)}"`,
  ])('ignores the malformed RateLimit %s', (field) => {
    expect(parseRateLimit({ ratelimit: field }).limits).toEqual([]);
  });

  test.each([
    '"x"',
    '"x";q=-1',
    '"x";q=1;w=0',
    '"x";q=1;w=1.5',
    '"x";q=1;qu=bytes',
    '"x";q=1;pk=x',
    '-1;w=1',
    '?1;q=1',
    '"a";q=1, "x"',
  ])('ignores the malformed RateLimit-Policy %s', (field) => {
    const { limits } = parseRateLimit({ 'ratelimit-policy': field, ratelimit: '"x";r=4' });
    expect(said(limits)).toEqual([{ name: 'x', remaining: 4 }]);
  });

  test('reads up to 64 items', () => {
    const ratelimit = Array.from({ length: 64 }, (_, i) => `"${i}";r=1`);
    expect(parseRateLimit({ ratelimit }).limits).toHaveLength(64);
  });
});

describe('Retry-After', () => {
  const rows: readonly (readonly [sentence: string, fields: Fields, ms: number | undefined])[] = [
    ['seconds', { 'Retry-After': '120' }, 120_000],
    ['zero', { 'Retry-After': '0' }, 0],
    [
      'a date, by our clock where the response has none',
      { 'Retry-After': 'Tue, 15 Nov 1994 08:12:41 GMT' },
      10_000,
    ],
    ['a date in the past', { 'Retry-After': 'Tue, 15 Nov 1994 08:12:21 GMT' }, 0],
    ['a date in the form of RFC 850', { 'Retry-After': 'Tuesday, 15-Nov-94 08:12:41 GMT' }, 10_000],
    ["a date in asctime's form", { 'Retry-After': 'Tue Nov 15 08:12:41 1994' }, 10_000],
    [
      'a date with a day of one digit',
      { 'Retry-After': 'Thu Dec  1 08:12:31 1994' },
      16 * 86_400_000,
    ],
    [
      'two digits of a year less than 50 years ahead',
      { 'Retry-After': 'Saturday, 15-Nov-42 08:12:31 GMT' },
      Date.UTC(2042, 10, 15, 8, 12, 31) - NOW,
    ],
    [
      'two digits of a year that would be more than 50 years ahead',
      { 'Retry-After': 'Saturday, 15-Nov-45 08:12:31 GMT' },
      0,
    ],
    [
      'a leap second',
      { 'Retry-After': 'Sat, 31 Dec 1994 23:59:60 GMT' },
      Date.UTC(1995, 0, 1) - NOW,
    ],
    [
      'a date that follows the server clock, years away from ours',
      { 'Retry-After': 'Fri, 01 Jan 2010 00:01:00 GMT', Date: 'Fri, 01 Jan 2010 00:00:00 GMT' },
      60_000,
    ],
    ['seconds of which some passed in a cache', { 'Retry-After': '120', Age: '20' }, 100_000],
    [
      'a date of which some passed in a cache',
      {
        'Retry-After': 'Fri, 01 Jan 2010 00:01:00 GMT',
        Date: 'Fri, 01 Jan 2010 00:00:00 GMT',
        Age: '20',
      },
      40_000,
    ],
    ['seconds that all passed in a cache', { 'Retry-After': '5', Age: '20' }, 0],
    [
      'an unreadable Date',
      { 'Retry-After': 'Tue, 15 Nov 1994 08:12:41 GMT', Date: 'yesterday' },
      10_000,
    ],
    ['seconds with a fraction', { 'Retry-After': '1.5' }, 1_500],
    ...[
      '',
      '-1',
      '1.5.5',
      '1.',
      '1e3',
      '0x10',
      '1s',
      'soon',
      '5, 10',
      '1234567890123456',
      'Tue, 15 Nov 1994 08:12:41 UTC',
      'Tue, 31 Feb 1994 08:12:41 GMT',
      'Tue, 15 Foo 1994 08:12:41 GMT',
      'Tue, 15 Nov 1994 24:12:41 GMT',
      'Tue, 15 Nov 1994 08:60:41 GMT',
      'Tue, 15 Nov 1994 08:12:61 GMT',
      '1994-11-15T08:12:41Z',
    ].map(
      (value) =>
        [`'${value}' is neither seconds nor a date`, { 'Retry-After': value }, undefined] as const,
    ),
  ];
  test.each(rows)('reads %s', (_, fields, ms) => {
    const report = read(fields);
    expect(report.retryAfterMs).toBe(ms);
    expect(report.waitMs).toBe(ms ?? 0);
  });
});

describe('waitMs', () => {
  const rows: readonly (readonly [sentence: string, fields: Fields, ms: number])[] = [
    ['no field is sent', {}, 0],
    ['something is left', { RateLimit: '"x";r=1;t=30' }, 0],
    ['nothing is left until the end of the window', { RateLimit: '"x";r=0;t=30' }, 30_000],
    [
      'several limits have nothing left, by the longest',
      { RateLimit: '"x";r=0;t=30, "y";r=0;t=40, "z";r=1;t=50' },
      40_000,
    ],
    [
      'nothing is left for an unknown time',
      { RateLimit: '"x";r=0', 'RateLimit-Policy': '"x";q=1;w=60' },
      0,
    ],
    [
      'Retry-After is shorter than the window',
      { RateLimit: '"x";r=0;t=30', 'Retry-After': '20' },
      20_000,
    ],
    [
      'Retry-After is longer than the window',
      { RateLimit: '"x";r=0;t=30', 'Retry-After': '40' },
      40_000,
    ],
    ['Retry-After is unreadable', { RateLimit: '"x";r=0;t=30', 'Retry-After': 'x' }, 30_000],
    [
      'legacy fields are sent',
      { 'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset': '784887161', Date: DATE },
      784_887_161_000,
    ],
    ['draft-7 fields are sent', { RateLimit: 'limit=1, remaining=0, reset=7' }, 7_000],
    ['a response is cached', { RateLimit: '"x";r=0;t=30', Age: '3' }, 0],
  ];
  test.each(rows)('computes the wait when %s', (_, fields, ms) => {
    expect(read(fields).waitMs).toBe(ms);
  });
});

describe('the headers argument', () => {
  test('takes objects with get and records of strings, numbers and lists', () => {
    expect(parseRateLimit(new Map([['retry-after', '5']])).waitMs).toBe(5_000);
    expect(parseRateLimit({ 'RETRY-after': 5 }).waitMs).toBe(5_000);
    expect(parseRateLimit({ 'retry-after': ['5'] }).waitMs).toBe(5_000);
    expect(parseRateLimit({ get: 'x', 'retry-after': '5' }).waitMs).toBe(5_000);
  });

  test('joins differently spelt names as lines of one field', () => {
    const { limits } = parseRateLimit({ RateLimit: '"a";r=1', ratelimit: ['"b";r=2'] });
    expect(limits.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test.each([
    undefined,
    null,
    5,
    'x',
    [],
    {},
    { ratelimit: {} },
    { ratelimit: null },
    { age: [null, {}] },
    { __proto__: null },
  ])('reads nothing from %j', (headers) => {
    expect(parseRateLimit(headers as unknown as ResponseHeaders)).toEqual({
      waitMs: 0,
      retryAfterMs: undefined,
      limits: [],
    });
  });

  test.each([
    [{ now: '5' }, 'now'],
    [{ now: NaN }, 'now'],
    [{ now: -1 }, 'now'],
    [{ nwo: 5 }, 'nwo'],
    [5, 'parseRateLimit'],
  ])('refuses the options %j', (options, named) => {
    const refused = () => parseRateLimit({}, options as { now: number });
    expect(refused).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    expect(refused).toThrow(named);
  });
});
