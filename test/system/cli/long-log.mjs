/** Pipes a log that is made on the fly into a command of the built package, and measures the command. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {object} Measured
 * @property {number | null} exitCode
 * @property {number} seconds from the start of the process to its end
 * @property {number} peakMib the most memory that the process had: its resident set
 * @property {string} stdout
 * @property {string} stderr
 */

/**
 * @param {readonly string[]} argv the command line; the log is its stdin
 * @param {{ lines: number, callers: number, heapMib: number }} log `heapMib`: a process that needs more dies
 * @returns {Promise<Measured>}
 */
export async function measureLongLog(argv, { lines, callers, heapMib }) {
  const env = { ...process.env, NODE_OPTIONS: '' };
  const maker = spawn(
    process.execPath,
    [fileURLToPath(new URL('made-log.mjs', import.meta.url)), String(lines), String(callers)],
    {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const startedAt = performance.now();
  const reader = spawn(
    process.execPath,
    [
      `--max-old-space-size=${heapMib}`,
      '--import',
      new URL('report-memory.mjs', import.meta.url).href,
      fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url)),
      ...argv,
    ],
    { env, stdio: [/** @type {any} */ (maker.stdout), 'pipe', 'pipe', 'pipe'] },
  );
  // The reader has the pipe; a second reader would take lines away.
  maker.stdout.destroy();
  const [peak, stdout, stderr] = await Promise.all(
    [reader.stdio[3], reader.stdout, reader.stderr].map((stream) =>
      text(/** @type {import('node:stream').Readable} */ (stream)),
    ),
  );
  if (reader.exitCode === null && reader.signalCode === null) {
    await once(reader, 'exit');
  }
  return {
    exitCode: reader.exitCode,
    seconds: (performance.now() - startedAt) / 1_000,
    peakMib: Number(peak) / 1_024,
    stdout: stdout ?? '',
    stderr: stderr ?? '',
  };
}
