import { WAYS, UNSUPPORTED } from './rows.mjs';

/**
 * The table of docs/where-does-it-run.md.
 *
 * @param {readonly { readonly name: string, readonly refused?: readonly import('./rows.mjs').Way[] }[]} rows
 * @param {(name: string, way: import('./rows.mjs').Way) => boolean} passed whether a cell was as expected
 */
export function tableOf(rows, passed) {
  return [
    line(['', ...WAYS]),
    `|${'---|'.repeat(WAYS.length + 1)}`,
    ...rows.map(({ name, refused = [] }) =>
      line([
        name,
        ...WAYS.map((way) => {
          if (!passed(name, way)) return '**no**';
          return refused.includes(way) ? `\`${UNSUPPORTED}\`` : 'yes';
        }),
      ]),
    ),
  ].join('\n');
}

/**
 * The page with this table in place of its own.
 *
 * @param {string} page
 * @param {string} table
 */
export function withTable(page, table) {
  const own = new RegExp(`^\\|  \\| ${WAYS.join(' \\| ')} \\|\\n(?:\\|.*\\n)+`, 'm');
  return page.replace(own, () => `${table}\n`);
}

/** @param {readonly string[]} cells */
function line(cells) {
  return `| ${cells.join(' | ')} |`;
}
