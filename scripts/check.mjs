/** All checks but the tests, fastest to fail first. `npm run check`, or some by name: `npm run check -- lint knip`. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, root } from './bootstrap.mjs';

/** @typedef {{ name: string, ok: boolean }} CheckResult */

/** @type {readonly { name: string, command: string }[]} */
const checks = [
  { name: 'format', command: 'oxfmt --check' },
  { name: 'lint', command: 'oxlint' },
  { name: 'typecheck', command: 'tsc -p tsconfig.json' },
  { name: 'typecheck-page', command: 'tsc -p demo/page' },
  { name: 'lua', command: 'node scripts/build-lua.mjs --check' },
  { name: 'ops', command: 'node scripts/dashboard.mjs --check' },
  { name: 'errors', command: 'node scripts/errors-page.mjs --check' },
  { name: 'build', command: 'node scripts/build.mjs' },
  { name: 'publint', command: 'publint --strict --pack npm' },
  { name: 'attw', command: 'attw --pack .' },
  { name: 'knip', command: 'knip --no-progress' },
  { name: 'size', command: 'size-limit' },
  { name: 'try', command: 'node scripts/try.mjs commonjs express fastify' },
  // Next.js and bundlers take minutes: `npm run e2e`.
  {
    name: 'e2e',
    command:
      'node scripts/e2e.mjs "Node.js 20" "Node.js 22" "Node.js 24" ts-jest miniflare edge-runtime Lambda',
  },
];

/**
 * Runs the named checks, or all of them, one after another, and prints the output of those that fail.
 * @param {readonly string[]} names
 * @returns {CheckResult[]}
 */
export function runChecks(names = []) {
  const unknown = names.filter((name) => !checks.some((check) => check.name === name));
  if (unknown.length > 0) {
    throw new Error(
      `No check is called ${unknown.join(', ')}; there are ${checks.map((c) => c.name).join(', ')}.`,
    );
  }
  return checks
    .filter(({ name }) => names.length === 0 || names.includes(name))
    .map(({ name, command }) => ({ name, ok: passes(name, command) }));
}

/**
 * @param {string} name
 * @param {string} command
 */
function passes(name, command) {
  const started = performance.now();
  const bin = path.join(root, 'node_modules', '.bin');
  const { status, stdout, stderr } = spawnSync(command, {
    cwd: root,
    shell: true,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${bin}${path.delimiter}${process.env['PATH']}` },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${status === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(10)} ${seconds.padStart(5)} s  ${command}`,
  );
  if (status !== 0) console.log(`${stdout}${stderr}`);
  return status === 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  ensurePackages();
  const failed = runChecks(process.argv.slice(2)).filter(({ ok }) => !ok);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
