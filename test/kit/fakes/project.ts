import { mkdirSync, mkdtempSync, realpathSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ours = fileURLToPath(new URL('../../../node_modules/', import.meta.url));

/** An empty folder for a user's project, by its real path, because module resolution follows links. */
export function newProject(name: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), `distributed-rate-limiter-${name}-`));
  return realpathSync(folder);
}

/** Links libraries of this repository into the project. `places`: folders of other libraries, by name. */
export function linkLibraries(
  project: string,
  libraries: readonly string[],
  places: Readonly<Record<string, string>> = {},
): void {
  for (const library of libraries) {
    const link = path.join(project, 'node_modules', library);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(places[library] ?? path.join(ours, library), link);
  }
}
