/** `npm test`, on a machine with nothing but Node and npm. Arguments go to vitest: `npm test -- test/foo.test.ts`. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { ensureClients } from '../test/installs/clients/install.mjs';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

ensurePackages();
ensureClients();
ensureRedisServer();
build();

const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
