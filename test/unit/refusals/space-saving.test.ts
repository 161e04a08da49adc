import { expect, test } from 'vitest';
import { RecentCallers } from '../../../src/refusals/recent-callers.ts';
import { SpaceSaving } from '../../../src/refusals/space-saving.ts';
import { check } from '../../kit/random.mjs';

test('keeps all frequent names, with bounds on how often each came', async () => {
  await check({ cases: 300 }, (random) => {
    const most = random.int(1, 8);
    const sketch = new SpaceSaving(most);
    const exact = new Map<string, number>();
    for (const _ of random.steps(1, 80)) {
      // Low names are frequent.
      const name = `${Math.min(random.int(0, 20), random.int(0, 20))}`;
      sketch.add(name);
      exact.set(name, (exact.get(name) ?? 0) + 1);
    }
    const entries = sketch.entries();
    const total = [...exact.values()].reduce((sum, count) => sum + count, 0);
    expect(sketch.total).toBe(total);
    expect(entries.length).toBe(Math.min(most, exact.size));
    // All counts together are those of all names: none is lost, and none counted twice.
    expect(entries.reduce((sum, { count }) => sum + count, 0)).toBe(total);
    for (const { name, count, error } of entries) {
      expect(count).toBeGreaterThanOrEqual(exact.get(name)!);
      expect(count - error).toBeLessThanOrEqual(exact.get(name)!);
    }
    const kept = new Set(entries.map(({ name }) => name));
    for (const [name, count] of exact) {
      if (count > total / most) {
        expect(kept).toContain(name);
      }
    }
  });
});

test('is exact for no more names than it keeps', () => {
  const sketch = new SpaceSaving(3);
  for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) {
    sketch.add(name);
  }
  expect(sketch.entries()).toEqual([
    { name: 'a', count: 3, error: 0 },
    { name: 'b', count: 2, error: 0 },
    { name: 'c', count: 1, error: 0 },
  ]);
});

test('takes a million names in bounded memory and time', () => {
  const sketch = new SpaceSaving(500);
  const startedAt = performance.now();
  for (let i = 0; i < 1_000_000; i++) {
    sketch.add(i % 2 === 0 ? 'frequent' : `rare-${i}`);
  }
  console.log(`${((performance.now() - startedAt) / 1_000).toFixed(2)} µs a name`);
  const entries = sketch.entries();
  expect(entries).toHaveLength(500);
  expect(entries.find(({ name }) => name === 'frequent')).toMatchObject({ count: 500_000 });
});

test('callers are forgotten after five to ten minutes', () => {
  const recent = new RecentCallers();
  const minute = 60_000;
  recent.add('a', 0);
  recent.add('a', 4 * minute);
  recent.add('b', 6 * minute);
  expect(recent.report(9, 9 * minute)).toEqual({
    total: 3,
    callers: [
      { name: 'a', count: 2, error: 0 },
      { name: 'b', count: 1, error: 0 },
    ],
  });
  expect(recent.report(1, 9 * minute).callers).toHaveLength(1);
  expect(recent.report(9, 10 * minute)).toMatchObject({ total: 1, callers: [{ name: 'b' }] });
  expect(recent.report(9, 15 * minute)).toEqual({ total: 0, callers: [] });
  recent.add('c', 15 * minute);
  expect(recent.report(9, 60 * minute)).toEqual({ total: 0, callers: [] });
});
