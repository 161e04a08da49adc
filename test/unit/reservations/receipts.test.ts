import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { expect, test } from 'vitest';
import { decide } from '../../../src/script/decide.ts';
import { reserveDetails, settleDetails, makeShape } from '../../../src/script/call-shape.ts';
import type { Verb } from '../../../src/script/call-shape.ts';
import type { Saved } from '../../../src/algorithms/limit.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';

/** The first instant of a window of 100 s, and of one of 50 s. */
const NOW = 1_760_000_000_000_000;

interface Case {
  /** The limit that charges the reservation, and the limit that settles it, as in a newer version's process. */
  readonly from: Limit;
  readonly to: Limit;
  readonly cost: number;
  readonly actual: number;
  /** Charges of other callers under the new numbers before the settlement. */
  readonly others?: number;
  /** Microseconds between the two. */
  readonly after?: number;
  readonly settled: readonly [charged: number, uncharged: number];
  /** The identity's final value: the limit's state, and what names it. */
  readonly state: string;
}

/** A bucket that was given back a part of a charge that was not its last: it remembers that until `rests`. */
function given(
  tat: number,
  back: number,
  rests: number,
  { n = 1, top }: { n?: number; top: number },
): string {
  return `${NOW + rests}:v1:${NOW}:${tat}:0:${n}:${top}:${NOW}:${back}:0:${rests}`;
}

const CASES: Readonly<Record<string, Case>> = {
  'a faster rate gives back the time of the slower one': {
    from: tokenBucket({ rate: 100, period: '100s' }),
    to: tokenBucket({ rate: 400, period: '100s' }),
    cost: 20,
    others: 8, // 2 s
    actual: 5,
    settled: [5, 0],
    state: given(7_000_000, 15_000_000, 22_000_000, { top: 101_000_000 }),
  },
  'a slower rate gives back the time of the faster one': {
    from: tokenBucket({ rate: 400, period: '100s', burst: 100 }),
    to: tokenBucket({ rate: 100, period: '100s' }),
    cost: 20, // 5 s
    others: 8,
    actual: 4,
    settled: [4, 0],
    state: given(9_000_000, 4_000_000, 13_000_000, { top: 101_000_000 }),
  },
  'a longer period gives back the time of the shorter one': {
    from: tokenBucket({ rate: 100, period: '100s' }),
    to: tokenBucket({ rate: 100, period: '1000s' }),
    cost: 20,
    others: 1, // 10 s
    actual: 0,
    settled: [0, 0],
    state: given(10_000_000, 20_000_000, 30_000_000, { top: 1_001_000_000 }),
  },
  'an overrun is charged at the rate of its own time': {
    from: tokenBucket({ rate: 100, period: '100s' }),
    to: tokenBucket({ rate: 400, period: '100s', burst: 100 }),
    cost: 20,
    actual: 24,
    settled: [24, 0],
    state: String(NOW + 21_000_000),
  },
  'an overrun goes into the debt of its own time': {
    from: tokenBucket({ rate: 100, period: '100s' }),
    to: tokenBucket({ rate: 100, period: '100s', burst: 10, maxDebt: 15 }),
    cost: 20,
    actual: 40,
    settled: [25, 15],
    state: String(NOW + 25_000_000),
  },
  'a smaller burst gives back the whole time': {
    from: tokenBucket({ rate: 100, period: '100s' }),
    to: tokenBucket({ rate: 100, period: '100s', burst: 20 }),
    cost: 20,
    actual: 5,
    settled: [5, 0],
    state: String(NOW + 5_000_000),
  },
  'the same fractions are given back exactly': {
    from: tokenBucket({ rate: 7, period: '1s', burst: 100 }),
    to: tokenBucket({ rate: 7, period: '1s', burst: 50 }),
    cost: 5,
    actual: 2, // 285714 2/7 us
    settled: [2, 0],
    state: `${NOW + 285_714}:2:7`,
  },
  'other fractions are given back but for less than a microsecond': {
    from: tokenBucket({ rate: 7, period: '1s', burst: 100 }),
    to: tokenBucket({ rate: 3, period: '1s', burst: 100 }),
    cost: 5, // 714285 5/7 us, and 714286 as thirds
    actual: 2, // 428571 3/7 us are given back
    settled: [2, 0],
    state: given(285_715, 428_571, 714_286, { n: 3, top: 34_333_334 }),
  },
  'a sliding window of another period gives back in the window that was charged': {
    from: slidingWindow({ rate: 100, period: '100s' }),
    to: slidingWindow({ rate: 100, period: '50s' }),
    cost: 20,
    others: 3, // it took over 10
    actual: 5,
    settled: [5, 0],
    state: `;=s${NOW + 200_000_000}:50000000:${NOW / 50_000_000}:0:13,100000000:${NOW / 100_000_000}:0:8`,
  },
  'a sliding window of another rate gives back units': {
    from: slidingWindow({ rate: 100, period: '100s' }),
    to: slidingWindow({ rate: 10, period: '100s' }),
    cost: 20,
    actual: 5,
    settled: [5, 0],
    state: `;=s${NOW + 200_000_000}:100000000:${NOW / 100_000_000}:0:5`,
  },
  'a sliding window that became the one before gives back what still fades': {
    from: slidingWindow({ rate: 100, period: '100s' }),
    to: slidingWindow({ rate: 100, period: '100s' }),
    cost: 20,
    others: 3,
    after: 150_000_000,
    actual: 5,
    settled: [5, 0],
    state: `;=s${NOW + 300_000_000}:100000000:${NOW / 100_000_000 + 1}:5:3`,
  },
  'a fixed window of another period gives back in the window that was charged': {
    from: fixedWindow({ rate: 100, period: '100s' }),
    to: fixedWindow({ rate: 100, period: '50s' }),
    cost: 20,
    others: 3, // it took over 10
    actual: 5,
    settled: [5, 0],
    state: `;=f${NOW + 100_000_000}:50000000:13:${NOW}:${NOW + 50_000_000},100000000:8`,
  },
  'a fixed window that has ended gives nothing back in the next one': {
    from: fixedWindow({ rate: 100, period: '100s' }),
    to: fixedWindow({ rate: 100, period: '100s' }),
    cost: 20,
    others: 30,
    after: 100_000_000,
    actual: 5,
    settled: [5, 0],
    state: `;=f${NOW + 200_000_000}:100000000:30`,
  },
};

test.each(Object.entries(CASES))('refunds by its receipt: %s', (_says, each) => {
  const values = new Map<string, unknown>();
  const table = {
    read: (key: string) => values.get(key),
    write: (key: string, saved: Saved | undefined) => void values.set(key, saved?.value),
  };
  const ask = (
    verb: Verb,
    limit: Limit,
    cost: number,
    now: number,
    details?: readonly string[],
  ) => {
    const rules = [{ limit, plan: limit.plan(cost, 0), ...stateKeyOf(limit) }];
    const record = details === undefined ? undefined : '#r:1';
    return decide([{ key: 'K', shape: makeShape(verb, cost, rules), record, details }], now, table);
  };
  const later = NOW + (each.after ?? 0);
  ask('reserve', each.from, each.cost, NOW, reserveDetails(1_000_000));
  if (each.others !== undefined) {
    ask('allow', each.to, each.others, later);
  }
  const details = settleDetails(each.actual, 2_500, false);
  expect(ask('settle', each.to, 1, later, details)).toEqual([later, ...each.settled]);
  expect(values.get('K')).toBe(each.state);
  // Settles again with another number: the same answer, and no further charge.
  const again = settleDetails(each.actual + 7, 2_500, true);
  expect(ask('settle', each.to, 1, later, again)).toEqual([later, ...each.settled]);
  expect(values.get('K')).toBe(each.state);
});
