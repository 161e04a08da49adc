import { describe, expect, test } from 'vitest';
import { spacingOf } from '../../../src/algorithms/recovery.ts';
import type { Mutant } from '../../kit/mutants.ts';
import { casesOf, Random, seed } from '../../kit/random.mjs';
import { loadMutant, loadSliceEngine } from '../../kit/slices/engine.ts';
import type { SliceEngine } from '../../kit/slices/engine.ts';
import { START } from '../../kit/slices/process.ts';
import type { Jolt } from '../../kit/slices/process.ts';
import { mostOver, World } from '../../kit/slices/world.ts';
import type { Outcome, WorldSpec } from '../../kit/slices/world.ts';

const CASES = casesOf(100);
const SECOND = 1_000_000;
const LASTS = 3 * SECOND;
const MOST_HELD_MS = 500;

interface Bucket {
  readonly rate: number;
  readonly period: number;
  readonly burst: number;
}

/** Busy processes, all of which prepay. */
function anyWorld(
  engine: SliceEngine,
  random: Random,
  joltsOf: (random: Random) => readonly Jolt[],
): [WorldSpec, Bucket] {
  const rate = random.pick([100, 300, 700]);
  const bucket = { rate, period: 1, burst: random.pick([rate / 2, rate, 2 * rate]) };
  const count = random.int(1, 5);
  const far = random.pick([100, 1_000, 5_000, 30_000]);
  const load = random.pick([0.9, 1.2, 3]);
  return [
    {
      limits: [engine.tokenBucket(bucket)],
      nodes: Array.from({ length: count }, () => ({
        prepay: true,
        wayUs: [random.int(50, far), far] as const,
        drift: random.pick([0, 0.001, 0.08, -0.08]),
        rate: Math.min(300, (rate / count) * load),
        mostCost: random.pick([1, 1, 3]),
        bursts: random.chance(50),
        diesAt: Infinity,
        jolts: joltsOf(random),
      })),
      lastsUs: LASTS,
      aheadMs: random.pick([0, 300, 500]),
      holdMs: random.pick([undefined, 200]),
      lost: random.pick([0, 5]),
      twice: random.pick([0, 5]),
      refunded: 0,
    },
    bucket,
  ];
}

/** By more than what a process takes for the unsteadiness of clocks. */
function jolts(random: Random): Jolt[] {
  return Array.from({ length: random.int(1, 3) }, () => {
    const at = random.int(0, LASTS);
    const us = random.int(150_000, SECOND);
    return random.pick([
      { at, stopsUs: us },
      { at, stopsUs: us },
      { at, wallUs: us },
      { at, wallUs: -us },
      { at, ownUs: us },
    ]);
  }).toSorted((a, b) => a.at - b.at);
}

/** Partings of a process's clocks that it takes for their unsteadiness. */
function smallJolts(random: Random): Jolt[] {
  const at = random.int(0, LASTS);
  const us = random.int(10_000, 95_000);
  return [
    random.pick([
      { at, stopsUs: us },
      { at, ownUs: us },
    ]),
  ];
}

/**
 * Worlds where clocks part by less than a process notices: the most units beyond the limit, in seconds of its rate, and
 * units that passed against the rule.
 */
function runUnsteady(engine: SliceEngine, worlds: number): { most: number; broken: number } {
  let most = 0;
  let broken = 0;
  for (let number = 0; number < worlds; number++) {
    const random = new Random(seed + number);
    const [spec, bucket] = anyWorld(engine, random, smallJolts);
    const outcome = new World(engine, random, spec).run();
    const [units] = over(outcome, bucket, []);
    most = Math.max(most, units! / bucket.rate);
    broken += againstTheRule(outcome, bucket);
  }
  return { most, broken };
}

/** The first of so many worlds under two limits in which more passes than one of them lets pass. */
function firstBrokenOfTwo(engine: SliceEngine, worlds: number): object | undefined {
  for (let number = 0; number < worlds; number++) {
    const random = new Random(seed + number);
    const [spec, first] = anyWorld(engine, random, jolts);
    const second = { ...first, rate: first.rate * 2, burst: Math.ceil(first.burst / 2) };
    const limits = [...spec.limits, engine.tokenBucket({ name: 'second', ...second })];
    const outcome = new World(engine, random, { ...spec, limits }).run();
    const overs = [first, second].map((bucket) => over(outcome, bucket, [])[0]!);
    if (Math.max(...overs) > 0) {
      return { world: seed + number, overs };
    }
  }
  return undefined;
}

interface Windows {
  /** The first world in which a window, as the server's clock shows it, counts more than its limit and the late units. */
  readonly broken: object | undefined;
  readonly local: number;
}

/** Worlds under a window, whose processes stand still or whose server's clock steps. */
function runWindows(
  engine: SliceEngine,
  worlds: number,
  stepsOf: (random: Random) => number,
): Windows {
  let local = 0;
  for (let number = 0; number < worlds; number++) {
    const random = new Random(seed + number);
    const us = stepsOf(random);
    const [spec, { rate }] = anyWorld(engine, random, us === 0 ? jolts : () => []);
    const limits = [engine.fixedWindow({ rate, period: 1 })];
    const steps = us === 0 ? [] : [{ at: random.int(SECOND / 2, LASTS), us }];
    const { passed } = new World(engine, random, { ...spec, limits, steps }).run();
    const windows = new Map<string, number>();
    for (const { at, units, isLate, isLocal } of passed) {
      local += isLocal ? 1 : 0;
      const isAfter = steps.some((step) => at - START >= step.at);
      const window = `${isAfter} ${Math.floor((at + (isAfter ? us : 0)) / SECOND)}`;
      windows.set(window, (windows.get(window) ?? 0) + (isLate ? 0 : units));
    }
    const most = Math.max(...windows.values());
    if (most > rate) {
      return { broken: { world: seed + number, most, rate }, local };
    }
  }
  return { broken: undefined, local };
}

/** Units beyond the limit in a time between two steps of the server's clock. */
function over({ passed }: Outcome, bucket: Bucket, steps: readonly number[]): readonly number[] {
  const { p, n } = spacingOf(bucket.rate, bucket.period * SECOND);
  const limit = { p: BigInt(p), n: BigInt(n), burst: BigInt(bucket.burst) };
  return [...steps, Infinity].map((end, i) => {
    const begin = steps[i - 1] ?? Number.NEGATIVE_INFINITY;
    const within = passed.filter(({ at }) => at - START >= begin && at - START < end);
    return mostOver(within, limit);
  });
}

/** Units of slices that passed against the rule, as the server's clock shows it, though their process could know. */
function againstTheRule({ passed }: Outcome, { rate, period, burst }: Bucket): number {
  const { p, n } = spacingOf(rate, period * SECOND);
  const broken = passed.filter(({ mark, units, shown, isLate }) => {
    if (mark === undefined || isLate) {
      return false;
    }
    const begins = BigInt(mark.int) * BigInt(n) + BigInt(mark.rem);
    const now = BigInt(shown) * BigInt(n);
    const ends = begins + BigInt(units) * BigInt(p);
    return begins < now || ends > now + BigInt(burst) * BigInt(p);
  });
  return broken.reduce((sum, { units }) => sum + units, 0);
}

/** The first of so many worlds whose processes stop or have their clocks set, in which something passes that should not. */
function firstBrokenByJolts(engine: SliceEngine, worlds: number): object | undefined {
  for (let number = 0; number < worlds; number++) {
    const random = new Random(seed + number);
    const [spec, bucket] = anyWorld(engine, random, jolts);
    const outcome = new World(engine, random, spec).run();
    const [units] = over(outcome, bucket, []);
    const broken = againstTheRule(outcome, bucket);
    if (units! > 0 || broken > 0) {
      return { world: seed + number, over: units, broken };
    }
  }
  return undefined;
}

interface Stepped {
  readonly late: number;
  readonly local: number;
}

/**
 * Runs worlds in which the server's clock steps, and tells the first that breaks the bound: between two steps no more
 * passes than the limit lets pass and the units that were out, spent by processes that had not heard of the step.
 */
function runSteps(engine: SliceEngine, worlds: number): Stepped & { broken: object | undefined } {
  let late = 0;
  let local = 0;
  for (let number = 0; number < worlds; number++) {
    const random = new Random(seed + number);
    const [spec, bucket] = anyWorld(engine, random, () => []);
    const by = [1, 2].map(() => random.pick([-1, 1]) * random.int(2 * SECOND, 3_600 * SECOND));
    const steps = by
      .map((us) => ({ at: random.int(SECOND / 2, LASTS), us }))
      .toSorted((a, b) => a.at - b.at);
    const outcome = new World(engine, random, { ...spec, steps }).run();
    const lates = outcome.passed.filter(({ isLate }) => isLate);
    late += lates.length;
    local += outcome.passed.filter(({ isLocal }) => isLocal).length;
    const ends = steps.map(({ at }) => at);
    const excess = over(outcome, bucket, ends).map((units, i) => {
      const [begin = -Infinity, end = Infinity] = [ends[i - 1], ends[i]];
      const within = lates.filter(({ at }) => at - START >= begin && at - START < end);
      return units - within.reduce((sum, each) => sum + each.units, 0);
    });
    const heldUs = (MOST_HELD_MS + spec.aheadMs) * 1_000;
    const longLate = lates.filter(({ at }) =>
      ends.every((step) => at - START < step || at - START > step + 1.1 * heldUs),
    );
    const broken = againstTheRule(outcome, bucket);
    if (Math.max(...excess) > 0 || broken > 0 || longLate.length > 0) {
      const why = { world: seed + number, excess, broken, longLate: longLate.length };
      return { late, local, broken: why };
    }
  }
  return { late, local, broken: undefined };
}

const JOLT_MUTANTS: Readonly<Record<string, Mutant>> = {
  'nothing is dropped after a process stood still': {
    file: 'stores/clock-anchor.ts',
    replaces: '- this.#knownLead) > PARTED_MS',
    by: '- this.#knownLead) > 1e9',
  },
  'the answer to a call from before is used': {
    file: 'stores/clock-anchor.ts',
    replaces: 'const isUsable = sent > this.#droppedAt;',
    by: 'const isUsable = sent > -1;',
  },
  'only the anchors are dropped, and no slices': {
    file: 'stores/clock-anchor.ts',
    replaces: 'forget();',
    by: 'void forget;',
  },
};

const STEP_MUTANTS: Readonly<Record<string, Mutant>> = {
  'no reply shows that a clock stepped': {
    file: 'stores/clock-anchor.ts',
    replaces: 'later.now >= this.earliest(later.sent) - STEP_US &&',
    by: 'later.now >= 0 || (later.now >= this.earliest(later.sent) - STEP_US) &&',
  },
  'only a clock that was set back is noticed': {
    file: 'stores/clock-anchor.ts',
    replaces: 'later.now <= this.latest(later.heard) + STEP_US',
    by: 'later.now <= this.latest(later.heard) + 1e12',
  },
  'the answer to a call from before is used':
    JOLT_MUTANTS['the answer to a call from before is used']!,
};

describe(`slices and clocks, in simulated time (DRL_SEED=${seed} repeats this run)`, async () => {
  const engine = await loadSliceEngine();

  test('never let more pass than the limit where processes stand still and their clocks are set', () => {
    expect(firstBrokenByJolts(engine, CASES)).toBeUndefined();
  });

  test.each(Object.entries(JOLT_MUTANTS))(
    'let units pass that are due no more if %s',
    async (_, mutant) => {
      expect(firstBrokenByJolts(await loadMutant(mutant), 200)).toBeDefined();
    },
  );

  test('never let more pass than either of two limits where clocks part', () => {
    expect(firstBrokenOfTwo(engine, CASES)).toBeUndefined();
  });

  test('let pass at most what recovers in a tenth of a second where clocks part too little to be noticed', () => {
    const { most, broken } = runUnsteady(engine, CASES);
    expect(most).toBeLessThanOrEqual(0.1);
    expect(broken, 'units that pass too early or too late').toBeGreaterThan(0);
  });

  test.each([
    ['processes stand still', () => 0],
    [
      'the clock of the server steps',
      (random: Random) => random.pick([-1, 1]) * random.int(2, 3_600) * SECOND,
    ],
  ] as const)('count no more in a window than its limit where %s', (_, stepsOf) => {
    const { broken, local } = runWindows(engine, CASES, stepsOf);
    expect(broken).toBeUndefined();
    expect(local).toBeGreaterThan(CASES);
  });

  test('let pass, after the clock of the server stepped, the limit and the units that were out', () => {
    const { broken, late, local } = runSteps(engine, CASES);
    expect(broken).toBeUndefined();
    expect(late, 'processes spend before they hear of a step').toBeGreaterThan(0);
    expect(local).toBeGreaterThan(10 * late);
  });

  test.each(Object.entries(STEP_MUTANTS))(
    'let units pass by the old clock if %s',
    async (_, mutant) => {
      expect(runSteps(await loadMutant(mutant), 200).broken).toBeDefined();
    },
  );
});
