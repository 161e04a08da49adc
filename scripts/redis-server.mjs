/**
 * The tests and the demo start their own Redis servers on free ports, and need only the program `redis-server`. Imports
 * only Node modules.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { pathToFileURL } from 'node:url';

/** Package managers in order of preference: a Linux machine with brew still uses its own packages first. */
const installers = [
  {
    program: 'apt-get',
    commands: ['apt-get update', 'apt-get install -y --no-install-recommends redis-server'],
  },
  { program: 'apk', commands: ['apk add redis'] },
  { program: 'dnf', commands: ['dnf install -y redis'] },
  { program: 'brew', commands: ['brew install redis'] },
];

/** Returns when `redis-server` can be run; otherwise explains what to do and ends the process. */
export function ensureRedisServer() {
  if (runs('redis-server')) return;
  const installer = installers.find(({ program }) => runs(program));
  if (installer === undefined) {
    fail('Install Redis so that `redis-server` is on the PATH.');
  }
  const prefix = privilege(installer.program);
  if (prefix === undefined) {
    const sudo = installer.program === 'brew' ? '' : 'sudo ';
    const advice = installer.commands.map((command) => `\n  ${sudo}${command}`);
    fail(`Install it, then run this again:${advice.join('')}`);
  }
  const commands = installer.commands.map((command) => `${prefix}${command}`);
  console.log(
    `redis-server is needed and missing here. Installing it:\n  ${commands.join('\n  ')}`,
  );
  for (const command of commands) {
    const [program = '', ...args] = command.split(' ');
    const { status } = spawnSync(program, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    if (status !== 0) fail(`\`${command}\` failed; its message above says why.`);
  }
  if (!runs('redis-server')) fail('It was installed, but `redis-server` is not on the PATH.');
}

/**
 * Installs only as root or in CI. Otherwise it prints the command and changes nothing.
 *
 * @param {string} program
 * @returns {string | undefined} what to put before the command; undefined: not allowed
 */
function privilege(program) {
  const ci =
    process.env['CI'] !== undefined && process.env['CI'] !== '' && process.env['CI'] !== 'false';
  const isRoot = process.getuid?.() === 0;
  // Homebrew refuses to run as root.
  if (program === 'brew') return ci && !isRoot ? '' : undefined;
  if (isRoot) return '';
  return ci && runs('sudo') ? 'sudo -n ' : undefined;
}

/** @param {string} program */
function runs(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
}

/**
 * @param {string} cure
 * @returns {never}
 */
function fail(cure) {
  console.error(`The program redis-server is needed and missing here. ${cure}`);
  process.exit(1);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) ensureRedisServer();
