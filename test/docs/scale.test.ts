import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { storedFigures } from '../../bench/scale/figures.mjs';
import { fillIn, tables } from '../../bench/scale/page.mjs';
import { costOf } from '../../bench/scale/plan.mjs';
import { plot } from '../../bench/scale/plot.mjs';

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const figures = storedFigures();
const page = read('docs/scale.md');

test('the tables of the page match the figures (cure: `npm run bench -- scale --render`)', () => {
  expect(fillIn(page, figures)).toBe(page);
  for (const name of Object.keys(tables(figures))) {
    expect(page).toContain(`<!-- figures: ${name} -->`);
  }
});

test('the plot matches the figures', () => {
  expect(plot(figures)).toBe(read('docs/scale.svg'));
});

test('rendering fails with a message when the page names a missing figure', () => {
  expect(() => fillIn('<!-- figures: profits -->\n<!-- end -->', figures)).toThrow(
    'called profits',
  );
});

test('the cost of a script call and of a decision is computed from several batch sizes', () => {
  const first = figures.inFlight[0]!;
  const of = (entries: number): object => ({
    ...first,
    sample: { ...first.sample, entries, redisUs: 20 / entries + 3 },
  });
  const { perCall, perEntry } = costOf([of(1), of(8), of(128)] as never);
  expect(perCall).toBeCloseTo(20);
  expect(perEntry).toBeCloseTo(3);
});
