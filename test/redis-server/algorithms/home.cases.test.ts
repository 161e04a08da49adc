import { describe, expect, test } from 'vitest';
import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { decide } from '../../../src/script/decide.ts';
import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { MapTable, writeOf } from '../../kit/twins/map-table.ts';
import { groupedByProduction, groupedOneByOne } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import { withLuaTwin } from '../../kit/twins/with-lua-twin.ts';

const HOUR = 3_600_000_000;
const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 0, 1) * 1_000;
const INDEX = NOW / HOUR;

/** One unit is an hour, exactly. */
const bucket = tokenBucket({ rate: 1, period: '1h', burst: 9 });
const b = tokenBucket({ name: 'b', rate: 1, period: '1h', burst: 9 });
const w = slidingWindow({ name: 'w', rate: 10, period: '1h' });
const f = fixedWindow({ name: 'f', rate: 10, period: '1h' });
const shadow = tokenBucket({ rate: 1, period: '1h', burst: 1, shadow: true });

const W = (used: number): string => `;w=s${NOW + 2 * HOUR}:${HOUR}:${INDEX}:0:${used}`;
const F = (used: number): string => `;f=f${NOW + HOUR}:${HOUR}:${used}`;
const B = (hours: number): string => `;b=t${NOW + hours * HOUR}`;
const UNNAMED = (hours: number): string => `;=t${NOW + hours * HOUR}`;
/** A bucket without a charge, whose receipts from before now are worthless. */
const WORTHLESS = (hours: number): string =>
  `${NOW + hours * HOUR}:v1:${NOW}:0:0:1:${9 * HOUR + 1_000_000}:${NOW}:${hours * HOUR}:0:${hours * HOUR}`;
/** States that still count, each of a limit of its own. */
const many = (count: number): string =>
  Array.from({ length: count }, (_, i) => `;limit-${i}=t${NOW + HOUR}`).join('');

interface Row {
  readonly stored?: string;
  readonly verb?: Verb;
  readonly limits: readonly Limit[];
  /** Microseconds after `NOW`. */
  readonly at?: number;
  /** The value and its TTL in hours; false if nothing is written. */
  readonly left: readonly [value: string, hours: number] | 'deleted' | false;
  /** The first word of the failure. */
  readonly fails?: string;
}

const CASES: Readonly<Record<string, Row>> = {
  'writes the unnamed bucket plainly while it is the only state': {
    limits: [bucket],
    left: [String(NOW + HOUR), 1],
  },
  'writes the unnamed bucket plainly under a shadow limit': {
    limits: [shadow],
    left: [String(NOW + HOUR), 1],
  },
  'reads the plain text again as a shadow limit': {
    stored: String(NOW),
    limits: [shadow],
    left: [String(NOW + HOUR), 1],
  },
  'names a state that is no unnamed bucket': { limits: [w], left: [W(1), 2] },
  'writes states in the order of the limits': {
    limits: [w, bucket, f],
    left: [W(1) + UNNAMED(1) + F(1), 2],
  },
  'puts a new state before the plain one': {
    stored: String(NOW + HOUR),
    limits: [b],
    left: [B(1) + UNNAMED(1), 1],
  },
  'keeps the states that the call does not name, byte for byte, and their TTL': {
    stored: `${W(3)};x=q${NOW + 5 * HOUR}:of-a-later:version${F(0)}`,
    limits: [b],
    left: [`${B(1)}${W(3)};x=q${NOW + 5 * HOUR}:of-a-later:version${F(0)}`, 5],
  },
  'keeps a state until the instant at which it rests': {
    stored: `;x=q${NOW}${B(0)}`,
    limits: [f],
    left: [`${F(1)};x=q${NOW}${B(0)}`, 1],
  },
  'drops a state once it rests': {
    stored: `;x=q${NOW}${B(0)}`,
    limits: [f],
    at: 1,
    left: [F(1), 1],
  },
  'returns to the plain text when all other states rest': {
    stored: `;x=q${NOW - 1}${UNNAMED(1)}`,
    limits: [bucket],
    left: [String(NOW + 2 * HOUR), 2],
  },
  'heals the order of states in which another call wrote them': {
    stored: F(1) + B(1) + W(1),
    limits: [w, b, f],
    left: [W(2) + B(2) + F(2), 2],
  },
  'lets the states of other limits follow those of the call': {
    stored: F(1) + B(1) + W(1),
    limits: [w],
    left: [W(2) + F(1) + B(1), 2],
  },
  'leaves the order as it is for a call that charges nothing': {
    stored: F(1) + B(1) + W(1),
    verb: 'peek',
    limits: [w, b, f],
    left: false,
  },
  'reset of some limits keeps the others': {
    stored: F(1) + B(1) + W(1),
    verb: 'reset',
    limits: [f],
    left: [B(1) + W(1), 2],
  },
  'reset of a bucket remembers, as long as its charges, that older receipts are worthless': {
    stored: F(1) + B(1) + W(1),
    verb: 'reset',
    limits: [b],
    left: [`;b=t${WORTHLESS(1)}${F(1)}${W(1)}`, 2],
  },
  'reset of the unnamed bucket alone remembers it, too': {
    stored: String(NOW + HOUR),
    verb: 'reset',
    limits: [bucket],
    left: [WORTHLESS(1), 1],
  },
  'reset beside more than 16 states leaves nothing behind': {
    stored: many(16) + B(1),
    verb: 'reset',
    limits: [b],
    left: [many(16), 1],
  },
  'reset of all but the unnamed bucket returns to the plain text': {
    stored: F(1) + UNNAMED(1),
    verb: 'reset',
    limits: [f, b],
    left: [String(NOW + HOUR), 1],
  },
  'reset deletes the key once nothing is left': {
    stored: F(1) + W(1) + B(0),
    verb: 'reset',
    limits: [w, b, f],
    left: 'deleted',
  },
  'reset deletes the key if what is left rests': {
    stored: `;x=q${NOW - 1}${F(1)}`,
    verb: 'reset',
    limits: [f],
    left: 'deleted',
  },
  'reset of any limit deletes a value whose states cannot be told apart': {
    stored: `${F(1)};;`,
    verb: 'reset',
    limits: [b],
    left: 'deleted',
  },
  'fails every limit of a value whose states cannot be told apart': {
    stored: `${F(1)};;`,
    limits: [b],
    left: false,
    fails: 'UNREADABLE',
  },
  'fails every limit of a value that holds a state twice': {
    stored: F(1) + F(1),
    limits: [b],
    left: false,
    fails: 'UNREADABLE',
  },
  'fails the limit of an unreadable state': {
    stored: `${F(1)}${B(1)}:x`,
    limits: [f, b],
    left: false,
    fails: 'UNREADABLE',
  },
  'keeps the unreadable state of another limit': {
    stored: `${F(1)}${B(1)}:x`,
    limits: [f],
    left: [`${F(2)}${B(1)}:x`, 1],
  },
  'forgets an unreadable state once it rests': {
    stored: `;b=t${NOW - 1}:x${F(1)}`,
    limits: [f, b],
    left: [F(2) + B(1), 1],
  },
  'takes a 32nd state': {
    stored: many(31),
    limits: [b],
    left: [B(1) + many(31), 1],
  },
  'refuses a 33rd state': { stored: many(32), limits: [b], left: false, fails: 'CROWDED' },
  'refuses a look that needs a 33rd state': {
    stored: many(31),
    verb: 'peek',
    limits: [b, f],
    left: false,
    fails: 'CROWDED',
  },
  'refuses a penalty that needs a 33rd state': {
    stored: many(32),
    verb: 'penalize',
    limits: [b],
    left: false,
    fails: 'CROWDED',
  },
  'decides under a limit that has one of the 32 states': {
    stored: many(31) + B(1),
    limits: [b],
    left: [B(2) + many(31), 2],
  },
  'takes a 33rd state once another rests': {
    stored: `;x=q${NOW - 1}${many(31)}`,
    limits: [b],
    left: [B(1) + many(31), 1],
  },
  'resets under limits without a state beside 32 others': {
    stored: many(32),
    verb: 'reset',
    limits: [b],
    left: [many(32), 1],
  },
};

function entryOf({ verb = 'allow', limits }: Row): Entry {
  const rules = limits.map((limit) => ({
    limit,
    plan: limit.plan(1, NOW / 1_000),
    ...stateKeyOf(limit),
  }));
  return { key: 'k', shape: makeShape(verb, 1, rules) };
}

function expected({ left, at = 0 }: Row): string[] {
  if (left === false) {
    return [];
  }
  const ttlMs = left === 'deleted' ? 0 : Math.ceil(left[1] * HOUR_MS - at / 1_000) + 1;
  return [writeOf('k', left === 'deleted' ? undefined : { value: left[0], ttlMs })];
}

describe('the value that holds the states of an identity', () => {
  const twin = withLuaTwin(LuaTwin);

  test.each(Object.entries(CASES))('%s', async (_, row) => {
    const entry = entryOf(row);
    const now = NOW + (row.at ?? 0);
    const stored = new Map(row.stored === undefined ? [] : [['k', row.stored]]);
    const table = new MapTable(new Map(stored));
    const reply = decide([entry], now, table);
    expect(table.takeWrites()).toEqual(expected(row));
    const failures = reply.filter((answer) => typeof answer === 'string');
    expect(failures.map((failure) => failure.split(' ')[0])).toEqual(
      row.fails === undefined ? [] : Array(entry.shape.width).fill(row.fails),
    );
    for (const grouping of [...groupedByProduction([entry]), groupedOneByOne([entry])]) {
      await twin.lua.forget();
      await twin.lua.put(stored);
      expect(await twin.lua.decide(grouping, now)).toEqual({ reply, writes: expected(row) });
    }
  });
});
