/**
 * `npm run bench -- <name> [options]` runs the benchmark of that name in bench/. Without a name it compares decisions
 * per second with other limiters (bench/run.mjs).
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { root } from './bootstrap.mjs';

const NAMES = [
  'script',
  'newer',
  'ways',
  'bounds',
  'node',
  'http',
  'scale',
  'distance',
  'telemetry',
];

const [first = '', ...rest] = process.argv.slice(2);
const isNamed = NAMES.includes(first);
if (!isNamed && first !== '' && !first.startsWith('-')) {
  console.error(
    `No benchmark is called ${first}; there are ${NAMES.join(', ')}, and one without a name.`,
  );
  process.exit(1);
}
const [file, args] = isNamed ? [first, rest] : ['run', process.argv.slice(2)];
const { status } = spawnSync(process.execPath, [path.join(root, 'bench', `${file}.mjs`), ...args], {
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
