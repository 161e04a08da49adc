// @ts-check
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** @typedef {'promtool' | 'prometheus'} Program */

/**
 * The path of a program of Prometheus: from the PATH, or else out of Debian's package, which is unpacked into a cache
 * of this user. Nothing is installed and no service is started. Throws with advice where neither is possible.
 *
 * @param {Program} program
 * @returns {string}
 * @example
 * const { status, stderr } = spawnSync(findPrometheus('promtool'), ['check', 'metrics'], { input: await register.metrics() });
 */
export function findPrometheus(program) {
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined) return program;
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const folder = join(cache, 'distributed-rate-limiter', 'prometheus');
  const unpacked = join(folder, 'usr/bin', program);
  if (!existsSync(unpacked)) unpack(folder);
  return unpacked;
}

// Without the option root is warned that apt's own user may not write here.
const DOWNLOAD = ['-o', 'APT::Sandbox::User=root', 'download', 'prometheus'];

/** @param {string} folder */
function unpack(folder) {
  const parent = join(folder, '../..');
  mkdirSync(parent, { recursive: true });
  // Beside its final place, so that one rename makes all of it visible, and only once it is complete.
  const fresh = mkdtempSync(join(parent, 'unpacking-'));
  try {
    console.log('promtool is needed and missing here. Unpacking the Debian package prometheus.');
    if (!runs('apt-get', DOWNLOAD, fresh)) {
      // The lists of packages may be missing or old. Only root may fetch them; for others it fails and changes nothing.
      runs('apt-get', ['update'], fresh);
      if (!runs('apt-get', DOWNLOAD, fresh)) {
        throw new Error(
          'promtool is needed and missing here, and apt-get cannot download the package prometheus. ' +
            'Install Prometheus so that `promtool` is on the PATH: `apt-get install prometheus`, `brew install prometheus`, `apk add prometheus`.',
        );
      }
    }
    const archive = readdirSync(fresh).find((name) => name.endsWith('.deb')) ?? '';
    const content = join(fresh, 'content');
    if (!runs('dpkg-deb', ['-x', archive, content], fresh)) {
      throw new Error(`dpkg-deb could not unpack ${archive}`);
    }
    try {
      renameSync(content, folder);
    } catch (error) {
      // Another test was faster.
      if (!existsSync(folder)) throw error;
    }
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 */
function runs(program, args, cwd) {
  return spawnSync(program, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}
