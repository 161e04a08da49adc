// @ts-check
import { table } from './table.mjs';

/**
 * @param {import('../newer.mjs').Figures} figures
 */
export function newerTable({ versions, rows }) {
  return table(
    ['µs of the main thread', ...versions],
    Object.entries(rows).map(([row, cells]) => [
      row,
      ...cells.map((cell) => (cell === null ? '' : cell.toFixed(2))),
    ]),
  );
}
