import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { measureLongLog } from './long-log.mjs';

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-cli-'));
const LINES = 200_000;
const log = path.join(folder, 'access.log');

beforeAll(async () => {
  const out = createWriteStream(log);
  const start = Date.UTC(2026, 9, 10);
  for (let i = 0; i < LINES; i++) {
    const time = new Date(start + i * 20).toISOString();
    // 501 callers, of whom the first sends half of all requests.
    const caller = i % 2 === 0 ? 0 : (i * 7_919) % 1_000;
    if (!out.write(`{"time":"${time}","ip":"10.0.${caller >> 8}.${caller & 255}"}\n`)) {
      await once(out, 'drain');
    }
  }
  out.end();
  await once(out, 'close');
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function sh(command: string, env: Readonly<Record<string, string>> = {}) {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', `set -o pipefail; ${command}`], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', drl: `${process.execPath} ${main}`, ...env },
  });
  return { status, stdout, stderr };
}

describe('the command', () => {
  test('prints its result to a pipe, without colours and progress', () => {
    const { status, stdout, stderr } = sh("$drl replay access.log --limit '60/1m'");
    expect(status).toBe(0);
    expect(stdout).toContain('200,000 requests of 501 callers');
    expect(`${stdout}${stderr}`).not.toContain('\u001B');
    expect(`${stdout}${stderr}`).not.toContain('\r');
  });

  test('ends quietly when the reader of its pipe has gone', () => {
    const { status, stdout, stderr } = sh("$drl replay access.log -q --limit '60/1m' | head -1");
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.split('\n')).toHaveLength(2);
    const { stderr: none } = sh(
      "$drl replay --help | true; $drl replay access.log -q --limit '60/1m' --json | true",
    );
    expect(none).toBe('');
  });

  test('says how to name a module that Node takes for CommonJS', () => {
    const { status, stdout, stderr } = sh(
      'echo \'export default { rate: 60, period: "1m" }\' > limits.js; $drl replay access.log --limits limits.js',
    );
    // From Node 22.7 on it is found out.
    if (status === 0) {
      expect(stdout).toContain('200,000 requests');
    } else {
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toContain('Name it limits.mjs, or set "type": "module" in package.json.');
    }
  });

  test('ends with 130 at Ctrl-C, and says so', async () => {
    const child = spawn(process.execPath, [main, 'replay', '-', '--limit', '60/1m'], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const printed = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => (printed.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (printed.stderr += text));
    const line = '{"time":1791590400,"ip":"192.0.2.1"}\n';
    child.stdin.on('error', () => {}).write(line.repeat(200));
    while (!printed.stderr.includes('looks like json')) {
      await once(child.stderr, 'data');
    }
    child.kill('SIGINT');
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, stdout: printed.stdout }).toEqual({ code: 130, stdout: '' });
    expect(printed.stderr).toContain('Interrupted.');
    expect(printed.stderr).not.toContain('    at ');
  });

  test('simulates until Ctrl-C, which ends it with 130', async () => {
    const traffic = ['--traffic', '9 callers steady 9/1s', '--limit', '1/1m', '--for', '300d'];
    const child = spawn(process.execPath, [main, 'simulate', ...traffic], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const printed = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text) => (printed.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (printed.stderr += text));
    // It prints nothing before its end; by then it has begun, or Node's own handler ends it by the signal.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    child.kill('SIGINT');
    const ended = (await once(child, 'close')) as [number | null, string | null];
    expect(ended).toEqual([130, null]);
    expect(printed).toEqual({ stdout: '', stderr: 'distributed-rate-limiter: Interrupted.\n' });
  });

  test.runIf(existsSync('/usr/bin/script'))('shows progress and colours on a terminal', () => {
    const run = (env: Readonly<Record<string, string>>): string =>
      sh(`script -qec "$drl replay access.log --limit 60/1m" /dev/null < /dev/null`, {
        TERM: 'xterm-256color',
        ...env,
      }).stdout;
    const shown = run({}).replaceAll('\u001B', 'ESC');
    expect(shown).toMatch(/\rESC\[2K\d+ %, [\d,]+ lines, [\d,]+ a second/);
    expect(shown).toContain('ESC[32m');
    // Progress is no colour.
    expect(run({ NO_COLOR: '1' })).not.toContain('\u001B[3');
  });

  test.each([
    ['suggest', []],
    ['replay', ['--limit', '60/1m']],
  ])('%s reads a long log in memory that does not grow with its lines', async (name, options) => {
    // A command that kept the 43 MB of the log would die; `npm run bench:logs` tries ten million lines.
    const made = { lines: 300_000, callers: 10_000, heapMib: 40 };
    const argv = [name, '-', '-q', ...options];
    const { exitCode, stdout, stderr, seconds, peakMib } = await measureLongLog(argv, made);
    console.log(`${name}: ${seconds.toFixed(1)} s, ${peakMib.toFixed(0)} MiB at most`);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toMatch(/^300,000 requests of 10,000 callers/);
    expect(peakMib).toBeGreaterThan(30);
  });
});
