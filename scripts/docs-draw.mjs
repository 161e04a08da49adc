/** `npm run docs:draw -- <name> [options]`: builds, then makes what a page shows: `limits`, `local`, `demo` or `error`. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';

/** @type {Readonly<Record<string, string>>} */
const FILES = {
  limits: 'draw-limits.mjs',
  local: 'draw-local.mjs',
  demo: 'draw-demo.mjs',
  error: 'window-error.mjs',
};

const [name = '', ...args] = process.argv.slice(2);
const file = FILES[name];
if (file === undefined) {
  console.error(`Name what to draw: ${Object.keys(FILES).join(', ')}.`);
  process.exit(1);
}
ensurePackages();
await build();
const { status } = spawnSync(process.execPath, [path.join(root, 'scripts', file), ...args], {
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
