// @ts-check
import { fileURLToPath } from 'node:url';
import { ensurePackagesOf } from '../scripts/bootstrap.mjs';

/** Installs the libraries that are compared with, when they are missing or not the locked ones. */
export function ensurePeers() {
  ensurePackagesOf(fileURLToPath(new URL('.', import.meta.url)), 'the libraries to compare with');
}
