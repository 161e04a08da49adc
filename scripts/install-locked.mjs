import { readFileSync } from 'node:fs';
import path from 'node:path';
import { runNpm } from './bootstrap.mjs';

/**
 * Installs what a folder's own package-lock.json says, when it is missing or another version: packages that are needed
 * for one purpose, or that cannot stand in one tree with the repository's.
 *
 * @param {string} folder
 */
export function installLocked(folder) {
  const wanted = readPackages(path.join(folder, 'package-lock.json')) ?? {};
  const present = readPackages(path.join(folder, 'node_modules/.package-lock.json'));
  const current =
    present !== undefined &&
    Object.entries(wanted).every(
      ([name, { version, optional }]) =>
        name === '' || present[name]?.version === version || (optional && !(name in present)),
    );
  if (current) return;
  console.log(`Installing the packages of ${path.basename(folder)} (npm ci) ...`);
  // A locked version never changes, so what the cache knows of it needs no asking.
  const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'];
  const status = runNpm(['ci', '--prefix', folder, ...flags]);
  if (status !== 0) {
    throw new Error(
      `\`npm ci --prefix ${path.basename(folder)}\` failed; its message above says why`,
    );
  }
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean }> | undefined} undefined where there is none
 */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
