import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const rows = readFileSync(`${root}/SECURITY.md`, 'utf8')
  .split('\n')
  .flatMap((line) => /^\| (\d+) \| (.+) \| (.+) \| (.+) \|$/.exec(line) ?? []);
const table = Array.from({ length: rows.length / 5 }, (_, i) => rows.slice(5 * i + 1, 5 * i + 5));

test('each of the 25 issues names an existing test, or a reason for having none', () => {
  expect(table.map(([number]) => Number(number))).toEqual(
    Array.from({ length: 25 }, (_, i) => i + 1),
  );
  const unproven: string[] = [];
  for (const [number = '', , , shown = ''] of table) {
    const files = [...shown.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => file);
    for (const file of files) {
      expect(existsSync(`${root}/${file}`), `${file} of issue ${number}`).toBe(true);
    }
    if (files.length === 0) unproven.push(number);
  }
  // Advice to operators, and code that is not in the repository.
  expect(unproven).toEqual(['11', '23']);
});
