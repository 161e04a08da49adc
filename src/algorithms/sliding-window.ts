import type { Duration } from '../base/duration.ts';
import { SLIDING_WINDOW } from '../options/option-sets.ts';
import { counting } from './counting.ts';
import type { CountingPlan } from './counting.ts';
import { FIRST_INEXACT, JITTER } from './limit.ts';
import { windowSlicing } from './slicing.ts';
import type { Algorithm, AnyLimit, Limit, LimitOptions, Encoded, State, Verdict } from './limit.ts';
import { WindowLimit } from './window-limit.ts';

/** The numbers of a sliding window. */
export interface SlidingWindowOptions<
  By extends string = never,
  Unit extends string = never,
> extends LimitOptions<By, Unit> {
  /** Units allowed per period: a whole number from 0 to 1,000,000,000. Under 0 nothing passes. */
  rate: number;
  /** The length of the window: `'1m'`, or a number of seconds; from 1 ms to 366 days. */
  period: Duration | number;
}

/** Most periods with a window on one key. A further one evicts the one charged least recently. */
const MAX_PERIODS = 4;

interface SlidingWindowPlan extends CountingPlan {
  /** Microseconds. */
  readonly period: number;
  /** A window is divided into `steps` steps of `step` microseconds, so that products stay exact. */
  readonly steps: number;
  readonly step: number;
}

interface Window {
  period: number;
  /** Whole periods between the epoch and its start. */
  index: number;
  /** Units used in the previous window. */
  before: number;
  used: number;
}

interface SlidingWindowState extends State {
  windows: Window[];
  /** Scratch of `judge`: the current window of the plan's own period, and how much of it has passed. */
  mine: Window & { gone: number };
}

/** The window at `now`, and how much of it has passed. */
function roll(window: Window, now: number): Window & { gone: number } {
  const { period, before, used } = window;
  const gone = now % period;
  const index = (now - gone) / period;
  if (window.index > index) {
    const ahead = window.index * period - now;
    return ahead <= JITTER
      ? { period, index: window.index, before, used, gone: -ahead }
      : { period, index, before, used, gone };
  }
  if (window.index === index) {
    return { period, index, before, used, gone };
  }
  return window.index === index - 1
    ? { period, index, before: used, used: 0, gone }
    : { period, index, before: 0, used: 0, gone };
}

/** What a period that is new to this key inherits from the counters of other periods: a proportional part of longer ones. */
function inherited(windows: readonly Window[], plan: SlidingWindowPlan, now: number): number {
  let most = 0;
  for (const window of windows) {
    const { period } = window;
    const { before, used } = roll(window, now);
    let units = before + used;
    if (period > plan.period) {
      units = Math.ceil(units / Math.floor(period / plan.period));
    }
    most = Math.max(most, units);
  }
  return Math.min(most, plan.rate);
}

/** The texts of a state's windows; one that matches nothing if the value is not a state. */
function windowsIn(value: unknown): readonly string[] {
  return typeof value === 'string' ? (STATE.exec(value)?.[1] ?? '').split(',') : [''];
}

const RECEIPT = /^(\d+):(\d+)$/;
const WINDOW = /^(\d+):(\d+):(\d+):(\d+)$/;
const STATE = /^\d+:(.*)$/;

/** How many steps of the previous window the last `period` still covers. */
function leftOf(gone: number, { step, steps }: SlidingWindowPlan): number {
  return gone > 0 ? steps - Math.floor(gone / step) : steps;
}

/** Units used: this window's, and the part of the previous window's that still counts. */
function counted(
  { mine: { before, used, gone } }: SlidingWindowState,
  plan: SlidingWindowPlan,
): number {
  return used + Math.ceil((before * leftOf(gone, plan)) / plan.steps);
}

/** Counts the units in this window, and in the windows of other periods that still count. */
function take(
  state: SlidingWindowState,
  plan: SlidingWindowPlan,
  units: number,
  now: number,
): void {
  const { gone: _gone, ...mine } = state.mine;
  state.mine.used = mine.used += units;
  const windows = [mine];
  for (const window of state.windows) {
    if (window.period !== plan.period && windows.length < MAX_PERIODS) {
      const { gone: _, ...other } = roll(window, now);
      if (other.before + other.used > 0) {
        windows.push({ ...other, used: other.used + units });
      }
    }
  }
  state.windows = windows;
  state.changed = true;
}

const countSteps = counting(counted, take);

const slidingWindowTwin: Algorithm<
  SlidingWindowPlan,
  SlidingWindowState,
  ReadonlyMap<number, number>
> = {
  letter: 's',
  ...countSteps,

  load(value) {
    const windows: Window[] = [];
    for (const part of value === undefined ? [] : windowsIn(value)) {
      const fields = WINDOW.exec(part);
      if (fields === null || windows.length === MAX_PERIODS) {
        return undefined;
      }
      const [period, index, before, used] = fields.slice(1).map(Number) as [
        number,
        number,
        number,
        number,
      ];
      const forgottenAt = (index + 2) * period;
      if (
        period < 1 ||
        [period, forgottenAt, before, used].some((number) => number >= FIRST_INEXACT)
      ) {
        return undefined;
      }
      if (windows.some((other) => other.period === period)) {
        return undefined;
      }
      windows.push({ period, index, before, used });
    }
    return { windows, mine: { period: 0, index: 0, before: 0, used: 0, gone: 0 }, changed: false };
  },

  judge(state, plan, now) {
    const { period, rate, steps, cost } = plan;
    const stored = state.windows.find((window) => window.period === period);
    if (stored === undefined) {
      const gone = now % period;
      const used = inherited(state.windows, plan, now);
      state.mine = { period, index: (now - gone) / period, before: 0, used, gone };
    } else {
      state.mine = roll(stored, now);
      if (state.mine.index < stored.index) {
        stored.index = state.mine.index; // the clock stepped back: counted units count from now on
        state.changed = true;
      }
    }
    const { before, used, gone } = state.mine;
    return before * leftOf(gone, plan) + (used + cost) * steps <= rate * steps;
  },

  /** `mark`: the index of the charged window. */
  refund(state, plan, mark, now) {
    const { mine } = state;
    const charged = Number(mark);
    const counter =
      mine.index === charged ? 'used' : mine.index === charged + 1 ? 'before' : undefined;
    if (counter !== undefined && mine[counter] > 0) {
      mine[counter] = Math.max(0, mine[counter] - plan.cost);
      take(state, plan, 0, now);
    }
  },

  /** The windows that counted the charge. */
  receipt: ({ windows }) => windows.map(({ period, index }) => `${period}:${index}`).join(','),

  /** Period -> index of the charged window. */
  parse(receipt) {
    const parts = receipt.split(',').map((part) => RECEIPT.exec(part));
    return parts.includes(null)
      ? undefined
      : new Map(parts.map((fields) => [Number(fields![1]), Number(fields![2])]));
  },

  restore(state, _plan, charged, units, now) {
    for (const window of state.windows) {
      const { gone: _gone, ...rolled } = roll(window, now);
      const mark = charged.get(window.period) ?? Number.NaN;
      const counter =
        rolled.index === mark ? 'used' : rolled.index === mark + 1 ? 'before' : undefined;
      if (counter !== undefined && rolled[counter] > 0) {
        rolled[counter] = Math.max(0, rolled[counter] - units);
        Object.assign(window, rolled);
        state.changed = true;
      }
    }
  },

  /** Gives back the newest units first: they count longest. */
  credit(state, _plan, units, now) {
    for (const window of state.windows) {
      const { gone: _gone, ...rolled } = roll(window, now);
      if (rolled.before + rolled.used > 0) {
        const newest = Math.min(units, rolled.used);
        rolled.used -= newest;
        rolled.before = Math.max(0, rolled.before - (units - newest));
        Object.assign(window, rolled);
        state.changed = true;
      }
    }
  },

  slicing: windowSlicing<SlidingWindowPlan, SlidingWindowState>(countSteps, ({ mine }, now) => ({
    length: mine.period,
    stops: now - mine.gone + mine.period,
  })),

  answer({ mine: { before, used, gone } }, _plan, passes) {
    return [passes ? before : -1 - before, used, gone];
  },

  encode({ windows }, now): Encoded {
    const rests = Math.max(now, ...windows.map((w) => (w.index + (w.used > 0 ? 2 : 1)) * w.period));
    const texts = windows.map((w) => `${w.period}:${w.index}:${w.before}:${w.used}`);
    return { value: `${rests}:${texts.join(',')}`, rests };
  },

  read(plan, reply, at): Verdict {
    const refused = reply[at]! < 0;
    const before = refused ? -1 - reply[at]! : reply[at]!;
    const used = reply[at + 1]!;
    const gone = reply[at + 2]!;
    const { period, rate, steps, cost } = plan;
    const counts = used + Math.ceil((before * leftOf(gone, plan)) / steps);
    return {
      refused,
      remaining: Math.max(0, rate - counts),
      over: Math.max(0, counts - rate),
      resetUs: used > 0 ? 2 * period - gone : before > 0 ? period - gone : 0,
      retryUs: refused ? opens(plan, before, used, rate - cost) - gone : 0,
    };
  },

  later(plan, _told, reply, at, age) {
    const { period, rate, steps, cost } = plan;
    const first = reply[at]!;
    let before = first < 0 ? -1 - first : first;
    let used = reply[at + 1]!;
    let gone = reply[at + 2]! + age;
    if (gone >= period) {
      before = gone < 2 * period ? used : 0;
      used = 0;
      gone %= period;
    }
    const passes = before * leftOf(gone, plan) + (used + cost) * steps <= rate * steps;
    return [passes ? before : -1 - before, used, gone];
  },

  kind: ({ period }) => String(period),

  mark: ({ period }, reply, at, now) => String((now - reply[at + 2]!) / period),
};

/** The time from the start of this window until at most `room` units count, so that this plan's cost fits again. */
function opens(
  { period, steps, step }: SlidingWindowPlan,
  before: number,
  used: number,
  room: number,
): number {
  // The counter that fades: the previous window's, or this one's once the window is over.
  const [fading, start, kept] = used <= room ? [before, 0, used] : [used, period, 0];
  const faded = fading === 0 ? steps : steps - Math.floor(((room - kept) * steps) / fading);
  return start + Math.min(period, Math.max(0, faded) * step);
}

function slidingWindowPlan(
  rate: number,
  period: number,
  maxDebt: number,
  cost: number,
): SlidingWindowPlan {
  // 2 · (rate + maxDebt) · steps stays below 2^53; the product itself may exceed it.
  const step = Number(
    (BigInt(period) * 2n * BigInt(Math.max(rate + maxDebt, 1)) + BigInt(FIRST_INEXACT - 2)) /
      BigInt(FIRST_INEXACT - 1),
  );
  const steps = Math.ceil(period / step);
  return {
    cost,
    width: 3,
    args: ['sliding_window', ...[period, step, steps, rate, rate + maxDebt, cost].map(String)],
    period,
    step,
    steps,
    rate,
    ceiling: rate + maxDebt,
  };
}

class SlidingWindow extends WindowLimit {
  readonly algorithm = 'sliding_window';
  readonly twin: Algorithm = slidingWindowTwin;

  constructor(options: SlidingWindowOptions<string, string>) {
    super(SLIDING_WINDOW, options);
    Object.freeze(this);
  }

  plan(cost: number): SlidingWindowPlan {
    return slidingWindowPlan(this.rate, this.windowMs * 1_000, this.maxDebt, cost);
  }
}

/**
 * At most about `rate` units in any window of `period`. Units used in the previous window count in proportion to how
 * much of it the last `period` still covers, as if they had been spread evenly. If they were not, a window may hold more,
 * but never `2 · rate`; `docs/which-limit.md` has the measured error. Two counters per identity.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * slidingWindow({ name: 'hourly', rate: 1_000, period: '1h' });
 */
export function slidingWindow<const By extends string = never, const Unit extends string = never>(
  options: SlidingWindowOptions<By, Unit>,
): Limit<string, By, Unit> {
  return new SlidingWindow(options) as AnyLimit as Limit<string, By, Unit>;
}
