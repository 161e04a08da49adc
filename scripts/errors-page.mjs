/** The tables of docs/errors.md, from scripts/error-codes.mjs. With `--check` it only says whether they are up to date. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { root } from './bootstrap.mjs';
import { errors, warnings } from './error-codes.mjs';

const PAGE = path.join(root, 'docs/errors.md');

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
function table(head, rows) {
  const rule = `|${'---|'.repeat(head.length)}`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** @param {readonly string[]} cells */
function line(cells) {
  return `| ${cells.join(' | ')} |`;
}

const tables = {
  errors: table(
    ['code', 'thrown or rejected by', 'what it means', 'what to do'],
    Object.entries(errors).map(([code, { from, meaning, cure }]) => [
      `\`${code}\``,
      from,
      meaning,
      cure,
    ]),
  ),
  warnings: table(
    ['code', 'what it means', 'what to do'],
    Object.entries(warnings).map(([code, { meaning, cure }]) => [`\`${code}\``, meaning, cure]),
  ),
};

/**
 * @param {string} page
 * @returns {string} the page with the tables as they must be
 */
export function withTables(page) {
  return Object.entries(tables).reduce((text, [name, rows]) => {
    const [start, end] = [`<!-- table: ${name} -->`, '<!-- end -->'];
    const from = text.indexOf(start);
    const to = text.indexOf(end, from);
    if (from === -1 || to === -1) throw new Error(`docs/errors.md has no ${start} … ${end}`);
    return `${text.slice(0, from)}${start}\n${rows}\n${text.slice(to)}`;
  }, page);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const page = readFileSync(PAGE, 'utf8');
  const next = withTables(page);
  if (!process.argv.includes('--check')) {
    writeFileSync(PAGE, next);
  } else if (next !== page) {
    console.error('docs/errors.md is stale: run `npm run generate` and commit the result.');
    process.exitCode = 1;
  }
}
