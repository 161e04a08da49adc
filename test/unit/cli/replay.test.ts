import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { FORMAT_NAMES } from '../../../src/cli/logs/formats.ts';
import { LINES, logOf, madeRequests } from './logs.ts';
import { run, write } from './run.ts';

const REQUESTS = madeRequests();
const LIMIT = ['--limit', '30/1m burst 10'];
/** Of 300 requests within 149.5 s: all but the burst and a request every 2 s. */
const REFUSED = 300 - 10 - 74;

interface Report {
  readonly requests: number;
  readonly callers: number;
  readonly requestsOfFurtherCallers: number;
  readonly logs: readonly Record<string, unknown>[];
  readonly policies: readonly {
    readonly ok: boolean;
    readonly refused: number;
    readonly refusedCallers: number;
    readonly minutes: number;
    readonly worst: readonly { readonly caller: string; readonly refused: number }[];
    readonly refusedByLimit: Readonly<Record<string, number>>;
    readonly timeline: { readonly stepMs: number; readonly rows: readonly { requests: number }[] };
  }[];
}

async function report(argv: readonly string[], stdin?: string): Promise<Report> {
  const { stdout } = await run(['replay', ...argv, '--json'], stdin === undefined ? {} : { stdin });
  return JSON.parse(stdout) as Report;
}

describe('replay', () => {
  test('colours its output on a terminal', async () => {
    write('access.log', logOf('combined', REQUESTS));
    const argv = ['replay', 'access.log', ...LIMIT];
    const plain = await run(argv);
    const terminal = await run(argv, { isTTY: true, columns: 100 });
    expect(plain.stdout).not.toContain('\u001B');
    expect(terminal.stdout).toContain('\u001B[32m');
    const { stdout } = await run(argv, { isTTY: true, env: { NO_COLOR: '1' } });
    expect(stdout).toBe(plain.stdout);
    expect((await run(argv, { env: { FORCE_COLOR: '1' } })).stdout).toContain('\u001B[32m');
    const longest = Math.max(...plain.stdout.split('\n').map((line) => line.length));
    expect(longest).toBeLessThanOrEqual(100);
  });

  test.each(FORMAT_NAMES)('reads %s alike, plain, zipped and from stdin', async (format) => {
    const text = logOf(format, REQUESTS);
    const plain = await report([write(`${format}.log`, text), ...LIMIT]);
    expect(plain).toMatchObject({
      requests: REQUESTS.length,
      callers: 6,
      logs: [{ format, found: true, broken: 0, late: 0 }],
      policies: [{ refused: REFUSED, refusedCallers: 1 }],
    });
    const zipped = await report([write(`${format}.log.gz`, gzipSync(text)), ...LIMIT]);
    expect(zipped.policies).toEqual(plain.policies);
    expect((await report(['-', ...LIMIT], text)).policies).toEqual(plain.policies);
  });

  test('merges the logs of several servers by time', async () => {
    const even = REQUESTS.filter((_, i) => i % 2 === 0);
    const odd = REQUESTS.filter((_, i) => i % 2 === 1);
    const whole = await report([write('whole.log', logOf('json', REQUESTS)), ...LIMIT]);
    const names = [write('odd.log', logOf('caddy', odd)), write('even.log', logOf('json', even))];
    const merged = await report([...names, ...LIMIT]);
    expect(merged.policies).toEqual(whole.policies);
    expect(merged.logs.map(({ format }) => format)).toEqual(['caddy', 'json']);
  });

  test('puts long requests where they began, and counts those beyond the window', async () => {
    const byEnd = REQUESTS.map((request, i) => ({
      ...request,
      tookMs: i % 7 === 0 ? 45_000 : 0,
    })).toSorted((a, b) => a.at + a.tookMs - (b.at + b.tookMs));
    const name = write('by-end.log', logOf('json', byEnd));
    const ordered = await report([write('ordered.log', logOf('json', REQUESTS)), ...LIMIT]);
    expect(await report([name, ...LIMIT])).toMatchObject({
      policies: ordered.policies,
      logs: [{ late: 0 }],
    });
    const argv = ['replay', name, ...LIMIT, '--reorder', '5s'];
    expect((await run(argv)).stderr).toContain('85 requests stood up to 40 s behind');
  });

  test('goes on through the hour that a clock shows twice', async () => {
    // From 01:00 to 03:00 in Berlin on 2026-10-25 are three hours; a line each minute, without an offset.
    const start = Date.UTC(2026, 9, 24, 23);
    const clock = new Intl.DateTimeFormat('sv-SE', {
      timeZone: 'Europe/Berlin',
      dateStyle: 'short',
      timeStyle: 'medium',
    });
    const lines = Array.from({ length: 180 }, (_, i) =>
      JSON.stringify({ time: clock.format(start + i * 60_000), ip: '192.0.2.1' }),
    );
    const name = write('berlin.log', lines.join('\n'));
    const argv = [name, '--limit', '1/1m', '--time-zone', 'Europe/Berlin'];
    expect(await report(argv)).toMatchObject({
      from: '2026-10-24T23:00:00.000Z',
      to: '2026-10-25T01:59:00.000Z',
      logs: [{ usedZone: true, late: 0 }],
      policies: [{ refused: 0 }],
    });
    expect((await run(['replay', ...argv])).stderr).toContain('on the clock of --time-zone');
  });

  test('replays the limits of a module', async () => {
    write('access.log', logOf('combined', REQUESTS));
    write(
      'limits.mjs',
      "export default { redis: 'redis://nowhere', rate: 30, period: '1m', burst: 10 };",
    );
    write('wrong.mjs', 'export default 5;');
    write('bad.mjs', 'export const limits = [{ rate: 1 }];');
    write('throws.mjs', "throw new Error('no database');");
    const argv = ['replay', 'access.log'];
    const [fromModule, fromText] = await Promise.all([
      report(['access.log', '--limits', 'limits.mjs']),
      report(['access.log', ...LIMIT]),
    ]);
    expect(fromModule.policies[0]?.worst).toEqual(fromText.policies[0]?.worst);
    for (const [file, says] of [
      ['missing.mjs', 'there is no such file'],
      ['wrong.mjs', 'must export limits'],
      ['bad.mjs', 'must be'],
      ['throws.mjs', 'no database'],
    ] as const) {
      const { exitCode, stderr } = await run([...argv, '--limits', file]);
      expect(exitCode).toBe(2);
      expect(stderr).toContain(says);
    }
  });

  test('counts by a field, and charges a cost', async () => {
    const lines = ['a', 'a', 'b', 'a'].map((id, i) =>
      JSON.stringify({ time: 1_791_633_600 + i, user: { id }, tokens: 3 }),
    );
    const argv = ['-', '--field', 'key=user.id', '--field', 'cost=tokens', '--limit', '6/1h'];
    const { callers, policies } = await report([...argv, '--show'], lines.join('\n'));
    expect(callers).toBe(2);
    expect(policies[0]?.worst).toEqual([{ caller: 'a', requests: 3, refused: 1, minutes: 1 }]);
  });

  test('ends with 1 beyond --max-refused, and only then', async () => {
    write('access.log', logOf('combined', REQUESTS));
    // 216 of 600 requests, 1 of 6 callers.
    const exits = async (...argv: string[]): Promise<number> =>
      (await run(['replay', 'access.log', ...LIMIT, ...argv])).exitCode;
    expect(await exits('--max-refused', '35.99%')).toBe(1);
    expect(await exits('--max-refused', '36%')).toBe(0);
    expect(await exits('--max-refused-callers', '16%')).toBe(1);
    expect(await exits('--max-refused-callers', '17%')).toBe(0);
    expect(await exits('--max-refused', '0.1')).toBe(2);
  });

  test('tells apart at most --max-callers callers, and says so', async () => {
    write('access.log', logOf('combined', REQUESTS));
    const argv = ['access.log', ...LIMIT, '--max-callers', '5'];
    expect(await report(argv)).toMatchObject({
      callers: 5,
      requestsOfFurtherCallers: 300,
      policies: [{ refused: REFUSED, refusedCallers: 0, worst: [] }],
    });
    expect((await run(['replay', ...argv])).stderr).toContain('only the first 5 callers');
  });

  test('names each policy’s limits that refused', async () => {
    write('access.log', logOf('combined', REQUESTS));
    const { policies } = await report(['access.log', '--limit', '10/1s, 60/1m fixed']);
    expect(policies[0]?.refusedByLimit['60-per-1m-fixed']).toBe(policies[0]?.refused);
  });

  test.each([
    [['replay'], 'name the limits'],
    [['replay', ...LIMIT], 'name a log'],
    [['replay', '-', '-', ...LIMIT], 'can be named once'],
    [['replay', '-', '--limit', '100 a minute'], "got '100 a minute'"],
    [['replay', '-', '--limit', '10/1m burst 5 fixed'], 'only a token bucket has a burst'],
    [['replay', '-', '--limit', '10/90x'], '`period` must be'],
    [['replay', '-', ...LIMIT, '--format', 'combine'], 'Write --format combined'],
    [['replay', '-', ...LIMIT, '--format', 'combined', '--field', 'key=org'], "column 'org'"],
    [['replay', '-', ...LIMIT, '--field', 'org'], 'must be name=field'],
    [['replay', '-', ...LIMIT, '--time-zone', 'Mars/Olympus'], 'IANA'],
    [['replay', '-', ...LIMIT, '--reorder', 'soon'], '--reorder must be a duration'],
    [['replay', '-', ...LIMIT, '--max-callers', '0'], 'from 1 to 10000000'],
    [['replay', '-', ...LIMIT, '--hash-secret-env', 'NOT_SET'], 'no such variable'],
    [['replay', '-', '--limt', '10/1m'], 'Did you mean --limit?'],
    [['replay', '-', '--limit'], '--limit'],
  ])('%j is a wrong command line', async (argv, says) => {
    const { exitCode, stdout, stderr } = await run(argv);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('logs without a request are an error', async () => {
    const { exitCode, stderr } = await run(['replay', '-', ...LIMIT]);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 3,
      stderr: 'distributed-rate-limiter: the logs hold no request.\n',
    });
  });

  test('a log of no known format is a wrong command line', async () => {
    const unknown = await run(['replay', '-', ...LIMIT], { stdin: 'hello\nworld\n' });
    expect(unknown).toMatchObject({
      exitCode: 2,
      stderr: /no known format\. Name one of combined/,
    });
    const json = await run(['replay', '-', ...LIMIT], { stdin: '{"at":1,"who":2}' });
    expect(json.stderr).toContain('--field time=… --field key=… of at, who');
  });

  test('ends at Ctrl-C with 130', async () => {
    write('access.log', logOf('combined', REQUESTS));
    const stopped = AbortSignal.abort();
    const { exitCode, stdout, stderr } = await run(['replay', 'access.log', ...LIMIT], {
      signal: stopped,
    });
    expect({ exitCode, stdout }).toEqual({ exitCode: 130, stdout: '' });
    expect(stderr).toContain('Interrupted.');
  });

  test('shows progress on a terminal, and removes it', async () => {
    const text = `${LINES['common']!({ at: Date.UTC(2026, 9, 10), address: '192.0.2.1' })}\n`;
    write('long.log', text.repeat(20_000));
    const argv = ['replay', 'long.log', '--limit', '10/1m'];
    const { stderr } = await run(argv, { isTTY: true, columns: 80 });
    expect(stderr.replaceAll('\u001B', 'ESC')).toMatch(
      /\rESC\[2K\d+ %, [\d,]+ lines, [\d,]+ a second\rESC\[2K/,
    );
    expect((await run(argv)).stderr).not.toContain('\r');
    expect((await run([...argv, '--quiet'], { isTTY: true })).stderr).toBe('');
  });
});
