import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { COMMANDS } from '../../../src/cli/cli.ts';
import { goldenFiles } from '../../kit/golden/golden-files.ts';
import { logOf, madeRequests } from './logs.ts';
import { run, write } from './run.ts';
import { outcome, session, shown } from './session.ts';

const golden = goldenFiles('cli/commands');
const page = readFileSync(new URL('../../../docs/command-line.md', import.meta.url), 'utf8');
const index = new URL('../../../src/index.ts', import.meta.url).href;

/** A session that the page shows word by word. */
async function onThePage(argv: readonly string[]): Promise<string> {
  const text = await session(argv);
  const shows = text.split('--- stderr')[0]!;
  expect(page.includes(shows), `docs/command-line.md must show:\n${shows}`).toBe(true);
  return text;
}

async function sessions(...lines: readonly (readonly string[])[]): Promise<string> {
  const texts: string[] = [];
  for (const argv of lines) {
    texts.push(await session(argv));
  }
  return texts.join('\n');
}

/** Writes the log of every test, and a module of limits; returns a name for both. */
function accessLog(): string {
  return write('access.log', logOf('combined', madeRequests()));
}

const LIMIT = ['--limit', '30/1m burst 10'];
const STEADY = ['--traffic', '50 callers steady 30/1m'];
const BURSTS = ['--traffic', '1 caller bursts of 200 every 30s'];

golden('help', () => sessions(['--help']));

for (const { name } of COMMANDS) {
  golden(`help-${name}`, async () => {
    const text = await session([name, '--help']);
    // Command lines are left whole, to be pasted.
    const prose = text.split('\n').filter((line) => !line.includes('npx '));
    expect(Math.max(...prose.map((line) => line.length))).toBeLessThanOrEqual(80);
    return text;
  });
}

golden('help-on-a-narrow-terminal', async () => {
  const narrow = { isTTY: true, columns: 60, env: { NO_COLOR: '1' } };
  return session(['replay', '--help'], narrow);
});

golden('narrow-terminal', async () => {
  accessLog();
  const narrow = { isTTY: true, columns: 60, env: { NO_COLOR: '1' } };
  const limits = ['--limit', '10/1s, 1000/1h sliding, 10000/1d fixed', ...LIMIT];
  const options = ['--for', '1m', '--processes', '2', '--prepay', '--deny-cache', '250ms'];
  const texts = [
    await session(['replay', 'access.log', '-q', ...limits, '--max-refused', '1%'], narrow),
    await session(['suggest', 'access.log', '-q', '--disturb', '20%'], narrow),
    await session(['simulate', '-q', ...STEADY, ...BURSTS, ...LIMIT, ...options], narrow),
  ];
  // A command line to paste stays whole.
  const prose = texts
    .join('\n')
    .split('\n')
    .filter((line) => !line.includes('npx '));
  expect(prose.filter((line) => line.length > 60)).toEqual([]);
  return texts.join('\n');
});

golden('wrong-command-lines', () => {
  accessLog();
  return sessions(
    [],
    ['repaly'],
    ['replay'],
    ['replay', 'access.log'],
    ['replay', 'access.log', '--limit', '100 a minute'],
    ['replay', 'access.log', '--limt', '100/1m'],
    ['replay', 'access.log', ...LIMIT, '--max-refused', '0.1'],
    ['replay', 'access.log', ...LIMIT, '--format', 'combine'],
    ['suggest', 'access.log', '--rates', 'many'],
    ['simulate', '--limit', '60/1m'],
    ['simulate', '--traffic', '5 users', '--limit', '60/1m'],
    ['peek', '--limit', '60/1m'],
    ['peek', 'user:12345', '--limit', '60/1m'],
    ['block', 'user:12345', '--limit', '60/1m'],
    ['credit', 'user:12345', '--limit', '60/1m'],
  );
});

golden('replay', () => {
  accessLog();
  return onThePage(['replay', 'access.log', ...LIMIT, '--show']);
});

golden('replay-two-policies', () => {
  accessLog();
  return session(['replay', 'access.log', ...LIMIT, '--limit', '10/1s, 60/1m fixed']);
});

golden('replay-long-names', () => {
  accessLog();
  const limit = '10/1s, 1000/1h sliding, 10000/1d fixed';
  return session(['replay', 'access.log', '--limit', limit, ...LIMIT, '--show']);
});

golden('replay-json', () => {
  accessLog();
  return session(['replay', 'access.log', ...LIMIT, '--json']);
});

golden('replay-limits-file', async () => {
  accessLog();
  const module = `import { slidingWindow, tokenBucket } from 'distributed-rate-limiter';

export default [
  tokenBucket({ name: 'burst', rate: 60, period: '1m', burst: 10 }),
  slidingWindow({ name: 'hourly', rate: 40, period: '1h', shadow: true }),
];
`;
  write('limits.mjs', module.replace('distributed-rate-limiter', index));
  const argv = ['replay', 'access.log', '--limits', 'limits.mjs', '--show'];
  return `$ cat limits.mjs\n${module}\n${await session(argv)}`;
});

golden('replay-in-ci', () => {
  accessLog();
  const argv = ['replay', 'access.log', '-q', ...LIMIT, '--show'];
  const both = ['--max-refused', '0.1%', '--max-refused-callers', '1%'];
  return sessions([...argv, '--max-refused', '40%'], [...argv, ...both]);
});

golden('replay-many-callers', () => {
  const start = Date.UTC(2026, 9, 10, 12);
  // Caller n of 30 sends n requests at once, on three days.
  const requests = Array.from({ length: 30 }, (_, i) =>
    Array.from({ length: 3 * (i + 1) }, (_each, j) => ({
      at: start + (j % 3) * 86_400_000,
      address: `192.0.2.${i + 1}`,
    })),
  ).flat();
  write(
    'access.log',
    logOf(
      'json',
      requests.toSorted((a, b) => a.at - b.at),
    ),
  );
  return session(['replay', 'access.log', '--limit', '10/1m burst 5', '--show']);
});

golden('suggest', () => {
  accessLog();
  return onThePage(['suggest', 'access.log', '--disturb', '20%']);
});

golden('suggest-json', () => {
  accessLog();
  return session(['suggest', 'access.log', '--rates', '10,60', '--json']);
});

golden('suggest-some-callers', () => {
  accessLog();
  const argv = ['suggest', 'access.log', '--rates', '100', '--max-callers', '3'];
  return session([...argv, '--disturb', '7%', '--period', '90s']);
});

/** What `suggest` says to run reads the same requests, callers and costs as it did. */
golden('suggest-then-replay', async () => {
  const lines = Array.from({ length: 12 }, (_, i) =>
    JSON.stringify({ at: `2026-10-10 12:00:0${i % 10}`, who: `c${i % 3}`, tokens: 5 * (i % 4) }),
  );
  write('the app.jsonl', `${lines.join('\n')}\n`);
  const fields = ['time=at', 'key=who', 'cost=tokens'].flatMap((field) => ['--field', field]);
  const zone = ['--time-zone', 'Europe/Berlin', '--reorder', '10s', '--format', 'json'];
  const suggested = await session(['suggest', 'the app.jsonl', ...fields, ...zone]);
  const hint = /npx distributed-rate-limiter (replay .*)/.exec(suggested)![1]!;
  const words = [...hint.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
  const replayed = await session(words);
  expect(replayed).toContain('12 requests of 3 callers');
  expect(replayed).toContain('0 (0 %)');
  return `${suggested}\n${replayed}`;
});

golden('simulate', () => onThePage(['simulate', ...STEADY, ...BURSTS, '--limit', '60/1m']));

golden('simulate-two-policies', () => {
  const limits = ['--limit', '60/1m', '--limit', '60/1m fixed'];
  const options = ['--for', '1m', '--processes', '3', '--deny-cache', '250ms'];
  return session(['simulate', ...BURSTS, ...limits, ...options]);
});

golden('simulate-json', () =>
  session(['simulate', ...BURSTS, '--limit', '60/1m', '--for', '1m', '--json']),
);

golden('simulate-prepay', () => {
  const busy = ['--traffic', '1 caller poisson 1500/1s', '--limit', '1000/1s'];
  return onThePage(['simulate', ...busy, '--processes', '4', '--for', '5s', '--prepay']);
});

golden('simulate-prepay-impossible', () => {
  const argv = ['simulate', ...BURSTS, '--limit', '60/1m log', '--prepay'];
  return session(argv);
});

golden('interrupted', async () => {
  accessLog();
  const argv = ['replay', 'access.log', ...LIMIT];
  const ran = await run(argv, { signal: AbortSignal.abort() });
  return `${shown(argv)}${outcome(ran)}`;
});
