import type { Paint } from './printer.ts';
import { wrap } from './wrap.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/**
 * Lines up rows under their titles. Where they are wider than `width`, titles are broken at their spaces, and the first
 * column becomes narrower: a cell that is too long for it stands in a line of its own, with its row below.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paint: Paint,
  width: number = Infinity,
): string {
  const widthsWith = (titleWidth: (title: string) => number): readonly number[] =>
    columns.map(({ title }, i) =>
      Math.max(titleWidth(title), ...rows.map((row) => row[i]?.length ?? 0)),
    );
  const isTooWide = (all: readonly number[]): boolean =>
    columns[0]!.title.length + besideFirst(all) > width;
  const whole = widthsWith((title) => title.length);
  const widths = isTooWide(whole) ? widthsWith(longestWord) : whole;
  const first = Math.min(
    widths[0]!,
    Math.max(longestWord(columns[0]!.title), width - besideFirst(widths)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => {
        const room = i === 0 ? first : widths[i]!;
        return columns[i]?.align === 'right' ? cell.padStart(room) : cell.padEnd(room);
      })
      .join('  ')
      .trimEnd();
  const lines = (cells: readonly string[]): string =>
    cells[0]!.length > first ? `${cells[0]}\n${line(['', ...cells.slice(1)])}` : line(cells);
  const titles = columns.map(({ title }, i) => wrap(title, widths[i]!).split('\n'));
  const height = Math.max(...titles.map(({ length }) => length));
  const head = Array.from({ length: height }, (_, i) =>
    paint('bold', line(titles.map((title) => title[i - height + title.length] ?? ''))),
  );
  return [...head, ...rows.map(lines)].join('\n');
}

/** What all columns but the first take, with the space before each. */
function besideFirst(widths: readonly number[]): number {
  return widths.slice(1).reduce((sum, each) => sum + 2 + each, 0);
}

function longestWord(title: string): number {
  return Math.max(...title.split(' ').map((word) => word.length));
}
