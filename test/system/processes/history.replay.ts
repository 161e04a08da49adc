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

/**
 * Replays a history from Redis on the twin, from empty state; returns the units admitted, by key. `kept` takes what the
 * twin stores, in which nothing expires.
 */
export function replay(
  history: readonly string[],
  known: Known,
  kept: Map<string, string> = new Map(),
): Counts {
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

/** Units by home and limit: `<key> <id>`. */
interface Held {
  /** What each limit holds in the end. */
  readonly units: ReadonlyMap<string, number>;
  /** The most that it ever held. */
  readonly most: ReadonlyMap<string, number>;
}

/**
 * What each limit of each home holds according to the answers alone, where no unit comes back by itself and nothing
 * expires: charges of `allow`, `reserve` and `add`, less refunds, and what `settle` makes of a reservation.
 */
export function heldAfter(history: readonly string[], known: Known): Held {
  const units = new Map<string, number>();
  const most = new Map<string, number>();
  /** By record, what each limit holds for the reservation; undefined once it is settled. */
  const reserved = new Map<string, number[] | undefined>();
  for (const line of history) {
    const { entries, values } = read(line, known);
    let place = 1;
    for (const entry of entries) {
      const answer = values.slice(place, place + entry.shape.width).map(Number);
      place += entry.shape.width;
      entry.shape.rules.forEach(({ id, home = 0 }, i) => {
        const name = `${entry.homes?.[home] ?? entry.key} ${id}`;
        count(units, name, changeOf(entry, i, answer, reserved));
        most.set(name, Math.max(most.get(name) ?? 0, units.get(name)!));
      });
      if (entry.shape.verb === 'settle' && answer[0]! >= 0) {
        reserved.set(entry.record!, undefined);
      }
    }
  }
  return { units, most };
}

/** By how much an entry changes what its i-th limit holds. */
function changeOf(
  { shape, record = '', details = [] }: Entry,
  i: number,
  answer: readonly number[],
  reserved: Map<string, number[] | undefined>,
): number {
  const { verb, rules, head, asks } = shape;
  let at = head;
  const passes = rules.every(({ plan }) => answer[(at += plan.width) - plan.width]! >= 0);
  const asked = asks[i] ?? 0;
  if (verb === 'refund') {
    return details[i] === '-' ? 0 : -asked;
  }
  if (verb === 'settle') {
    const before = reserved.get(record)?.[i];
    return before === undefined || answer[0]! < 0 ? 0 : answer[2 * i]! - before;
  }
  if (
    !['allow', 'reserve', 'add'].includes(verb) ||
    !passes ||
    (verb === 'add' && answer[0] !== 1)
  ) {
    return 0;
  }
  if (verb !== 'allow') {
    const held = reserved.get(record) ?? rules.map(() => 0);
    held[i]! += asked;
    reserved.set(record, held);
  }
  return asked;
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
