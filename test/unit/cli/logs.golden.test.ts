import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import { FORMAT_NAMES } from '../../../src/cli/logs/formats.ts';
import { goldenFiles } from '../../kit/golden/golden-files.ts';
import { LINES, logOf } from './logs.ts';
import type { Made } from './logs.ts';
import { folder, run, write } from './run.ts';
import { cat, outcome, session, shown } from './session.ts';

const golden = goldenFiles('cli/logs');
const LIMIT = ['--limit', '3/1m burst 2', '--show'];
const START = Date.UTC(2026, 9, 10, 12);

/** Seven requests within two minutes: one caller sends five at once. */
const REQUESTS: readonly Made[] = [
  { at: START, address: '192.0.2.1' },
  ...[20, 20.25, 20.5, 20.75, 21].map((second) => ({
    at: START + second * 1_000,
    address: '203.0.113.7',
    user: 'busy',
    path: '/search',
    tookMs: 250,
  })),
  { at: START + 90_000, address: '2001:db8:1:2:3:4:5:6' },
];

function zip(name: string): string {
  return write(`${name}.gz`, gzipSync(readFileSync(path.join(folder, name))));
}

for (const format of FORMAT_NAMES) {
  golden(format, async () => {
    // A port follows the address in a load balancer's log, which writes IPv6 in brackets.
    const requests = REQUESTS.map((request) =>
      format === 'alb'
        ? { ...request, address: request.address.replace(/^.*:.*$/, '[$&]') }
        : request,
    );
    const name = write(`${format}.log`, logOf(format, requests));
    const replay = await session(['replay', name, ...LIMIT]);
    const suggest = await session(['suggest', name, '--rates', '1,3,60']);
    const zipped = zip(name);
    const ofZipped = await session(['replay', zipped, ...LIMIT]);
    expect(ofZipped.replaceAll(zipped, name)).toBe(replay);
    return `${cat(name)}${replay}\n${suggest}`;
  });
}

function combined(...requests: readonly Made[]): string[] {
  return requests.map((request) => LINES['combined']!(request));
}

const LINES_OF_LOG = combined(...REQUESTS);

golden('broken-lines', () => {
  const lines = [...LINES_OF_LOG];
  lines.splice(2, 0, 'half a line \u001B[31m', '', lines[3]!.slice(0, 40));
  const name = write('access.log', `${lines.join('\n')}\n`);
  return session(['replay', name, ...LIMIT]).then((text) => cat(name) + text);
});

golden('one-broken-line', () => {
  const name = write('access.log', `${[...LINES_OF_LOG, 'half a line'].join('\n')}\n`);
  return session(['replay', name, ...LIMIT]).then((text) => cat(name) + text);
});

golden('ends-of-lines', async () => {
  const name = write('access.log', LINES_OF_LOG.join('\r\n'));
  const replay = await session(['replay', name, ...LIMIT]);
  write('access.log', `${LINES_OF_LOG.join('\n')}\n`);
  expect(await session(['replay', name, ...LIMIT])).toBe(replay);
  write('access.log', LINES_OF_LOG.join('\r\n'));
  return cat(name) + replay;
});

golden('one-line', async () => {
  const name = write('access.log', LINES_OF_LOG[0]!);
  const replay = await session(['replay', name, ...LIMIT]);
  return `${cat(name)}${replay}\n${await session(['suggest', name, '--rates', '1,60'])}`;
});

golden('empty', async () => {
  const name = write('access.log', '');
  const zipped = zip(name);
  const sessions = [
    await session(['replay', name, ...LIMIT]),
    await session(['suggest', name]),
    await session(['replay', zipped, ...LIMIT]),
  ];
  return cat(name) + sessions.join('\n');
});

golden('unreadable', async () => {
  write('access.log', `${LINES_OF_LOG.join('\n')}\n`);
  write('prose.log', 'It was a dark and stormy night.\n');
  write('other.jsonl', '{"when":"2026-10-10T12:00:00Z","who":"192.0.2.1"}\n');
  const lines = [
    ['replay', 'missing.log', ...LIMIT],
    ['replay', 'prose.log', ...LIMIT],
    ['replay', 'other.jsonl', ...LIMIT],
    ['replay', 'access.log', ...LIMIT, '--format', 'alb'],
    ['replay', '.', ...LIMIT],
  ];
  const texts: string[] = [];
  for (const argv of lines) {
    texts.push(await session(argv));
  }
  return texts.join('\n').replaceAll(folder, '/logs');
});

golden('other-fields', async () => {
  write('other.jsonl', '{"when":"2026-10-10T12:00:00Z","who":"ada","tokens":3}\n'.repeat(4));
  const fields = ['time=when', 'key=who', 'cost=tokens'].flatMap((field) => ['--field', field]);
  const replay = await session(['replay', 'other.jsonl', ...fields, '--limit', '6/1m', '--show']);
  const suggest = await session(['suggest', 'other.jsonl', ...fields, '--rates', '6,60']);
  return `${cat('other.jsonl')}${replay}\n${suggest}`;
});

golden('broken-off-gzip', async () => {
  // Long enough that its first part can be unpacked alone.
  const log = logOf(
    'combined',
    Array.from({ length: 5_000 }, (_, i) => ({
      at: START + i * 1_000,
      address: `192.0.2.${(i * 7) % 251}`,
      path: `/${(i * 7_919) % 10_007}`,
    })),
  );
  write('access.log.gz', gzipSync(log).subarray(0, -1_000));
  const { stdout, ...rest } = await run(['replay', 'access.log.gz', ...LIMIT]);
  const argv = ['replay', 'access.log.gz', ...LIMIT];
  const text = outcome({ ...rest, stdout: `${stdout.split('\n')[0]!}\n` });
  // How much of it can be unpacked depends on zlib.
  const counts = /[\d,]{5,}(?= (?:requests|lines))|(?<=Line )[\d,]+|(?<=UTC to ).*/g;
  return `${shown(argv)}${text.replaceAll(counts, '<some>').replace(/^ {2}192.*/m, '  <part of a line>')}`;
});

/** Requests that a log has in the order of their ends. */
function byEnd(...tookMs: readonly number[]): readonly Made[] {
  return tookMs
    .map((took, i) => ({ at: START + i * 10_000, address: '192.0.2.1', tookMs: took }))
    .toSorted((a, b) => a.at + a.tookMs - (b.at + b.tookMs));
}

golden('back-within-the-window', async () => {
  const requests = byEnd(0, 50_000, 0, 0, 0, 0, 0, 0);
  const name = write('access.jsonl', logOf('json', requests));
  const replay = await session(['replay', name, ...LIMIT]);
  const inOrder = requests.toSorted((a, b) => a.at - b.at);
  write('access.jsonl', logOf('json', inOrder));
  expect(await session(['replay', name, ...LIMIT])).toBe(replay);
  write('access.jsonl', logOf('json', requests));
  return cat(name) + replay;
});

golden('back-beyond-the-window', async () => {
  const name = write('access.jsonl', logOf('json', byEnd(0, 50_000, 0, 0, 0, 0, 0, 0)));
  return cat(name) + (await session(['replay', name, ...LIMIT, '--reorder', '20s']));
});

golden('several-logs', async () => {
  const [even, odd] = [0, 1].map((rest) => REQUESTS.filter((_, i) => i % 2 === rest));
  const names = [write('a.log', logOf('caddy', even!)), write('b.log', logOf('combined', odd!))];
  const replay = await session(['replay', ...names, ...LIMIT]);
  return names.map((name) => cat(name)).join('') + replay;
});

const CALENDAR = `import { fixedWindow } from 'distributed-rate-limiter';

export default fixedWindow({ rate: 3, period: 'day', timeZone: 'Europe/Berlin' });
`;

const clock = new Intl.DateTimeFormat('sv-SE', {
  timeZone: 'Europe/Berlin',
  dateStyle: 'short',
  timeStyle: 'medium',
});

/**
 * The day on which the clock changes is an hour shorter or longer: the request at its last half hour is one too many, the
 * first of the next day passes. In autumn the clock shows 02:30 twice.
 */
const CHANGES: Readonly<Record<string, readonly string[]>> = {
  spring: ['28T22:30', '28T23:30', '29T00:30', '29T01:30', '29T21:30', '29T22:30'],
  autumn: ['24T21:30', '25T00:30', '25T00:50', '25T01:30', '25T22:30', '25T23:30'],
};

for (const [season, days] of Object.entries(CHANGES)) {
  golden(`clock-change-in-${season}`, async () => {
    const url = new URL('../../../src/index.ts', import.meta.url).href;
    write('daily.mjs', CALENDAR.replace('distributed-rate-limiter', url));
    const instants = days.map((day) => `2026-${season === 'spring' ? '03' : '10'}-${day}Z`);
    // Times as the clock of Berlin shows them, without an offset.
    const times = instants.map((at) => clock.format(new Date(at)));
    const lines = times.map((time) => JSON.stringify({ time, ip: '192.0.2.1' }));
    const name = write('access.jsonl', `${lines.join('\n')}\n`);
    const argv = ['replay', name, '--limits', 'daily.mjs', '--time-zone', 'Europe/Berlin'];
    const replay = await session([...argv, '--show']);
    expect(replay).toMatch(/\n192\.0\.2\.1 +6 {2}1 /);
    return `$ cat daily.mjs\n${CALENDAR}\n${cat(name)}${replay}`;
  });
}
