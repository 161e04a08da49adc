import { describe, expect, test } from 'vitest';
import { NoEntry } from '../../../src/cli/logs/entry.ts';
import { FORMAT_NAMES, findFormat, makeFormat } from '../../../src/cli/logs/formats.ts';
import { LINES, logOf, madeRequests } from './logs.ts';

const AT = Date.UTC(2026, 9, 10, 12, 0, 1);

function options(fields: Readonly<Record<string, string>> = {}) {
  return { format: undefined, fields: new Map(Object.entries(fields)), timeZone: 'UTC' };
}

function parse(format: string, line: string, fields: Readonly<Record<string, string>> = {}) {
  return makeFormat(format, options(fields)).parse(line);
}

test('every format has a line in these tests', () => {
  expect(Object.keys(LINES).toSorted()).toEqual([...FORMAT_NAMES].toSorted());
});

describe.each(FORMAT_NAMES)('the format %s', (format) => {
  test('reads the beginning of a request and its client', () => {
    const line = LINES[format]!({ at: AT, address: '203.0.113.7', tookMs: 2_500 });
    expect(parse(format, line)).toMatchObject({ at: AT * 1_000, caller: '203.0.113.7', cost: 1 });
  });

  test('groups IPv6 addresses by their network', () => {
    // A colon and a port follow an address in some formats.
    const address = format === 'alb' ? '[2001:db8:1:2::3]' : '2001:db8:1:2::3';
    const line = LINES[format]!({ at: AT, address });
    expect(parse(format, line)).toMatchObject({ caller: '2001:db8:1:2::/64' });
  });

  test('is found out by the first lines, one in three of them broken', () => {
    const lines = logOf(format, madeRequests().slice(0, 60)).split('\n').slice(0, -1);
    const broken = lines.map((line, i) => (i % 3 === 1 ? line.slice(0, 30) : line));
    expect(findFormat(broken, options())).toBe(format);
  });

  test('refuses lines cut anywhere before their end, and never throws', () => {
    const line = LINES[format]!({ at: AT, address: '203.0.113.7' });
    // A line of columns has its facts before its end.
    const end = line.startsWith('{')
      ? line.length
      : ({ alb: line.indexOf(' TLS_AES') + 1, envoy: line.indexOf(' "example.org"') + 1 }[format] ??
        line.indexOf(' 512') + 2);
    for (let cut = 0; cut < end; cut++) {
      expect(parse(format, line.slice(0, cut)), line.slice(0, cut)).toBeInstanceOf(NoEntry);
    }
  });
});

test('lines of no format are of no format', () => {
  expect(findFormat(['hello', 'world', 'GET / 200'], options())).toBeUndefined();
  expect(findFormat(['{"a":1}', '{"a":2}'], options())).toBeUndefined();
});

test('--field finds out the format of JSON with other names', () => {
  const lines = ['{"at":1791633600,"who":{"id":7}}'];
  const fields = { time: 'at', key: 'who.id' };
  expect(findFormat(lines, options(fields))).toBe('json');
  expect(parse('json', lines[0]!, fields)).toMatchObject({
    at: 1_791_633_600_000_000,
    caller: '7',
  });
});

describe('a field', () => {
  const line = '{"time":1791633600,"a.b":"literal","a":{"b":"nested","c":"x"},"n":12,"list":["z"]}';

  test.each([
    ['a.b', 'literal'],
    ['a.c', 'x'],
    ['n', '12'],
    ['list.0', 'z'],
  ])('named %s is %s', (key, caller) => {
    expect(parse('json', line, { key })).toMatchObject({ caller });
  });

  test.each(['a', 'missing', 'a.toString', '__proto__', 'list.length.x'])(
    'named %s gives no caller',
    (key) => {
      expect(parse('json', line, { key })).toMatchObject({ reason: 'it names no caller' });
    },
  );

  test('may be a column, by its name or its number', () => {
    const combined = LINES['combined']!({ at: AT, address: '192.0.2.1', user: 'ada' });
    expect(parse('combined', combined, { key: 'user' })).toMatchObject({ caller: 'ada' });
    expect(parse('combined', combined, { key: '3' })).toMatchObject({ caller: 'ada' });
    expect(() => parse('combined', combined, { key: 'tenant' })).toThrow(
      /column 'tenant', which the format has not/,
    );
  });

  test.each([
    ['{"time":1791633600,"ip":"192.0.2.1","c":5}', 5],
    ['{"time":1791633600,"ip":"192.0.2.1","c":"5"}', 5],
    ['{"time":1791633600,"ip":"192.0.2.1","c":0}', 0],
  ])('is the cost of %s', (text, cost) => {
    expect(parse('json', text, { cost: 'c' })).toMatchObject({ cost });
  });

  test.each(['{"time":1791633600,"ip":"a","c":1.5}', '{"time":1791633600,"ip":"a","c":-1}'])(
    'is no cost in %s',
    (text) => {
      expect(parse('json', text, { cost: 'c' })).toMatchObject({ reason: /cost/ });
    },
  );

  test('gives parts of the identity', () => {
    const text = '{"time":1791633600,"ip":"192.0.2.1","org":"acme"}';
    expect(parse('json', text, { org: 'org' })).toMatchObject({ parts: { org: 'acme' } });
  });
});

describe('callers', () => {
  test.each([
    ['', undefined],
    ['-', undefined],
    ['\ud800', undefined],
    ['x'.repeat(1_025), undefined],
    ['x'.repeat(1_024), 'x'.repeat(1_024)],
    ['ü'.repeat(513), undefined],
  ])('%j is taken as a limiter takes it', (key, caller) => {
    const entry = parse('json', JSON.stringify({ time: 1_791_633_600, key }), { key: 'key' });
    expect(entry instanceof NoEntry ? undefined : entry.caller).toBe(caller);
  });
});

test('Caddy’s other lines are sound, and no requests', () => {
  const other = '{"level":"info","ts":1791633600.5,"logger":"admin","msg":"started"}';
  expect(parse('caddy', other)).toMatchObject({ isSound: true });
});
