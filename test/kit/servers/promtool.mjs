// @ts-check
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** @typedef {'promtool' | 'prometheus'} Program */

/**
 * The path of a Prometheus program: from the PATH, or else from Debian's package, unpacked into a cache of this user.
 * Installs nothing and starts no service. Throws with advice if neither is possible.
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

// Without the option apt warns root that its own user `_apt` cannot write here.
const DOWNLOAD = ['-o', 'APT::Sandbox::User=root', 'download', 'prometheus'];

/** @param {string} folder */
function unpack(folder) {
  const parent = join(folder, '../..');
  mkdirSync(parent, { recursive: true });
  // Unpacked beside its final path, so that one rename makes the complete folder visible.
  const fresh = mkdtempSync(join(parent, 'unpacking-'));
  try {
    console.log('promtool is needed and missing here. Unpacking the Debian package prometheus.');
    if (!runs('apt-get', DOWNLOAD, fresh)) {
      // apt's package lists may be missing or stale. Only root may update them; other users get an error that changes
      // nothing.
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
      // Another test renamed its copy first.
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
