import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { errors, warnings } from '../../scripts/error-codes.mjs';
import { withTables } from '../../scripts/errors-page.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(path.join(root, 'docs/errors.md'), 'utf8');

/** The quoted codes in the source: codes of errors and warnings, and codes compared. */
function codesInSource(): Set<string> {
  const source = path.join(root, 'src');
  const texts = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(path.join(source, file), 'utf8'));
  return new Set(texts.flatMap((text) => text.match(/(?<=')(?:ERR|DRL)_[A-Z_]+(?=')/g) ?? []));
}

/** Codes of Node and of Bun, which the source compares. */
const OF_RUNTIMES = new Set(['ERR_MODULE_NOT_FOUND', 'ERR_REDIS_SERVER_ERROR']);

const codes = [...codesInSource()].filter((code) => !OF_RUNTIMES.has(code)).toSorted();

test('the table of errors and warnings has every code of the source, and no other', () => {
  expect(codes.length).toBeGreaterThan(25);
  expect(Object.keys({ ...errors, ...warnings }).toSorted()).toEqual(codes);
});

test('the page of errors and warnings has a row for every code, and for no other', () => {
  const rows = page.match(/(?<=^\| `)(?:ERR|DRL)_[A-Z_]+(?=` \|)/gm) ?? [];
  expect(rows.toSorted()).toEqual(codes);
});

test('the tables on the page of errors and warnings match those generated from the codes', () => {
  expect(withTables(page)).toBe(page);
});

test('every error and warning has a meaning and a cure in whole sentences', () => {
  const rows = Object.entries({ ...errors, ...warnings });
  const unfinished = rows.filter(
    ([, row]) => !row.meaning.endsWith('.') || !row.cure.endsWith('.'),
  );
  expect(unfinished).toEqual([]);
});
