import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readLog } from '../../../site/playground/engine/log.ts';
import type { LogSettings } from '../../../site/playground/engine/log.ts';
import { suggest } from '../../../site/playground/engine/suggest.ts';
import { LINES } from '../cli/logs.ts';
import { run, write } from '../cli/run.ts';

const FOUND: LogSettings = { format: undefined, key: undefined, time: undefined };

const START = Date.UTC(2026, 9, 10, 12);
const MADE = Array.from({ length: 500 }, (_, i) => ({
  at: START + i * 1_000,
  address: `192.0.2.${i % 7}`,
  user: `user-${i % 3}`,
}));

function blobOf(content: string | Uint8Array<ArrayBuffer>): Blob {
  return new Blob([content]);
}

describe('the playground reads a log', () => {
  test.each(Object.keys(LINES))('of the format %s, which it finds out', async (format) => {
    const text = MADE.map(LINES[format]!).join('\n');
    const { requests, facts } = await readLog(blobOf(text), FOUND, () => {});
    expect(facts).toMatchObject({ format, found: true, lines: 500, requests: 500, broken: 0 });
    expect([...requests.at]).toEqual(MADE.map(({ at }) => at * 1_000));
    expect(Array.from(requests.caller, (each) => requests.names[each])).toEqual(
      MADE.map(({ address }) => address),
    );
  });

  test('gzipped, whatever its name', async () => {
    const text = MADE.map(LINES['combined']!).join('\n');
    const { facts } = await readLog(blobOf(gzipSync(text)), FOUND, () => {});
    expect(facts).toMatchObject({ lines: 500, requests: 500, brokenOff: undefined });
  });

  test('as far as a broken gzip goes, and says so', async () => {
    const gz = gzipSync(MADE.map(LINES['combined']!).join('\n'), { level: 0 });
    const { facts } = await readLog(blobOf(gz.subarray(0, gz.length / 2)), FOUND, () => {});
    expect(facts.brokenOff).toEqual(expect.any(String));
    expect(facts.requests).toBeGreaterThan(100);
  });

  test('counts broken lines and keeps the first, with lines cut anywhere between chunks', async () => {
    const lines = MADE.map(LINES['combined']!);
    lines.splice(120, 0, 'nonsense ä€', 'more');
    lines.push('x'.repeat(3 << 20), lines[0]!);
    const { facts } = await readLog(blobOf(lines.join('\r\n')), FOUND, () => {});
    expect(facts).toMatchObject({ requests: 501, broken: 3 });
    expect(facts.firstBroken).toMatchObject({ number: 121, line: 'nonsense ä€' });
  });

  test('by the fields that are named', async () => {
    const lines = MADE.map(({ at, user }) => JSON.stringify({ when: at, who: { id: user } }));
    const settings = { format: 'json', key: 'who.id', time: 'when' };
    const { requests } = await readLog(blobOf(lines.join('\n')), settings, () => {});
    expect(requests.names).toEqual(['user-0', 'user-1', 'user-2']);
    expect(requests.count).toBe(500);
  });

  test('in the order of time, though its lines are not', async () => {
    const shuffled = MADE.map((each, i) => MADE[i ^ 7] ?? each);
    const text = shuffled.map(LINES['combined']!).join('\n');
    const { requests, facts } = await readLog(blobOf(text), FOUND, () => {});
    expect([...requests.at]).toEqual([...requests.at].toSorted((a, b) => a - b));
    expect(facts.late).toBe(0);
  });

  test('of no known format to say what it could be', async () => {
    await expect(readLog(blobOf('hello\nworld\n'), FOUND, () => {})).rejects.toThrow(
      /of no known format/,
    );
  });
});

test('the playground suggests what the command line suggests of the same log', async () => {
  const text = MADE.filter((_, i) => i % 7 < 5 || i % 3 === 0)
    .map(LINES['combined']!)
    .join('\n');
  const { requests } = await readLog(blobOf(text), FOUND, () => {});
  const { stdout } = await run(['suggest', write('suggest.log', text), '--json']);
  const { rates, suggestion } = JSON.parse(stdout) as {
    rates: { rate: number; bursts: { burst: number; disturbed: number }[] }[];
    suggestion: object;
  };
  const found = suggest(requests, 60_000);
  expect(found.rows.map(({ rate, cells }) => ({ rate, cells }))).toEqual(
    rates.map(({ rate, bursts }) => ({
      rate,
      cells: bursts.map(({ burst, disturbed }) => ({ burst, disturbed })),
    })),
  );
  expect({ period: found.period, ...found.chosen }).toEqual(suggestion);
});
