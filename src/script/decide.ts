import type { Algorithm, Encoded, Saved, State } from '../algorithms/limit.ts';
import { ttlOf } from '../algorithms/ttl.ts';
import { keysOf } from './call-shape.ts';
import type { Entry, Shape } from './call-shape.ts';
import { Home, UNREADABLE } from './home.ts';
import { parsePieces, recordTwin, tellOf } from './reservation-record.ts';
import type { Piece, RecordState } from './reservation-record.ts';
import { holdersTwin } from './slice-holders.ts';
import { VERBS } from './verbs.ts';

/** Where the driver reads and writes values. */
export interface Table {
  /** Returns the stored value; undefined for none. */
  read(key: string): unknown;
  /** Keeps the value, or deletes the key for undefined. */
  write(key: string, saved: Saved | undefined): void;
}

/** A state with a key of its own. */
interface Alone {
  state: State | undefined;
  readonly twin: Pick<Algorithm, 'load' | 'encode'>;
}

/**
 * The driver: decides entries in order, each under one or several limits, all or nothing. Reads the value of every key,
 * decides, then writes each changed value once. Twin of decide.lua and write.lua, with the same answer: `now`, then the
 * integers of every entry; a failed entry has its message in each of its indexes. Then, for each limit whose integers do
 * not tell the mark of its charge, the index of the first of them and the mark; and for each record that `recall` found
 * the index of its integer and what the record says.
 */
export function decide(entries: readonly Entry[], now: number, table: Table): (number | string)[] {
  return (
    (entries.length === 1 ? decideAllow(entries[0]!, now, table) : undefined) ??
    decideAll(entries, now, table)
  );
}

/**
 * Decides one `allow` under limits whose states are all in the home, the most frequent call of a memory store: the same
 * steps, without what several entries and other verbs need. Undefined if a state cannot be decided, which the driver
 * then says.
 */
function decideAllow(
  { key, shape }: Entry,
  now: number,
  table: Table,
): (number | string)[] | undefined {
  const { rules, homePath, isAtHome } = shape;
  if (!homePath || !isAtHome) {
    return undefined;
  }
  const ids = shape.ids[0]!;
  const home = new Home(table.read(key), now);
  const states: State[] = [];
  let passes = true;
  const verdicts: boolean[] = [];
  for (const { limit, plan, id } of rules) {
    const state = home.state(id, limit.twin, now);
    if (state === undefined || limit.twin.failure?.(plan, now) !== undefined) {
      return undefined;
    }
    const verdict = limit.twin.judge(state, plan, now);
    states.push(state);
    verdicts.push(verdict);
    passes &&= verdict || limit.shadow;
  }
  if (home.failure !== undefined || home.crowded(ids) !== undefined) {
    return undefined;
  }
  const out: (number | string)[] = [now];
  const asides: (number | string)[] = [];
  let changed = false;
  for (let i = 0; i < rules.length; i++) {
    const { limit, plan, id } = rules[i]!;
    if (passes && verdicts[i]!) {
      limit.twin.charge(states[i]!, plan, now);
    }
    if (states[i]!.changed) {
      home.note(id, ids);
      changed = true;
    }
    const aside = passes && verdicts[i]! ? limit.twin.aside?.(states[i]!, plan) : undefined;
    if (aside !== undefined) {
      asides.push(out.length, aside);
    }
    out.push(...limit.twin.answer(states[i]!, plan, verdicts[i]!, now));
  }
  if (changed) {
    write(key, home.encode(now), now, table);
  }
  out.push(...asides);
  return out;
}

function write(key: string, encoded: Encoded | undefined, now: number, table: Table): void {
  table.write(
    key,
    encoded === undefined ? undefined : { value: encoded.value, ttlMs: ttlOf(encoded.rests - now) },
  );
}

function decideAll(entries: readonly Entry[], now: number, table: Table): (number | string)[] {
  const out: (number | string)[] = [now];
  const homes = new Map<string, Home>();
  const alone = new Map<string, Alone>();
  const changed = new Set<string>();
  const asides: (number | string)[] = [];

  const homeOf = (key: string): Home => {
    let home = homes.get(key);
    if (home === undefined) {
      home = new Home(table.read(key), now);
      homes.set(key, home);
    }
    return home;
  };
  const stateAlone = (key: string, twin: Alone['twin']): State | undefined => {
    let known = alone.get(key);
    if (known === undefined) {
      known = { state: twin.load(changed.has(key) ? undefined : table.read(key), now), twin };
      alone.set(key, known);
    }
    return known.state;
  };

  for (const entry of entries) {
    const { shape } = entry;
    const keys = keysOf(entry);
    const keyOf = shape.keyAt.map((at) => keys[at]!);
    if (shape.verb === 'reset') {
      shape.rules.forEach(({ limit: { twin }, plan, suffix, id }, i) => {
        const key = keyOf[i]!;
        const home = suffix === '' ? homeOf(key) : undefined;
        if (home !== undefined) {
          const state =
            twin.reset === undefined || !home.remembersResets
              ? undefined
              : home.state(id, twin, now);
          if (state !== undefined && twin.reset!(state, plan, now)) {
            home.note(id, shape.ids[shape.keyAt[i]!]!);
            state.changed = false;
          } else {
            home.erase(id);
          }
        } else {
          alone.delete(key);
        }
        changed.add(key);
        out.push(1);
      });
      continue;
    }
    const homesOf = shape.rules.map(({ suffix }, i) =>
      suffix === '' ? homeOf(keyOf[i]!) : undefined,
    );
    const mine = shape.rules.map(({ limit: { twin }, id }, i) => {
      const home = homesOf[i];
      return home === undefined ? stateAlone(keyOf[i]!, twin) : home.state(id, twin, now);
    });
    let failure = shape.rules
      .map(
        ({ limit, plan }, i) =>
          homesOf[i]?.failure ??
          (mine[i] === undefined ? UNREADABLE : undefined) ??
          limit.twin.failure?.(plan, now) ??
          homesOf[i]?.crowded(shape.ids[shape.keyAt[i]!]!),
      )
      .find((message) => message !== undefined);
    let record: RecordState | undefined;
    if (failure === undefined && entry.record !== undefined) {
      const twin = shape.verb === 'grant' ? (holdersTwin as Alone['twin']) : recordTwin;
      record = stateAlone(keys.at(-1)!, twin) as RecordState | undefined;
      failure = record === undefined || !isReadable(record, shape, now) ? UNREADABLE : undefined;
    }
    if (failure !== undefined) {
      out.push(...Array<string>(shape.width).fill(failure));
      continue;
    }
    if (shape.verb === 'recall') {
      const told = tellOf(record!, now);
      if (told !== undefined) {
        asides.push(out.length, told);
      }
      out.push(told === undefined ? 0 : 1);
      continue;
    }
    const judged = shape.rules.map(({ limit, plan }, i) => ({
      limit,
      plan,
      units: shape.asks[i] ?? 0,
      asked: shape.asks[i] !== null,
      state: mine[i]!,
      passes: false,
      charged: false,
    }));
    out.push(
      ...VERBS[shape.verb](judged, shape.units, now, entry.details ?? [], record!, shape.told),
    );
    if (record?.changed === true) {
      changed.add(keys.at(-1)!);
    }
    judged.forEach(({ limit, plan, state, passes, charged }, i) => {
      if (state.changed) {
        changed.add(keyOf[i]!);
        const home = homesOf[i];
        if (home !== undefined) {
          home.note(shape.rules[i]!.id, shape.ids[shape.keyAt[i]!]!);
          state.changed = false; // so that the next change is noted as well
        }
      }
      if (shape.width > shape.head) {
        const aside = charged ? limit.twin.aside?.(state, plan) : undefined;
        if (aside !== undefined) {
          asides.push(out.length, aside);
        }
        out.push(...limit.twin.answer(state, plan, passes, now));
      }
    });
  }

  for (const key of changed) {
    const { state, twin } = alone.get(key) ?? {};
    const encoded = homes.has(key)
      ? homes.get(key)!.encode(now)
      : state?.changed === true
        ? twin!.encode(state, now)
        : undefined;
    write(key, encoded, now, table);
  }
  out.push(...asides);
  return out;
}

/** For `add` and `settle`, reads the receipts of the record's charges; false if one is unreadable. */
function isReadable(record: RecordState, { verb, rules, head }: Shape, now: number): boolean {
  if ((verb !== 'settle' && verb !== 'add') || record.ends <= now) {
    return true;
  }
  if (record.settled) {
    return verb === 'add' || record.charged.length * 2 === head;
  }
  const pieces = rules.map(({ limit }, i) =>
    parsePieces(record.pieces[i], (receipt) => limit.twin.parse(receipt)),
  );
  if (pieces.includes(undefined)) {
    return false;
  }
  const rest = record.pieces.slice(rules.length);
  record.pieces = [...(pieces as readonly (readonly Piece[])[]), ...rest];
  return true;
}
