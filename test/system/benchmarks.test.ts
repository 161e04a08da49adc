import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const bench = fileURLToPath(new URL('../../bench/', import.meta.url));

/** The least turns that print a whole table. The benchmark against peers installs them, so its own `--quick` shows it. */
const SHORTEST: readonly (readonly [file: string, args: readonly string[], shows: string])[] = [
  [
    'script',
    ['--rounds', '1', '--calls', '1', '--identities', '500'],
    '4 limits, an algorithm each',
  ],
  ['bounds', ['--rounds', '1', '--entries', '100'], 'full logs'],
  ['node', ['--rounds', '1', '--ms', '5'], 'settle a batch'],
  ['telemetry', ['--rounds', '1', '--ms', '20', '--no-build'], 'Prometheus'],
];

test.each(SHORTEST)(
  'bench/%s runs to its end and prints its table',
  async (file, args, shows) => {
    const { stdout } = await run(process.execPath, [`${bench}${file}.mjs`, ...args], {
      cwd: `${bench}..`,
    });
    expect(stdout).toContain(shows);
  },
  120_000,
);
