import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const source = fileURLToPath(new URL('../../scripts/bootstrap.mjs', import.meta.url));

/** A clone with a fake npm, which only records its arguments. */
let clone = '';
beforeEach(() => {
  clone = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-clone-'));
  mkdirSync(path.join(clone, 'scripts'));
  copyFileSync(source, path.join(clone, 'scripts/bootstrap.mjs'));
  writeFileSync(
    path.join(clone, 'npm-cli.js'),
    "console.log('npm', process.argv.slice(2).join(' '));",
  );
});
afterEach(() => {
  rmSync(clone, { recursive: true, force: true });
});

type Packages = Readonly<Record<string, object>>;
const locked: Packages = {
  '': { name: 'the clone itself' },
  'node_modules/tool': { version: '1.0.0', integrity: 'sha512-a' },
  'node_modules/tool-for-another-platform': { version: '1.0.0', optional: true },
};
const tool = { version: '1.0.0', integrity: 'sha512-a' };

function bootstrap(installed: Packages | undefined) {
  writeFileSync(path.join(clone, 'package-lock.json'), JSON.stringify({ packages: locked }));
  if (installed !== undefined) {
    mkdirSync(path.join(clone, 'node_modules'));
    const packages = JSON.stringify({ packages: installed });
    writeFileSync(path.join(clone, 'node_modules/.package-lock.json'), packages);
  }
  return spawnSync(
    process.execPath,
    ['-e', "import('./scripts/bootstrap.mjs').then((it) => it.ensurePackages())"],
    {
      cwd: clone,
      encoding: 'utf8',
      env: { ...process.env, npm_execpath: path.join(clone, 'npm-cli.js') },
    },
  );
}

test('bootstrap does and prints nothing when the locked packages are installed', () => {
  expect(bootstrap({ 'node_modules/tool': tool })).toMatchObject({
    status: 0,
    stdout: '',
    stderr: '',
  });
});

test.each<[string, Packages | undefined]>([
  ['nothing is installed', undefined],
  ['a package is missing', {}],
  ['a version differs', { 'node_modules/tool': { ...tool, version: '0.9.0' } }],
  ['a hash differs', { 'node_modules/tool': { ...tool, integrity: 'sha512-b' } }],
  ['a package is no longer locked', { 'node_modules/tool': tool, 'node_modules/old': tool }],
])('announces and runs `npm ci` when %s', (_when, installed) => {
  const { status, stdout } = bootstrap(installed);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Installing the locked packages .*\nnpm ci --include=dev/);
});

test('bootstrap exits with the reason when an install fails', () => {
  writeFileSync(path.join(clone, 'npm-cli.js'), 'process.exit(7);');
  const { status, stderr } = bootstrap(undefined);
  expect(status).toBe(1);
  expect(stderr).toContain('`npm ci --include=dev');
});
