import type { Saved, State } from '../algorithms/limit.ts';
import { recordTwin } from './reservation-record.ts';
import type { RecordState } from './reservation-record.ts';
import { keysOf } from './call-shape.ts';
import type { Entry, Shape } from './call-shape.ts';
import { VERBS } from './verbs.ts';

/** Where the driver reads and writes states. */
export interface Table {
  /** Returns the stored value; undefined for none. */
  read(key: string): unknown;
  /** Keeps the value, or deletes the key for undefined. */
  write(key: string, saved: Saved | undefined): void;
}

export const UNREADABLE = 'UNREADABLE The stored value is not a state that this library writes';

/**
 * The driver: decides entries in order, each under one or several limits, all or nothing. Reads the state of every key,
 * decides, then writes each changed state once. Twin of decide.lua and write.lua, with the same answer: `now`, then the
 * integers of every entry; a failed entry has its message in each of its indexes.
 */
export function decide(entries: readonly Entry[], now: number, table: Table): (number | string)[] {
  const out: (number | string)[] = [now];
  const states = new Map<string, { state: State | undefined; twin: Keeper }>();
  const changed = new Set<string>();
  const erased = new Set<string>();

  const stateOf = (key: string, twin: Keeper): State | undefined => {
    let known = states.get(key);
    if (known === undefined) {
      known = { state: twin.load(erased.has(key) ? undefined : table.read(key), now), twin };
      states.set(key, known);
    }
    return known.state;
  };

  for (const entry of entries) {
    const { shape } = entry;
    const keys = keysOf(entry);
    if (shape.verb === 'reset') {
      for (const key of keys) {
        states.delete(key);
        erased.add(key);
        changed.add(key);
        out.push(1);
      }
      continue;
    }
    const mine = shape.rules.map(({ limit }, i) => stateOf(keys[i]!, limit.twin));
    let failure = shape.rules
      .map(({ limit, plan }, i) =>
        mine[i] === undefined ? UNREADABLE : limit.twin.failure?.(plan, now),
      )
      .find((message) => message !== undefined);
    let record: RecordState | undefined;
    if (failure === undefined && entry.record !== undefined) {
      record = stateOf(keys.at(-1)!, recordTwin) as RecordState | undefined;
      failure = record === undefined || !isReadable(record, shape, now) ? UNREADABLE : undefined;
    }
    if (failure !== undefined) {
      out.push(...Array<string>(shape.width).fill(failure));
      continue;
    }
    const held = shape.rules.map(({ limit, plan }, i) => ({
      limit,
      plan,
      state: mine[i]!,
      passes: false,
    }));
    out.push(...VERBS[shape.verb](held, shape.units, now, entry.details ?? [], record!));
    if (record?.changed === true) {
      changed.add(keys.at(-1)!);
    }
    held.forEach(({ limit, plan, state, passes }, i) => {
      if (state.changed) {
        changed.add(keys[i]!);
      }
      if (shape.width > shape.head) {
        out.push(...limit.twin.answer(state, plan, passes, now));
      }
    });
  }

  for (const key of changed) {
    const known = states.get(key);
    table.write(
      key,
      known?.state?.changed === true ? known.twin.save(known.state, now) : undefined,
    );
  }
  return out;
}

/** Loads and saves a state: an algorithm, or the reservation record. */
interface Keeper {
  load(value: unknown, now: number): State | undefined;
  save(state: State, now: number): Saved | undefined;
}

/** For `settle`, reads the record's receipts into `parsed`; false if one is unreadable. */
function isReadable(record: RecordState, { verb, rules }: Shape, now: number): boolean {
  if (verb === 'settle' && record.ends > now && !record.settled) {
    record.parsed = rules.map(({ limit }, i) => {
      const receipt = record.receipts[i] ?? '';
      // An estimate of 0 has no receipt to give back by.
      return receipt === '-' ? null : record.cost === 0 ? 0 : limit.twin.parse(receipt);
    });
    return !record.parsed.includes(undefined);
  }
  return true;
}
