// @ts-check
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runNpm } from '../scripts/bootstrap.mjs';

const folder = fileURLToPath(new URL('.', import.meta.url));

/** Installs the libraries that are compared with, when they are missing or not the locked ones. */
export function ensurePeers() {
  const wanted = readPackages('package-lock.json');
  const present = readPackages('node_modules/.package-lock.json');
  const current = Object.entries(wanted).every(
    ([name, { version }]) => name === '' || present[name]?.version === version,
  );
  if (current) return;
  console.log('Installing the libraries to compare with (npm ci --prefix bench) ...');
  const status = runNpm(['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund']);
  if (status !== 0) throw new Error('`npm ci --prefix bench` failed; its message above says why');
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string }>}
 */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8')).packages;
  } catch {
    return {};
  }
}
