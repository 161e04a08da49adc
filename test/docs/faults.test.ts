import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (file: string): string =>
  readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');

test('each numbered fault on the page names a test that exists', () => {
  const rows = [...read('docs/faults.md').matchAll(/^\| (\d+) \|.*\| `(test\/[^`]+)`: (.+) \|$/gm)];
  expect(rows.map(([, number]) => Number(number))).toEqual(
    Array.from({ length: 22 }, (_, i) => i + 1),
  );
  for (const [, , file = '', words = ''] of rows) expect(read(file)).toContain(words);
});
