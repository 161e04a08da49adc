import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const sources = fileURLToPath(new URL('../../src', import.meta.url));

/** A plausible mistake in one file of `src`: the text that it replaces, which must be there once. */
export interface Mutant {
  readonly file: string;
  readonly replaces: string;
  readonly by: string;
}

/** The text of a mutant's file, with the mistake. */
export function mutated({ file, replaces, by }: Mutant): string {
  const text = readFileSync(path.join(sources, file), 'utf8');
  if (text.split(replaces).length !== 2) {
    throw new Error(`not found once in ${file}: ${replaces}`);
  }
  return text.replace(replaces, () => by);
}

/** A copy of the sources with one mistake. */
export function copyOf(mutant: Mutant): { folder: string; remove: () => void } {
  const text = mutated(mutant);
  const folder = mkdtempSync(path.join(path.dirname(sources), 'node_modules', '.mutant-'));
  cpSync(sources, folder, { recursive: true });
  writeFileSync(path.join(folder, mutant.file), text);
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
