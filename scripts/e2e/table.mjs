import { WAYS } from './cells.mjs';

/**
 * The table of docs/where-does-it-run.md.
 *
 * @param {readonly { readonly name: string, readonly cells: readonly boolean[] }[]} rows
 */
export function tableOf(rows) {
  return [
    line(['', ...WAYS]),
    `|${'---|'.repeat(WAYS.length + 1)}`,
    ...rows.map(({ name, cells }) => line([name, ...cells.map((ok) => (ok ? 'yes' : '**no**'))])),
  ].join('\n');
}

/** @param {readonly string[]} cells */
function line(cells) {
  return `| ${cells.join(' | ')} |`;
}
