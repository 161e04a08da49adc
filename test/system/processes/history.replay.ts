import { expect } from 'vitest';
import { decide } from '../../../src/script/decide.ts';
import type { Entry } from '../../../src/script/call-shape.ts';

/** The calls of each script call, by its keys and arguments. */
export type Known = ReadonlyMap<string, readonly Entry[]>;

/** Units by key, or by identity. */
export type Counts = ReadonlyMap<string, number>;

export function count(counts: Map<string, number>, name: string, units: number): void {
  counts.set(name, (counts.get(name) ?? 0) + units);
}

export function total(counts: Counts): number {
  return [...counts.values()].reduce((sum, units) => sum + units, 0);
}

/** Replays a history from Redis on the twin, from empty state; returns the units admitted, by key. */
export function replay(history: readonly string[], known: Known): Counts {
  const kept = new Map<string, string>();
  for (const line of history) {
    const { entries, values } = read(line, known);
    const twin = decide(entries, Number(values[0]), {
      read: (key) => kept.get(key),
      write: (key, saved) => {
        if (saved === undefined) kept.delete(key);
        else kept.set(key, saved.value as string);
      },
    });
    expect(twin.map(String)).toEqual(values);
  }
  return chargesOf(history, known);
}

/** The units admitted according to the answers themselves, by key. */
export function chargesOf(history: readonly string[], known: Known): Counts {
  const charged = new Map<string, number>();
  for (const line of history) {
    const { entries, values } = read(line, known);
    let place = 1;
    for (const { key, shape } of entries) {
      const { verb, rules, units, width } = shape;
      let at = place;
      const answers = rules.map(({ plan }) => Number(values[(at += plan.width) - plan.width]));
      if (verb === 'allow' && answers.every((answer) => answer >= 0)) count(charged, key, units);
      place += width;
    }
  }
  return charged;
}

/** Microseconds on the clock of the server that decided. */
export function timeOf(line: string): number {
  return Number(line.split('|')[2]!.split(' ', 1)[0]);
}

function read(line: string, known: Known): { entries: readonly Entry[]; values: string[] } {
  const [keys, args, noted = ''] = line.split('|');
  const entries = known.get(`${keys}|${args}`);
  expect(entries, 'somebody asked for it').toBeDefined();
  return { entries: entries!, values: noted.split(' ') };
}
