// @ts-check
import { fileURLToPath } from 'node:url';
import { installLocked } from '../scripts/install-locked.mjs';

/** Installs the libraries that are compared with, when they are missing or not the locked ones. */
export function ensurePeers() {
  installLocked(fileURLToPath(new URL('.', import.meta.url)));
}
