import { describe, expect, test } from 'vitest';
import { readVerdicts } from '../../../src/script/read-answer.ts';
import { decide } from '../../../src/script/decide.ts';
import type { Verdict } from '../../../src/algorithms/limit.ts';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { CallBuilder } from '../../kit/twins/asks.ts';
import type { Spec } from '../../kit/twins/asks.ts';
import { MapTable } from '../../kit/twins/map-table.ts';
import { UNNAMED_BUCKET } from '../../../src/script/call-shape.ts';

const CASES = casesOf(300);
const START = 1_767_225_600_000_000;
const SECOND = 1_000_000;

/** A key that one or several limits share, at any instant. */
class Bucket {
  readonly #table = new MapTable();
  readonly #builder = new CallBuilder();

  allow(spec: Spec, cost: number, at: number): Verdict {
    const by = [{ id: UNNAMED_BUCKET, spec }];
    const { entry } = this.#builder.build({ verb: 'allow', key: 'k', cost, by });
    const [verdict] = readVerdicts(entry.shape, decide([entry], at, this.#table) as number[], 1);
    return verdict as Verdict;
  }
}

/** The microseconds that `units` take to recover, rounded up. */
function recoveryUs({ rate, periodMs }: Spec, units: number): number {
  return Number((BigInt(units) * BigInt(periodMs) * 1_000n + BigInt(rate) - 1n) / BigInt(rate));
}

/** The most units that the limit allows within Δ. */
function bound({ rate, periodMs, burst }: Spec, deltaUs: number): number {
  return burst + Number((BigInt(rate) * BigInt(deltaUs)) / (BigInt(periodMs) * 1_000n));
}

function anySpec(random: Random): Spec {
  const rate = random.chance(50) ? random.pick([1_000, 999_983, 700_000]) : random.int(1, 20);
  const periodMs = random.pick([1, 7, 1_000, 10_000, 60_000, 3_600_000]);
  const burst = random.int(1, 40);
  const spec = { rate, periodMs, burst, maxDebt: 0 };
  random.note('limit', spec);
  return spec;
}

/** How many times its spacing a caller waits, often exactly once, twice or not at all. */
function anyIdle(random: Random): number {
  return random.chance(80) ? 2 * random.fraction() : random.int(0, 2);
}

interface Passed {
  readonly at: number;
  readonly units: number;
}

/** The most units that passed within any interval, minus the `most` allowed in it. At most 0 where the law holds. */
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

describe('laws of the token bucket', () => {
  test('passes at most burst + floor(rate · Δ / period) units within any Δ', async () => {
    await check(CASES, (random) => {
      const spec = anySpec(random);
      const bucket = new Bucket();
      const passed: Passed[] = [];
      let at = START;
      for (const _ of random.steps(1, 60)) {
        at += Math.floor(anyIdle(random) * recoveryUs(spec, 1));
        const units = random.int(1, spec.burst);
        random.note('call', { afterUs: at - START, units });
        if (!bucket.allow(spec, units, at).refused) {
          passed.push({ at, units });
        }
      }
      expect(worst(passed, (from, to) => bound(spec, to - from))).toBeLessThanOrEqual(0);
    });
  });

  test('passes exactly burst + floor(rate · Δ / period) to a caller that calls when told', async () => {
    let cases = 0;
    await check({ until: () => cases === CASES }, (random) => {
      const spec = anySpec(random);
      const extra = random.int(1, 200);
      random.note('units beyond the burst', extra);
      // Before the bucket is full again by a clock of whole microseconds: a full bucket loses refill.
      if ((spec.burst - 1) * spec.periodMs * 1_000 < spec.rate) return;
      cases += 1;
      const bucket = new Bucket();
      let passed = 0;
      let at = START;
      for (let units = 0; units < spec.burst + extra; units++) {
        const verdict = bucket.allow(spec, 1, at);
        at += verdict.retryUs;
        passed += verdict.refused && bucket.allow(spec, 1, at).refused ? 0 : 1;
      }
      expect(passed).toBe(spec.burst + extra);
      // Never a microsecond later than the rate requires, however long it goes on.
      expect(at - START).toBe(recoveryUs(spec, extra));
    });
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

  test('locks no caller out for longer than burst + 1 s after one step back of the clock', async () => {
    await check(CASES, (random) => {
      const spec = anySpec(random);
      const bucket = new Bucket();
      const spent = random.int(1, spec.burst);
      const back = random.int(0, random.pick([2, 5 * 3_600]) * SECOND);
      const cost = random.int(1, spec.burst);
      random.note('calls', { spent, back, cost });
      bucket.allow(spec, spent, START);
      const verdict = bucket.allow(spec, cost, START - back);
      expect(verdict.retryUs).toBeLessThanOrEqual(recoveryUs(spec, spec.burst) + SECOND);
      // The wait is exact: one microsecond earlier the call is refused, then it passes.
      const then = START - back + verdict.retryUs;
      const early = verdict.refused ? bucket.allow(spec, cost, then - 1).retryUs : 1;
      expect(early).toBe(1);
      expect(verdict.refused && bucket.allow(spec, cost, then).refused).toBe(false);
    });
  });

  test('grants at most one extra burst for a step of the clock back, or forth and back', async () => {
    await check(CASES, (random) => {
      const spec = anySpec(random);
      const step = random.int(-3_600 * SECOND, 3_600 * SECOND);
      const until = random.int(0, 59);
      const bucket = new Bucket();
      const passed: Passed[] = [];
      // True time. The server's clock differs by `step` from the first call until a certain later one.
      let at = START;
      for (const i of random.steps(2, 60)) {
        at += Math.floor(anyIdle(random) * recoveryUs(spec, 1));
        const units = random.int(1, spec.burst);
        const off = i > 0 && i <= until ? step : 0;
        random.note('call', { afterUs: at - START, clockOffUs: off, units });
        if (!bucket.allow(spec, units, at + off).refused) {
          passed.push({ at, units });
        }
      }
      // There are two steps: to the wrong time, and back.
      const excess = worst(passed, (from, to) => bound(spec, to - from));
      expect(excess).toBeLessThanOrEqual(2 * spec.burst);
    });
  });

  test('keeps two limits on one key from granting each other bursts without end', async () => {
    await check(1_000, (random) => {
      const both = [anySpec(random), anySpec(random)] as const;
      const [one, other] = both;
      const bucket = new Bucket();
      const passed: Passed[] = [];
      let at = START;
      for (const _ of random.steps(2, 80)) {
        const idle = random.chance(50) ? 0.3 * random.fraction() : 0;
        const spec = random.pick(both);
        const units = random.int(1, spec.burst);
        at += Math.floor(idle * recoveryUs(spec, spec.burst));
        random.note('call', { limit: both.indexOf(spec), afterUs: at - START, units });
        if (!bucket.allow(spec, units, at).refused) {
          passed.push({ at, units });
        }
      }
      // Both bursts, and the faster rate.
      const excess = worst(passed, (from, to) => {
        const faster = Math.max(
          bound({ ...one, burst: 0 }, to - from),
          bound({ ...other, burst: 0 }, to - from),
        );
        return one.burst + other.burst + faster;
      });
      expect(excess).toBeLessThanOrEqual(0);
    });
  });

  test('grants one extra burst to 1,000 per hour beside 10 per second, and no second one', () => {
    const hourly = { rate: 1_000, periodMs: 3_600_000, burst: 1_000, maxDebt: 0 };
    const fast = { rate: 10, periodMs: 1_000, burst: 10, maxDebt: 0 };
    const bucket = new Bucket();
    let passed = 0;
    // Every 100 ms for four seconds: one call of the small limit, and as many of the large one as pass.
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

  test('grants both bursts and no more when both limits are spent in turn', () => {
    const slow = { rate: 1_000, periodMs: 3_600_000, burst: 1_000, maxDebt: 0 };
    const fast = { rate: 1_000, periodMs: 1_000, burst: 1_000, maxDebt: 0 };
    const bucket = new Bucket();
    let passed = 0;
    for (const spec of [fast, slow, fast, slow, fast, slow]) {
      while (!bucket.allow(spec, 1, START).refused) {
        passed += 1;
      }
    }
    // 1,000 units of the fast limit, then 999 of the slow one.
    expect(passed).toBe(1_999);
  });
});
