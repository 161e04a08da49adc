/**
 * Runs tests, on a machine with nothing but Node and npm. `npm run test:unit`, `npm test` and `npm run test:all` are
 * levels; `npm test -- test/unit/http` runs the files named. All other arguments go to vitest.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { ensurePackages, root } from './bootstrap.mjs';

/** The groups of vitest.config.ts that each level runs; `all` is every group. */
const levels = { unit: ['unit'], default: ['unit', 'redis-server', 'docs'], all: [] };

const given = process.argv.slice(2);
const named = given.some((argument) => !argument.startsWith('-'));
const level =
  given.includes('--all') || named ? 'all' : given.includes('--unit') ? 'unit' : 'default';
const args = given.filter((argument) => argument !== '--all' && argument !== '--unit');
const groups = levels[level].map((group) => `--project=${group}`);

ensurePackages();
const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', ...groups, ...args], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
