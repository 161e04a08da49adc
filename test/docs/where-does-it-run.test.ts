import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ROWS, WAYS } from '../../scripts/e2e/cells.mjs';
import { tableOf } from '../../scripts/e2e/table.mjs';

const page = readFileSync(new URL('../../docs/where-does-it-run.md', import.meta.url), 'utf8');

test('the page has the table that `npm run e2e` prints when every cell passes', () => {
  const rows = ROWS.map(({ name }) => ({ name, cells: WAYS.map(() => true) }));
  expect(page).toContain(tableOf(rows));
  expect(tableOf([{ name: 'a runtime', cells: [true, false] }])).toContain(
    '| a runtime | yes | **no** |',
  );
});
