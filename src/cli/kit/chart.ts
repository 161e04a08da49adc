import { count } from './figures.ts';
import type { Paint } from './printer.ts';

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** One row of a chart: its label, what passed and what was refused. */
export interface Bar {
  readonly label: string;
  readonly passed: number;
  readonly refused: number;
}

/** Draws horizontal bars over time: what passed in full blocks, behind it in shade what was refused. */
export function chart(bars: readonly Bar[], width: number, paint: Paint): string {
  const most = Math.max(1, ...bars.map(({ passed, refused }) => passed + refused));
  const labels = Math.max(0, ...bars.map(({ label }) => label.length));
  const figures = bars.map(({ passed, refused }) =>
    refused === 0 ? count(passed) : `${count(passed)}, ${count(refused)} refused`,
  );
  const room = Math.max(8, width - labels - 3 - Math.max(0, ...figures.map((text) => text.length)));
  return bars
    .map(({ label, passed, refused }, i) => {
      const all = ((passed + refused) / most) * room;
      const own = (passed / most) * room;
      const full = bar(own);
      // At least one shaded cell shows that anything was refused.
      const shaded = refused === 0 ? 0 : Math.max(1, Math.round(all) - full.length);
      const drawn = `${paint('green', full)}${paint('red', '░'.repeat(shaded))}`;
      return `${label.padEnd(labels)} ${drawn}${drawn === '' ? '' : ' '}${figures[i]}`;
    })
    .join('\n');
}

function bar(length: number): string {
  const eighths = Math.round(length * 8);
  return '█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7]!;
}
