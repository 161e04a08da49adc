/**
 * Runs tests, on a machine with only Node and npm. `npm run test:unit`, `npm test` and `npm run test:all` are levels.
 * `npm test -- test/unit/http` runs the named files, in every group. All arguments go to vitest: `npm test -- -t
 * refund` runs the level's tests with that word in their names.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { ensurePackages, root } from './bootstrap.mjs';
import { vitestArguments } from './test-arguments.mjs';

const { args, share } = vitestArguments(process.argv.slice(2));
process.env['DRL_SHARE'] ??= share;
ensurePackages();
const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', ...args], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
