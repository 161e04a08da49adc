// @ts-check

/** @typedef {import('./run-scenario.mjs').Row} Row */

/** @typedef {{ title: string, of: (row: Row & { extra?: number }) => string }} Column */

/** @type {readonly Column[]} */
const COLUMNS = [
  { title: 'scenario', of: ({ scenario }) => scenario },
  { title: 'client', of: ({ client }) => client },
  { title: 'strategy', of: ({ failStrategy }) => failStrategy },
  { title: 'calls', of: ({ calls }) => String(calls) },
  { title: 'charges', of: ({ charges }) => String(charges ?? '-') },
  { title: 'settled max ms', of: ({ maxMs }) => maxMs.toFixed(1) },
  { title: 'p99 ms', of: ({ p99Ms }) => p99Ms.toFixed(1) },
  { title: 'late by ms', of: ({ lateMs }) => lateMs.toFixed(1) },
  { title: 'real again ms', of: ({ recoveryMs }) => recoveryMs?.toFixed(0) ?? '-' },
];

/** Units that a spent identity was granted after its server was replaced. @type {Column} */
const EXTRA = { title: 'granted again', of: ({ extra }) => String(extra ?? '-') };

/**
 * @param {readonly (Row & { extra?: number })[]} rows
 * @returns {string}
 */
export function tableOf(rows) {
  const columns = rows.some(({ extra }) => extra !== undefined) ? [...COLUMNS, EXTRA] : COLUMNS;
  const lines = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ of }) => of(row))),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((cells) => cells[i]?.length ?? 0)));
  return lines
    .map((cells) =>
      cells
        .map((cell, i) => (i < 3 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  '),
    )
    .join('\n');
}
