import type { Paint } from './printer.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/**
 * Lines up rows under their titles. Where they are wider than `width`, the first column becomes narrower: a cell that is
 * too long for it stands in a line of its own, with its row below.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paint: Paint,
  width: number = Infinity,
): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const others = widths.slice(1).reduce((sum, each) => sum + 2 + each, 0);
  const first = Math.min(widths[0]!, Math.max(columns[0]!.title.length, width - others));
  const line = (cells: readonly string[]): string => {
    const isTooLong = cells[0]!.length > first;
    const shown = isTooLong ? ['', ...cells.slice(1)] : cells;
    const text = shown
      .map((cell, i) => {
        const room = i === 0 ? first : widths[i]!;
        return columns[i]?.align === 'right' ? cell.padStart(room) : cell.padEnd(room);
      })
      .join('  ')
      .trimEnd();
    return isTooLong ? `${cells[0]}\n${text}` : text;
  };
  return [paint('bold', line(columns.map(({ title }) => title))), ...rows.map(line)].join('\n');
}
