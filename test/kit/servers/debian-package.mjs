// @ts-check
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

// Without the option apt warns root that its own user `_apt` cannot write here.
const DOWNLOAD = ['-o', 'APT::Sandbox::User=root', 'download'];

/**
 * Unpacks packages of this machine's Debian into one folder of this user's cache, if they are not there yet. Installs
 * nothing and starts no service.
 *
 * @param {string} name of the folder
 * @param {readonly string[]} packages
 * @param {string} otherwise what to do where that is not possible
 * @returns {string} the folder, with `usr/bin` and the like
 */
export function unpackDebian(name, packages, otherwise) {
  const cache = join(
    process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'),
    'distributed-rate-limiter',
  );
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  // Unpacked beside its final path, so that one rename makes the complete folder visible.
  const fresh = mkdtempSync(join(cache, 'unpacking-'));
  try {
    console.log(`${name} is needed and missing here. Unpacking Debian's ${packages.join(', ')}.`);
    if (!runs('apt-get', [...DOWNLOAD, ...packages], fresh)) {
      // apt's package lists may be missing or stale. Only root may update them; other users get an error that changes
      // nothing.
      runs('apt-get', ['update'], fresh);
      if (!runs('apt-get', [...DOWNLOAD, ...packages], fresh)) {
        throw new Error(
          `${name} is needed and missing here, and apt-get cannot download it. ${otherwise}`,
        );
      }
    }
    const content = join(fresh, 'content');
    for (const archive of readdirSync(fresh).filter((file) => file.endsWith('.deb'))) {
      if (!runs('dpkg-deb', ['-x', archive, content], fresh)) {
        throw new Error(`dpkg-deb could not unpack ${archive}`);
      }
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
  return folder;
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 */
function runs(program, args, cwd) {
  return spawnSync(program, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}
