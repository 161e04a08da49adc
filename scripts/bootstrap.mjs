/**
 * Makes a fresh clone runnable: installs the locked packages when they are missing or stale. Imports only Node modules,
 * because it runs before any package exists.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The repository's folder. */
export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/**
 * Returns at once when node_modules matches package-lock.json; otherwise says so and runs `npm ci`. Ends the process
 * when that fails, because nothing later could work.
 */
export function ensurePackages() {
  requireNode();
  if (packagesAreCurrent(root)) return;
  console.log(
    'Installing the locked packages (npm ci), needed once per change of package-lock.json ...',
  );
  // NODE_ENV=production would leave out the development tools. No package here needs an install script.
  const args = ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
  const status = runNpm(args);
  if (status !== 0) {
    console.error(`\`npm ${args.join(' ')}\` failed; its message above says why.`);
    process.exit(1);
  }
}

/**
 * Installs the locked packages of a folder with its own package.json, which only some scripts or tests need.
 *
 * @param {string} folder
 * @param {string} what is in it, as it is announced
 */
export function ensurePackagesOf(folder, what) {
  if (packagesAreCurrent(folder)) return;
  const shown = path.relative(root, folder);
  console.log(`Installing ${what} (npm ci --prefix ${shown}) ...`);
  const status = runNpm([
    'ci',
    '--prefix',
    folder,
    '--prefer-offline',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
  ]);
  if (status !== 0) {
    throw new Error(`\`npm ci --prefix ${shown}\` failed; its message above says why`);
  }
}

/**
 * npm writes node_modules/.package-lock.json last. Comparing it detects an install that was interrupted or made by
 * hand.
 *
 * @param {string} folder
 */
function packagesAreCurrent(folder) {
  const wanted = readPackages(path.join(folder, 'package-lock.json'));
  const present = readPackages(path.join(folder, 'node_modules', '.package-lock.json'));
  if (wanted === undefined || present === undefined) return false;
  const names = Object.keys(wanted).filter((name) => name !== '');
  return (
    names.every((name) => sameOrOptional(wanted[name], present[name])) &&
    Object.keys(present).every((name) => name in wanted)
  );
}

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean }} LockedPackage
 * @param {string} file
 * @returns {Record<string, LockedPackage> | undefined}
 */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/**
 * Optional packages are the binaries of other platforms, which npm leaves out.
 *
 * @param {LockedPackage | undefined} wanted
 * @param {LockedPackage | undefined} present
 */
function sameOrOptional(wanted, present) {
  if (present === undefined) return wanted?.optional === true;
  return wanted?.version === present.version && wanted?.integrity === present.integrity;
}

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  console.error(`Node ${process.versions.node} is too old: version 20.19 or later is needed.`);
  process.exit(1);
}

/**
 * @param {readonly string[]} args
 * @returns {number} the exit code
 */
export function runNpm(args) {
  const cli = process.env['npm_execpath'];
  // Under another package manager npm_execpath names that manager, which does not read package-lock.json.
  const [command, prefix] =
    cli !== undefined && path.basename(cli) === 'npm-cli.js'
      ? [process.execPath, [cli]]
      : ['npm', []];
  const { status, error } = spawnSync(command, [...prefix, ...args], {
    cwd: root,
    stdio: 'inherit',
    shell: command === 'npm' && process.platform === 'win32',
  });
  if (error !== undefined) console.error(error.message);
  return status ?? 1;
}
