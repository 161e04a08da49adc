// @ts-check
import { fileURLToPath } from 'node:url';
import { ensurePackagesOf } from '../scripts/bootstrap.mjs';

/** Installs the compared libraries if they are missing or not at the locked versions. */
export function ensurePeers() {
  ensurePackagesOf(fileURLToPath(new URL('.', import.meta.url)), 'the libraries to compare with');
}
