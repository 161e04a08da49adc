import { expect, test } from 'vitest';
import type { LogEntry } from '../../../src/cli/logs/entry.ts';
import { merge } from '../../../src/cli/logs/merge.ts';
import { Reorder } from '../../../src/cli/logs/reorder.ts';
import { check } from '../../kit/random.mjs';

function entry(at: number, caller: string): LogEntry {
  return { at, order: 0, caller, cost: 1 };
}

function through(reorder: Reorder, entries: readonly LogEntry[]): LogEntry[] {
  const out: LogEntry[] = [];
  for (const each of entries) {
    reorder.push(each, out);
  }
  reorder.end(out);
  return out;
}

test('entries within the window come out in the order of their times', async () => {
  await check({ cases: 300 }, (random) => {
    const window = random.int(0, 50);
    let end = 0;
    const entries = Array.from({ length: random.int(0, 60) }, (_, i) => {
      end += random.int(0, 10);
      // A request that ends at `end` began up to a window before.
      return entry(end - random.int(0, window), `${i}`);
    });
    const expected = entries.map((each) => ({ ...each })).toSorted((a, b) => a.at - b.at);
    const reorder = new Reorder(window);
    const out = through(reorder, entries);
    // Entries of one time keep their order, and `toSorted` is stable.
    expect(out.map(({ at, caller }) => [at, caller])).toEqual(
      expected.map(({ at, caller }) => [at, caller]),
    );
    expect(reorder.late).toBe(0);
  });
});

test('whatever the disorder, times never go back, and what came later is counted', async () => {
  await check({ cases: 300 }, (random) => {
    const window = random.int(0, 20);
    const entries = Array.from({ length: random.int(0, 40) }, (_, i) =>
      entry(random.int(0, 100), `${i}`),
    );
    // The model: an entry is late if one that was released before it has a later time.
    let late = 0;
    const reorder = new Reorder(window);
    const out: LogEntry[] = [];
    for (const each of entries) {
      late += each.at < (out.at(-1)?.at ?? 0) ? 1 : 0;
      reorder.push(each, out);
    }
    reorder.end(out);
    expect(out).toHaveLength(entries.length);
    expect(out.map(({ at }) => at)).toEqual(out.map(({ at }) => at).toSorted((a, b) => a - b));
    expect(reorder.late).toBe(late);
  });
});

test('a late entry takes place at the time then reached', () => {
  const reorder = new Reorder(10);
  const out = through(reorder, [
    entry(100, 'a'),
    entry(120, 'b'),
    entry(90, 'late'),
    entry(111, 'c'),
  ]);
  expect(out.map(({ at, caller }) => [at, caller])).toEqual([
    [100, 'a'],
    [100, 'late'],
    [111, 'c'],
    [120, 'b'],
  ]);
  expect([reorder.late, reorder.mostLate]).toEqual([1, 10]);
});

test('several logs are merged by time', async () => {
  await check({ cases: 100 }, async (random) => {
    const logs = Array.from({ length: random.int(1, 4) }, () => {
      let at = 0;
      return Array.from({ length: random.int(0, 5) }, () =>
        Array.from({ length: random.int(0, 4) }, () => entry((at += random.int(0, 5)), '')),
      );
    });
    const out: LogEntry[] = [];
    const open = logs.map((batches) =>
      (async function* read() {
        yield* await Promise.resolve(batches);
      })(),
    );
    for await (const batch of merge(open)) {
      out.push(...batch);
    }
    const all = logs.flat(2);
    expect(out.map(({ at }) => at)).toEqual(all.map(({ at }) => at).toSorted((a, b) => a - b));
  });
});

test('beyond the most that is held, the earliest go before their turn, and are counted', () => {
  const reorder = new Reorder(1_000, 3);
  const out: LogEntry[] = [];
  for (const [i, at] of [5, 3, 4, 6, 7].entries()) {
    reorder.push(entry(at, `${i}`), out);
  }
  expect(out.map(({ at }) => at)).toEqual([3, 4]);
  expect(reorder.hurried).toBe(2);
  reorder.end(out);
  expect(out.map(({ at }) => at)).toEqual([3, 4, 5, 6, 7]);
});
