/**
 * `npm run test:node -- 22` runs the whole suite on another Node; `npm run test:node -- 22 test/limiter` runs part of
 * it. That Node comes from npm, see scripts/runtimes.mjs. Processes that the tests start run on it, too.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { ensurePackages, root } from './bootstrap.mjs';
import { installRuntime } from './runtimes.mjs';

const [major, ...files] = process.argv.slice(2);
const majors = readdirSync(path.join(root, 'test/installs')).flatMap((name) =>
  name.startsWith('node-') ? [name.slice('node-'.length)] : [],
);
if (major === undefined || !majors.includes(major)) {
  console.error(`Say which Node: one of ${majors.join(', ')}. Then, if you like, which tests.`);
  process.exit(1);
}

ensurePackages();
const node = installRuntime(`node-${major}`);
if (node === undefined) {
  console.error(`npm has no Node ${major} for this platform. Install it, then run \`npm test\`.`);
  process.exit(1);
}

// npm is a script that looks for `node` on the PATH.
const PATH = [path.dirname(node), process.env['PATH']].join(path.delimiter);
const { status } = spawnSync(node, [path.join(root, 'scripts/test.mjs'), '--all', ...files], {
  cwd: root,
  env: { ...process.env, PATH },
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
