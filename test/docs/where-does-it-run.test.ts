import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ROWS } from '../../scripts/e2e/cells.mjs';
import { tableOf, withTable } from '../../scripts/e2e/table.mjs';

const page = readFileSync(new URL('../../docs/where-does-it-run.md', import.meta.url), 'utf8');

test('the page has the table that `npm run e2e` writes when every cell passes', () => {
  expect(page).toContain(`\n\n${tableOf(ROWS, () => true)}\n\n`);
});

test('a cell that fails says no, and one that the runtime lacks says by which error', () => {
  const rows = [{ name: 'a runtime', refused: ['URL'] }] as const;
  expect(tableOf(rows, (_name, way) => way !== 'REST')).toContain(
    '| a runtime | `ERR_RUNTIME_UNSUPPORTED` | yes | **no** | yes |',
  );
});

test('`npm run e2e` replaces the table of the page and nothing else', () => {
  const other = withTable(page, 'another table');
  expect(other).toContain('\n\nanother table\n\n');
  expect(
    withTable(
      page,
      tableOf(ROWS, () => true),
    ),
  ).toBe(page);
  expect(
    other.replace(
      'another table',
      tableOf(ROWS, () => true),
    ),
  ).toBe(page);
});
