import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../golden', import.meta.url));
const COMMAND = 'DRL_GOLDEN=write npm test -- .golden.test';
const WRITES = process.env['DRL_GOLDEN'] === 'write';

/** Declares a test whose text a golden file keeps. `make` may hold further assertions. */
export type GoldenTest = (name: string, make: () => string | Promise<string>) => void;

/**
 * The golden files in one folder below `test/golden`, all of one test file. A file that is missing, that differs, or
 * that no test names is a failure. `DRL_GOLDEN=write` writes and deletes the files instead.
 */
export function goldenFiles(folder: string): GoldenTest {
  if (WRITES && process.env['CI'] !== undefined) {
    throw new Error('DRL_GOLDEN=write would hide what has changed: leave it out in CI.');
  }
  const at = path.join(root, folder);
  // Known before the first test runs, whichever tests are chosen to run.
  const names = new Set<string>();
  test(`each file in test/golden/${folder} has its test`, () => {
    const files = existsSync(at) ? readdirSync(at) : [];
    const unused = files.filter((file) => !names.has(path.basename(file, '.txt')));
    if (WRITES) {
      unused.forEach((file) => rmSync(path.join(at, file)));
    } else {
      expect(unused, `delete these, or run ${COMMAND}`).toEqual([]);
    }
  });
  return (name, make) => {
    if (names.has(name)) {
      throw new Error(`two tests keep their text in ${folder}/${name}.txt`);
    }
    names.add(name);
    test(`${name} is as test/golden/${folder} has it`, async () => {
      const text = await make();
      const file = path.join(at, `${name}.txt`);
      if (WRITES) {
        mkdirSync(at, { recursive: true });
        writeFileSync(file, text);
        return;
      }
      const cure = `If the new text is right, run ${COMMAND} and commit the file`;
      expect(existsSync(file), `test/golden/${folder}/${name}.txt is missing. ${cure}`).toBe(true);
      expect(text, `test/golden/${folder}/${name}.txt differs. ${cure}`).toBe(
        readFileSync(file, 'utf8'),
      );
    });
  };
}
