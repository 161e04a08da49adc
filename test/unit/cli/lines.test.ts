import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { openLines } from '../../../src/cli/logs/lines.ts';
import { folder, write } from './run.ts';

const signal = new AbortController().signal;

async function linesOf(name: string, stdin: Readable = Readable.from([])) {
  const file = name === '-' ? name : path.join(folder, name);
  const source = await openLines(file, stdin, signal);
  const lines: string[] = [];
  for await (const batch of source.batches) {
    lines.push(...batch);
  }
  return { lines, source };
}

const MANY = Array.from({ length: 20_000 }, (_, i) => `line ${i} of many, ü and 𝄞`);

describe('the lines of a log', () => {
  test('come whole, whatever the chunks', async () => {
    const { lines, source } = await linesOf(write('many.log', `${MANY.join('\n')}\n`));
    expect(lines).toEqual(MANY);
    expect(source.read).toBe(source.size);
  });

  test('end without a line feed', async () => {
    const { lines } = await linesOf(write('open.log', 'a\nü'));
    expect(lines).toEqual(['a', 'ü']);
  });

  test('begin behind a byte order mark', async () => {
    expect((await linesOf(write('mark.log', '\uFEFFa\nb'))).lines).toEqual(['a', 'b']);
    expect((await linesOf(write('mark1.log', '\uFEFFa'))).lines).toEqual(['a']);
  });

  test('of an empty log are none', async () => {
    expect((await linesOf(write('empty.log', ''))).lines).toEqual([]);
  });

  test('come from stdin, in chunks of one byte', async () => {
    const bytes = Buffer.from('ü1\nü2\n');
    const chunks = Array.from(bytes, (byte) => Buffer.of(byte));
    const { lines, source } = await linesOf('-', Readable.from(chunks));
    expect(lines).toEqual(['ü1', 'ü2']);
    expect(source.size).toBeUndefined();
  });

  test('that are longer than 1 MiB are left out and counted', async () => {
    const long = 'x'.repeat(3 << 20);
    const { lines, source } = await linesOf(write('long.log', `a\n${long}\nb\n${long}`));
    expect(lines).toEqual(['a', 'b']);
    expect(source.tooLong).toBe(2);
  });
});

describe('a gzipped log', () => {
  test('is read whatever its name, in several members', async () => {
    const [one, two] = [MANY.slice(0, 9_000), MANY.slice(9_000)];
    const bytes = Buffer.concat([one, two].map((part) => gzipSync(`${part.join('\n')}\n`)));
    expect((await linesOf(write('rotated.log', bytes))).lines).toEqual(MANY);
    const chunks = [bytes.subarray(0, 1), bytes.subarray(1)];
    expect((await linesOf('-', Readable.from(chunks))).lines).toEqual(MANY);
  });

  test('that breaks off gives what is there, and says so', async () => {
    const bytes = gzipSync(`${MANY.join('\n')}\n`);
    const { lines, source } = await linesOf(write('cut.log', bytes.subarray(0, bytes.length >> 1)));
    expect(lines.length).toBeGreaterThan(1_000);
    expect(lines.slice(0, -1)).toEqual(MANY.slice(0, lines.length - 1));
    expect(source.brokenOff).toBe('unexpected end of file');
  });

  test('that is damaged gives what is before, and says so', async () => {
    const bytes = gzipSync(`${MANY.join('\n')}\n`);
    bytes.fill(0xff, bytes.length >> 1, (bytes.length >> 1) + 100);
    const { source } = await linesOf(write('damaged.log', bytes));
    expect(source.brokenOff).toMatch(/invalid|incorrect/);
  });
});

test('a file that is missing, or a folder, is named', async () => {
  await expect(linesOf('missing.log')).rejects.toThrow(/missing\.log: there is no such file/);
  mkdirSync(path.join(folder, 'logs'));
  await expect(linesOf('logs')).rejects.toThrow(/is a folder\. Name its logs/);
});
