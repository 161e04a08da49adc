import assert from 'node:assert/strict';
import type * as Front from '../../../src/index.ts';
import type { Random } from '../random.mjs';

/** The library, from the sources or from a mutant of them. */
export type CreditEngine = Pick<
  typeof Front,
  'RateLimiter' | 'MemoryStore' | 'tokenBucket' | 'fixedWindow' | 'slidingWindow'
>;

/** Loads the library from a folder that is laid out like `src`. */
export async function loadCreditEngine(folder: string): Promise<CreditEngine> {
  return (await import(/* @vite-ignore */ `${folder}/index.ts`)) as CreditEngine;
}

const PERIOD = 12_000_000;
const START = Date.UTC(2026, 0, 1) * 1_000;

/** Units that passed, or that a gift made free, at an instant. */
interface Step {
  readonly at: number;
  readonly units: number;
}

/** How often traces have seen what they are about. */
export function noCreditSeen() {
  return { calls: 0, gifts: 0, cut: 0, inDebt: 0, refunds: 0 };
}

/**
 * Random calls and gifts over time under one limit. A gift never leaves more than full, frees as many units as it says
 * and are missing, pays debts first, and never lets more pass than the limit and the gifts together.
 */
export async function checkCredits(
  engine: CreditEngine,
  random: Random,
  seen: ReturnType<typeof noCreditSeen>,
): Promise<void> {
  const kind = random.pick(['tokenBucket', 'fixedWindow', 'slidingWindow'] as const);
  const rate = random.pick([12, 4, 24]);
  const maxDebt = random.pick([0, 6]);
  let now = START;
  const store = new engine.MemoryStore({ clock: { nowMicros: () => now } });
  const limits = [engine[kind]({ rate, period: '12s', maxDebt })];
  const limiter = new engine.RateLimiter({ store, limits });
  const passed: Step[] = [];
  const gifts: Step[] = [];
  const refundable: Front.Decision[] = [];
  /** What is left less what is owed. */
  const balance = async (): Promise<number> => {
    const { limit, used } = (await limiter.peek('a')).limits[0]!;
    return limit - used!;
  };
  for (const _ of random.steps(1, 40)) {
    now += random.pick([0, 0, 1, 1_000_000, 1_700_000, PERIOD / 2, PERIOD]);
    const what = random.pick(['allow', 'allow', 'allow', 'credit', 'penalize', 'refund'] as const);
    const units = random.int(1, rate);
    random.note(what, { units, now: now - START, kind });
    const before = await balance();
    if (what === 'allow') {
      const decision = await limiter.allow('a', { cost: units });
      assert.deepEqual({ passes: decision.allowed }, { passes: before >= units });
      seen.calls += 1;
      if (decision.allowed) {
        passed.push({ at: now, units });
        refundable.push(decision);
      }
    } else if (what === 'credit') {
      const { remaining } = await limiter.credit('a', units);
      const after = await balance();
      const full = Math.min(rate, before + units);
      // Units of the window before count in part, so a gift of them frees less.
      const least = kind === 'slidingWindow' ? before : full;
      assert.deepEqual({ isWithin: after >= least && after <= full }, { isWithin: true });
      assert.deepEqual({ remaining }, { remaining: Math.max(0, after) });
      gifts.push({ at: now, units: after - before });
      seen.gifts += 1;
      seen.cut += full < before + units ? 1 : 0;
      seen.inDebt += before < 0 ? 1 : 0;
    } else if (what === 'penalize') {
      await limiter.penalize('a', units);
    } else {
      const decision = refundable.pop();
      if (decision !== undefined) {
        await limiter.refund(decision);
        const back = (await balance()) - before;
        const isNoMore = back <= (decision.cost as number);
        assert.deepEqual({ isNoMore }, { isNoMore: true });
        gifts.push({ at: now, units: back });
        seen.refunds += 1;
      }
    }
    const left = await balance();
    assert.deepEqual({ isFull: left > rate }, { isFull: false });
    assertBound(kind, rate, passed, gifts, now);
  }
  // A gift leaves nothing behind that would count later.
  now += 4 * PERIOD;
  const { remaining, resetAfterMs } = await limiter.peek('a');
  assert.deepEqual({ remaining, resetAfterMs }, { remaining: rate, resetAfterMs: 0 });
}

function sum(steps: readonly Step[], from: number): number {
  return steps.filter(({ at }) => at >= from).reduce((units, step) => units + step.units, 0);
}

/** What passed since any instant is at most what the limit allows in that time, and the gifts of it. */
function assertBound(
  kind: 'tokenBucket' | 'fixedWindow' | 'slidingWindow',
  rate: number,
  passed: readonly Step[],
  gifts: readonly Step[],
  now: number,
): void {
  const starts = kind === 'tokenBucket' ? passed.map(({ at }) => at) : [now - (now % PERIOD)];
  for (const from of starts) {
    const recovered = kind === 'tokenBucket' ? (rate * (now - from)) / PERIOD : 0;
    const isWithin = sum(passed, from) <= rate + recovered + sum(gifts, from) + 1e-6;
    assert.deepEqual({ isBound: isWithin }, { isBound: true });
  }
}
