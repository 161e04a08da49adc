import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readVerdicts } from '../../../src/script/read-answer.ts';
import { decide } from '../../../src/script/decide.ts';
import type { Verdict } from '../../../src/algorithms/limit.ts';
import { spacingOf } from '../../../src/algorithms/token-bucket.ts';
import { seedOfRun } from '../../kit/fakes/random.ts';
import { Asker } from '../../kit/twins/asks.ts';
import type { Spec } from '../../kit/twins/asks.ts';
import { MapTable } from '../../kit/twins/map-table.ts';

const seed = seedOfRun();
const RUNS = { seed, numRuns: 300 };
const START = 1_767_225_600_000_000;
const SECOND = 1_000_000;

/** One key that one or several limits share, at any instant. */
class Bucket {
  readonly #table = new MapTable();
  readonly #poser = new Asker();

  allow(spec: Spec, cost: number, at: number): Verdict {
    const by = [{ suffix: '', spec }];
    const { entry } = this.#poser.pose({ verb: 'allow', key: 'k', cost, by });
    const [verdict] = readVerdicts(entry.shape, decide([entry], at, this.#table) as number[], 1);
    return verdict as Verdict;
  }

  /** Until when no excess is forgiven; 0 where none was. */
  get until(): number {
    return Number(this.#table.stored.get('k')?.split(':')[3] ?? 0);
  }
}

/** The microseconds that `units` take to recover, rounded up. */
function recoveryUs({ rate, periodMs }: Spec, units: number): number {
  return Number((BigInt(units) * BigInt(periodMs) * 1_000n + BigInt(rate) - 1n) / BigInt(rate));
}

/** The most that the limit promises to pass within Δ. */
function bound({ rate, periodMs, burst }: Spec, deltaUs: number): number {
  return burst + Number((BigInt(rate) * BigInt(deltaUs)) / (BigInt(periodMs) * 1_000n));
}

const specs: fc.Arbitrary<Spec> = fc
  .record({
    rate: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(1_000, 999_983, 700_000)),
    periodMs: fc.constantFrom(1, 7, 1_000, 10_000, 60_000, 3_600_000),
    burst: fc.integer({ min: 1, max: 40 }),
    maxDebt: fc.constant(0),
  })
  .filter(
    ({ rate, periodMs, burst }) => spacingOf(rate, periodMs * 1_000).n * (burst + 1) < 2 ** 53,
  );

interface Passed {
  readonly at: number;
  readonly units: number;
}

/** The most units that passed within any interval, less what `most` grants to it; at most 0 where the law holds. */
function worst(passed: readonly Passed[], most: (from: number, to: number) => number): number {
  let excess = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < passed.length; i++) {
    let units = 0;
    for (let j = i; j < passed.length; j++) {
      units += passed[j]!.units;
      excess = Math.max(excess, units - most(passed[i]!.at, passed[j]!.at));
    }
  }
  return excess;
}

describe(`laws of the token bucket (DRL_SEED=${seed} repeats this run)`, () => {
  test('passes at most burst + floor(rate · Δ / period) units within any Δ', () => {
    const steps = fc.array(
      fc.record({ idle: fc.double({ min: 0, max: 2, noNaN: true }), cost: fc.nat() }),
      { minLength: 1, maxLength: 60 },
    );
    fc.assert(
      fc.property(specs, steps, (spec, calls) => {
        const bucket = new Bucket();
        const passed: Passed[] = [];
        let at = START;
        for (const { idle, cost } of calls) {
          at += Math.floor(idle * recoveryUs(spec, 1));
          const units = 1 + (cost % spec.burst);
          if (!bucket.allow(spec, units, at).refused) {
            passed.push({ at, units });
          }
        }
        expect(worst(passed, (from, to) => bound(spec, to - from))).toBeLessThanOrEqual(0);
      }),
      RUNS,
    );
  });

  test('passes exactly that much to a caller that returns when told', () => {
    fc.assert(
      fc.property(specs, fc.integer({ min: 1, max: 200 }), (spec, extra) => {
        // A clock of whole microseconds must not find the bucket full again: what overflows is lost.
        fc.pre((spec.burst - 1) * spec.periodMs * 1_000 >= spec.rate);
        const bucket = new Bucket();
        let passed = 0;
        let at = START;
        for (let units = 0; units < spec.burst + extra; units++) {
          const verdict = bucket.allow(spec, 1, at);
          at += verdict.retryUs;
          passed += verdict.refused && bucket.allow(spec, 1, at).refused ? 0 : 1;
        }
        expect(passed).toBe(spec.burst + extra);
        // Never a microsecond later than the rate alone demands, however long it goes on.
        expect(at - START).toBe(recoveryUs(spec, extra));
      }),
      RUNS,
    );
  });

  test('passes 70,000 units of 700,000 per second in a tenth of a second, and the burst', () => {
    const spec = { rate: 700_000, periodMs: 1_000, burst: 2, maxDebt: 0 };
    const bucket = new Bucket();
    let passed = 0;
    for (let us = 0; us <= 100_000; us++) {
      passed += bucket.allow(spec, 1, START + us).refused ? 0 : 1;
    }
    expect(passed).toBe(70_002);
  });

  test('locks no caller out for longer than burst + 1 s after one step back of the clock', () => {
    const step = fc.oneof(
      fc.integer({ min: 0, max: 2 * SECOND }),
      fc.integer({ min: 0, max: 5 * 3_600 * SECOND }),
    );
    fc.assert(
      fc.property(specs, fc.nat(), step, fc.nat(), (spec, spent, back, asked) => {
        const bucket = new Bucket();
        bucket.allow(spec, 1 + (spent % spec.burst), START);
        const cost = 1 + (asked % spec.burst);
        const verdict = bucket.allow(spec, cost, START - back);
        expect(verdict.retryUs).toBeLessThanOrEqual(recoveryUs(spec, spec.burst) + SECOND);
        // And the wait is what it says: one microsecond too early, then in time.
        const then = START - back + verdict.retryUs;
        const early = verdict.refused ? bucket.allow(spec, cost, then - 1).retryUs : 1;
        expect(early).toBe(1);
        expect(verdict.refused && bucket.allow(spec, cost, then).refused).toBe(false);
      }),
      RUNS,
    );
  });

  test('grants at most one extra burst for a step of the clock back, or forth and back', () => {
    const calls = fc.array(
      fc.record({
        idle: fc.double({ min: 0, max: 2, noNaN: true }),
        cost: fc.nat(),
        away: fc.boolean(),
      }),
      { minLength: 2, maxLength: 60 },
    );
    const steps = fc.integer({ min: -3_600 * SECOND, max: 3_600 * SECOND });
    fc.assert(
      fc.property(
        specs,
        calls,
        steps,
        fc.integer({ min: 0, max: 59 }),
        (spec, all, step, until) => {
          const bucket = new Bucket();
          const passed: Passed[] = [];
          // True time; the server's clock is `step` off from the first call on until a certain one.
          let at = START;
          all.forEach(({ idle, cost }, i) => {
            at += Math.floor(idle * recoveryUs(spec, 1));
            const units = 1 + (cost % spec.burst);
            const off = i > 0 && i <= until ? step : 0;
            if (!bucket.allow(spec, units, at + off).refused) {
              passed.push({ at, units });
            }
          });
          // There are two steps: onto the wrong time, and back.
          const excess = worst(passed, (from, to) => bound(spec, to - from));
          expect(excess).toBeLessThanOrEqual(2 * spec.burst);
        },
      ),
      RUNS,
    );
  });

  test('keeps two limits on one key from granting each other bursts without end', () => {
    const calls = fc.array(
      fc.record({
        idle: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.3, noNaN: true })),
        by: fc.constantFrom(0, 1),
        cost: fc.nat(),
      }),
      { minLength: 2, maxLength: 80 },
    );
    let forgiven = 0;
    fc.assert(
      fc.property(specs, specs, calls, (one, other, all) => {
        const both = [one, other] as const;
        const bucket = new Bucket();
        const passed: Passed[] = [];
        const pardons: number[] = [];
        const early: number[] = [];
        let at = START;
        for (const { idle, by, cost } of all) {
          const spec = both[by];
          at += Math.floor(idle * recoveryUs(spec, spec.burst));
          const before = bucket.until;
          const verdict = bucket.allow(spec, 1 + (cost % spec.burst), at);
          if (bucket.until > before && bucket.until > at) {
            pardons.push(at);
            early.push(before - at);
          }
          if (!verdict.refused) {
            passed.push({ at, units: 1 + (cost % spec.burst) });
          }
        }
        // None before the earlier one is over.
        expect(Math.max(0, ...early)).toBe(0);
        forgiven += pardons.length;
        // What the greater limit grants, one burst of the other where both spend, and one for each pardon.
        const [shorter, longer] =
          recoveryUs(one, one.burst) <= recoveryUs(other, other.burst) ? both : [other, one];
        const excess = worst(passed, (from, to) => {
          const within = pardons.filter((pardon) => pardon >= from && pardon <= to).length;
          const greater = Math.max(bound(shorter, to - from), bound(longer, to - from));
          return greater + (1 + within) * longer.burst;
        });
        expect(excess).toBeLessThanOrEqual(0);
      }),
      { ...RUNS, numRuns: 1_000 },
    );
    expect(forgiven).toBeGreaterThan(50);
  });

  test('grants one extra burst to 1,000 per hour beside 10 per second, and no second one', () => {
    const hourly = { rate: 1_000, periodMs: 3_600_000, burst: 1_000, maxDebt: 0 };
    const fast = { rate: 10, periodMs: 1_000, burst: 10, maxDebt: 0 };
    const bucket = new Bucket();
    let passed = 0;
    // Every 100 ms for four seconds one call of the small limit, and as many of the great one as pass.
    for (let at = START; at <= START + 4 * SECOND; at += 100_000) {
      passed += bucket.allow(fast, 1, at).refused ? 0 : 1;
      while (!bucket.allow(hourly, 1, at).refused) {
        passed += 1;
      }
    }
    console.log(`1,000 per hour beside 10 per second, 4 s: ${passed} passed`);
    expect(passed).toBeGreaterThan(1_001);
    expect(passed).toBeLessThanOrEqual(1_001 + 1_000 + 1);
  });

  test('grants that burst on top of both limits when both are spent', () => {
    const slow = { rate: 1_000, periodMs: 3_600_000, burst: 1_000, maxDebt: 0 };
    const fast = { rate: 1_000, periodMs: 1_000, burst: 1_000, maxDebt: 0 };
    const bucket = new Bucket();
    let passed = 0;
    for (const spec of [fast, slow, fast, slow, fast, slow]) {
      while (!bucket.allow(spec, 1, START).refused) {
        passed += 1;
      }
    }
    // 1,000 of the fast one, then 999 of the slow one, forgiven once, then as many again.
    expect(passed).toBe(2_998);
  });
});
