import { describe, expect, test } from 'vitest';
import { NoEntry } from '../../../src/cli/logs/entry.ts';
import type { LogEntry } from '../../../src/cli/logs/entry.ts';
import { makeFormat } from '../../../src/cli/logs/formats.ts';
import { LINES } from './logs.ts';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

const CHUNKS = 64;
const CHUNK = 1 << 18;

/** The first line of a chunk that was read as one text; the others are too many to look at. */
function firstLine(line: string): string {
  const text = Buffer.from(`${line}\n`.padEnd(CHUNK, '.')).toString('latin1');
  return text.split('\n')[0]!;
}

describe.each(Object.keys(LINES))('entries of %s', (name) => {
  test.each([
    ['an IPv4 address', [], (i: number) => `198.151.${100 + (i >> 7)}.${100 + (i & 127)}`],
    ['an IPv6 address', [], (i: number) => `2001:db8:${i}::1`],
    ['a field', ['key', 'org'], (i: number) => `198.151.${100 + (i >> 7)}.${100 + (i & 127)}`],
  ] as const)('with %s keep no line in memory', (_, named, addressOf) => {
    const field = { combined: 'agent', common: 'request', alb: 'user_agent', envoy: 'request' }[
      name
    ];
    if (named.length > 0 && field === undefined) {
      return; // values of JSON are copies
    }
    const fields = new Map(named.map((each) => [each, field!]));
    const { parse } = makeFormat(name, { format: name, fields, timeZone: 'UTC' });
    const before = heapUsed();
    const entries: LogEntry[] = [];
    for (let i = 0; i < CHUNKS; i++) {
      const at = Date.UTC(2026, 9, 10) + i * 1_000;
      const entry = parse(firstLine(LINES[name]!({ at, address: addressOf(i) })));
      expect(entry).not.toBeInstanceOf(NoEntry);
      entries.push(entry as LogEntry);
    }
    const kept = heapUsed() - before;
    expect(entries).toHaveLength(CHUNKS);
    expect(kept).toBeLessThan((CHUNKS * CHUNK) / 10);
  });
});
