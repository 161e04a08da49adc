/**
 * `npm run compat -- v0.1.0` tests that version beside this one on one Redis. Takes any revisions, tested in turn. The
 * default is the newest release before this checkout.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

ensurePackages();
ensureRedisServer();
await build();

const given = process.argv.slice(2);
const revisions = given.length === 0 ? [process.env['DRL_BEFORE'] ?? ''] : given;
const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
const failed = revisions.filter((revision) => {
  const { status } = spawnSync(
    process.execPath,
    [vitest, 'run', 'test/compatibility', '--disable-console-intercept=true', '--reporter=verbose'],
    { cwd: root, env: { ...process.env, DRL_BEFORE: revision }, stdio: 'inherit' },
  );
  return status !== 0;
});
if (failed.length > 0)
  console.error(`Failed beside ${failed.map((each) => each || 'the last release').join(', ')}.`);
process.exitCode = failed.length === 0 ? 0 : 1;
