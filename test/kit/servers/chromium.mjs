// @ts-check
import { spawnSync } from 'node:child_process';
import process from 'node:process';

/** Names of Chromium's program on different systems. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

const INSTALL = [
  'apt-get -o DPkg::Lock::Timeout=300 update',
  'apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium',
];

/**
 * Finds a Chromium for tests in a real browser: `$CHROMIUM`, or a program on the PATH. Otherwise it installs Debian's
 * package, but only as root or in CI, and announces that first.
 *
 * @returns {string} a program that can be run
 * @throws with advice where none can be had
 * @example
 * const browser = await chromium.launch({ executablePath: ensureChromium() });
 */
export function ensureChromium() {
  const asked = process.env['CHROMIUM'];
  if (asked !== undefined && asked !== '') return asked;
  const present = NAMES.find(runs);
  if (present !== undefined) return pathOf(present);

  const prefix = privilege();
  if (prefix === undefined || !runs('apt-get')) {
    throw new Error(
      'A Chromium is needed and missing here. Install one (`sudo apt-get install chromium`), or name it in CHROMIUM.',
    );
  }
  const commands = INSTALL.map((command) => `${prefix}${command}`);
  console.log(`chromium is needed and missing here. Installing it:\n  ${commands.join('\n  ')}`);
  for (const command of commands) {
    const [program = '', ...args] = command.split(' ');
    const { status } = spawnSync(program, args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    if (status !== 0) throw new Error(`\`${command}\` failed; its message above says why.`);
  }
  return pathOf('chromium');
}

/** @returns {string | undefined} what to put before a command; undefined: not allowed */
function privilege() {
  if (process.getuid?.() === 0) return '';
  const ci = process.env['CI'];
  return ci !== undefined && ci !== '' && ci !== 'false' && runs('sudo') ? 'sudo -n ' : undefined;
}

/** @param {string} program */
function runs(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
}

/** Playwright needs the browser's path, not its name. @param {string} program */
function pathOf(program) {
  const { stdout } = spawnSync('/bin/sh', ['-c', 'command -v "$1"', 'sh', program], {
    encoding: 'utf8',
  });
  return stdout.trim();
}
