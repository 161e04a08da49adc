// @ts-check
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensurePackagesOf } from '../../../scripts/bootstrap.mjs';

/** Installs the client libraries of this folder, if they are missing or not at the locked versions. */
export function ensureClients() {
  ensurePackagesOf(fileURLToPath(new URL('.', import.meta.url)), 'the client libraries to test');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) ensureClients();
