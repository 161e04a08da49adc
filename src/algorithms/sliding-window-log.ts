import { isMarked, mark as brand } from '../base/copies.ts';
import type { Duration } from '../base/duration.ts';
import { SLIDING_WINDOW_LOG } from '../options/option-sets.ts';
import { counting } from './counting.ts';
import type { CountingPlan } from './counting.ts';
import { FIRST_INEXACT, JITTER } from './limit.ts';
import type { Algorithm, AnyLimit, Limit, LimitOptions, Encoded, State, Verdict } from './limit.ts';
import { WindowLimit } from './window-limit.ts';

/** The numbers of a sliding window log. */
export interface SlidingWindowLogOptions<
  By extends string = never,
  Unit extends string = never,
> extends LimitOptions<By, Unit> {
  /** Units allowed per period: a whole number from 0 to 1,000,000,000. Under 0 nothing passes. Every instant of one period at which calls passed is stored. */
  rate: number;
  /** The length of the windows in which the limit holds: `'1m'`, or a number of seconds; from 1 ms to 366 days. */
  period: Duration | number;
}

const NEVER = -FIRST_INEXACT;
const REBASE_FROM = FIRST_INEXACT / 2;
/** Most entries that a refund rewrites. */
const MAX_REWRITTEN = 200;
/** Expired entries below this number are left in the array: removing them would move all others. */
const WORTH_MOVING = 64;

export interface SlidingWindowLogPlan extends CountingPlan {
  /** Microseconds. */
  readonly period: number;
}

/** The charges of one instant. */
export interface Charge {
  readonly at: number;
  /** The log's running total, up to and including this instant. */
  sum: number;
  cost: number;
}

/** A memory store's value in place of Redis's sorted set. Only `save` changes it. */
export class Log {
  /** Entries before `first` have expired. */
  entries: Charge[] = [];
  first = 0;
  offset = 0;
  recent = 0;
  earlier = 0;
  since = 0;
}

const LOG = Symbol.for('distributed-rate-limiter.Log');
brand(Log.prototype, LOG);

interface Window {
  /** The running total before the window. */
  readonly before: number;
  /** The first entry of the window; zeros if it has none. */
  readonly sum: number;
  readonly at: number;
}

interface SlidingWindowLogState extends State {
  readonly log: Log;
  offset: number;
  recent: number;
  earlier: number;
  since: number;
  /** The running total. */
  sum: number;
  lastAt: number;
  /** `tail` replaces the stored entries from this index on. */
  cut: number;
  tail: Charge[];
  /** Windows already computed, by period. */
  windows: Map<number, Window>;
  /** The log's time now. */
  clock: number;
  /** The instant of a charge made now: never before the last entry. */
  at: number;
}

/** Binary search: the first of low..high for which `holds` is true, if it is then true for all that follow; else high + 1. */
function firstThat(low: number, high: number, holds: (index: number) => boolean): number {
  let [from, to] = [low, high];
  while (from <= to) {
    const middle = Math.floor((from + to) / 2);
    if (holds(middle)) {
      to = middle - 1;
    } else {
      from = middle + 1;
    }
  }
  return from;
}

/** Copies the stored entries of `from` and later into `tail`, to be rewritten. */
function pull(state: SlidingWindowLogState, from: number): void {
  const { entries, first } = state.log;
  const index = firstThat(first, state.cut - 1, (i) => entries[i]!.at >= from);
  const pulled = entries.slice(index, state.cut).map((entry) => ({ ...entry }));
  state.tail = [...pulled, ...state.tail];
  state.cut = index;
}

/** Whether so many entries follow a charge that rewriting them would hold Redis for too long. */
function isFarBack(
  { log: { entries, first }, cut, tail }: SlidingWindowLogState,
  mark: number,
): boolean {
  const index = firstThat(first, cut - 1, (i) => entries[i]!.at >= mark);
  return cut - index + tail.length > MAX_REWRITTEN;
}

/** Restarts the running totals before they become inexact: once per 2^52 units, so its cost does not matter. */
function rebase(state: SlidingWindowLogState): SlidingWindowLogState {
  pull(state, 0);
  const gone = state.tail[0]!.sum - state.tail[0]!.cost;
  for (const entry of state.tail) {
    entry.sum -= gone;
  }
  state.sum -= gone;
  state.changed = true;
  return state;
}

/** The plan's window now: the running total before it, and its first entry. */
function look(state: SlidingWindowLogState, plan: SlidingWindowLogPlan, now: number): Window {
  const known = state.windows.get(plan.period);
  if (known !== undefined) {
    return known;
  }
  const ahead = state.lastAt - now - state.offset;
  if (ahead > JITTER) {
    state.offset += ahead;
    state.changed = true;
  }
  state.clock = now + state.offset;
  state.at = Math.max(state.clock, state.lastAt);
  let window: Window = { before: state.sum, sum: 0, at: 0 };
  const start = state.at - plan.period;
  if (state.lastAt > start) {
    const {
      log: { entries, first },
      cut,
      tail,
    } = state;
    const index = firstThat(first, cut - 1, (i) => entries[i]!.at > start);
    const { at, sum, cost } =
      index < cut
        ? entries[index]!
        : tail[firstThat(0, tail.length - 1, (i) => tail[i]!.at > start)]!;
    window = { before: sum - cost, sum, at };
  }
  state.windows.set(plan.period, window);
  return window;
}

function counted(state: SlidingWindowLogState, plan: SlidingWindowLogPlan, now: number): number {
  return state.sum - look(state, plan, now).before;
}

function take(state: SlidingWindowLogState, plan: SlidingWindowLogPlan, units: number): void {
  const { at } = state;
  if (at - state.since >= Math.max(state.recent, state.earlier)) {
    state.earlier = state.recent;
    state.recent = plan.period;
    state.since = at;
  } else if (plan.period > state.recent) {
    state.recent = plan.period;
  }
  if (state.lastAt === at) {
    pull(state, at);
  }
  const last = state.tail.at(-1);
  state.sum += units;
  if (last !== undefined && last.at === at) {
    last.sum = state.sum;
    last.cost += units;
  } else {
    state.tail.push({ at, sum: state.sum, cost: units });
  }
  state.lastAt = at;
  state.changed = true;
}

/** The entry whose leaving makes the cost fit: the first whose running total reaches `target`. */
function leaves(state: SlidingWindowLogState, plan: SlidingWindowLogPlan, window: Window): number {
  const target = state.sum + plan.cost - plan.rate;
  if (window.sum >= target) {
    return window.at;
  }
  const {
    log: { entries, first },
    cut,
    tail,
  } = state;
  if (target > state.sum) {
    return state.lastAt;
  }
  if (tail.length > 0 && target > tail[0]!.sum - tail[0]!.cost) {
    return tail[firstThat(0, tail.length - 1, (i) => tail[i]!.sum >= target)]!.at;
  }
  return entries[firstThat(first, cut - 1, (i) => entries[i]!.sum >= target)]!.at;
}

const RECEIPT = /^\d{1,16}$/;

const slidingWindowLogTwin: Algorithm<SlidingWindowLogPlan, SlidingWindowLogState, number> = {
  ...counting(counted, take),

  load(value) {
    if (value !== undefined && !isMarked(value, LOG)) {
      return undefined;
    }
    const log = (value as Log | undefined) ?? new Log();
    const last = log.entries.at(-1);
    const state: SlidingWindowLogState = {
      log,
      offset: log.offset,
      recent: log.recent,
      earlier: log.earlier,
      since: log.since,
      sum: last?.sum ?? 0,
      lastAt: last?.at ?? NEVER,
      cut: log.entries.length,
      tail: [],
      windows: new Map(),
      clock: 0,
      at: 0,
      changed: false,
    };
    return state.sum < REBASE_FROM ? state : rebase(state);
  },

  judge(state, plan, now) {
    const used = counted(state, plan, now);
    if (used > 0 && plan.period > state.recent) {
      state.recent = plan.period;
      state.changed = true;
    }
    return used + plan.cost <= plan.rate;
  },

  /**
   * `mark`: the instant of the charge. The running totals of all later entries change, so nothing is given back for a
   * charge that too many others followed.
   */
  refund(state, plan, mark) {
    const charged = Number(mark);
    if (charged <= state.at - plan.period || isFarBack(state, charged)) {
      return;
    }
    pull(state, charged);
    const { log, tail } = state;
    const found = firstThat(0, tail.length - 1, (i) => tail[i]!.at >= charged);
    const entry = tail[found];
    if (entry === undefined || entry.at !== charged) {
      return;
    }
    const units = Math.min(plan.cost, entry.cost);
    for (let i = found; i < tail.length; i++) {
      tail[i]!.sum -= units;
    }
    entry.cost -= units;
    state.sum -= units;
    state.windows.clear();
    state.changed = true;
    if (entry.cost > 0) {
      return;
    }
    tail.splice(found, 1);
    if (found === tail.length) {
      // The log's time continues from where it was, not from the previous entry.
      state.offset += state.at - state.clock;
      state.lastAt =
        tail.at(-1)?.at ?? (state.cut > log.first ? log.entries[state.cut - 1]!.at : NEVER);
    }
  },

  /** The instant of the charge. */
  receipt: ({ lastAt }) => String(lastAt),

  parse: (receipt) => (RECEIPT.test(receipt) ? Number(receipt) : undefined),

  restore(state, plan, mark, units, now) {
    slidingWindowLogTwin.refund(state, { ...plan, cost: units }, String(mark), now);
  },

  answer(state, plan, passes, now) {
    const window = look(state, plan, now);
    const used = state.sum - window.before;
    const first = passes ? used : -1 - used;
    const rests = used > 0 ? state.lastAt + plan.period - state.clock : 0;
    if (passes) {
      return [first, rests, state.offset];
    }
    const opens = used > 0 ? leaves(state, plan, window) + plan.period - state.clock : 0;
    return [first, rests, opens];
  },

  encode(
    { log, offset, recent, earlier, since, lastAt, clock, at, cut, tail },
    now,
  ): Encoded | undefined {
    const horizon = Math.max(recent, earlier);
    if (lastAt <= at - horizon) {
      return undefined; // a refund has emptied the log
    }
    const { entries } = log;
    entries.length = cut;
    for (const entry of tail) {
      entries.push(entry);
    }
    Object.assign(log, { offset, recent, earlier, since });
    while (entries[log.first]!.at <= at - horizon) {
      log.first += 1;
    }
    if (log.first >= WORTH_MOVING && 2 * log.first >= entries.length) {
      entries.splice(0, log.first);
      log.first = 0;
    }
    return { value: log, rests: now + (lastAt + horizon - clock) };
  },

  read({ rate }, reply, at): Verdict {
    const refused = reply[at]! < 0;
    const used = refused ? -1 - reply[at]! : reply[at]!;
    return {
      refused,
      remaining: Math.max(0, rate - used),
      over: Math.max(0, used - rate),
      resetUs: reply[at + 1]!,
      retryUs: refused ? reply[at + 2]! : 0,
    };
  },

  /** The instants at which units leave are not in an answer, but for the one that lets its own cost pass. */
  later({ rate, cost }, told, reply, at, age) {
    const refused = reply[at]! < 0;
    const used = refused ? -1 - reply[at]! : reply[at]!;
    const rests = reply[at + 1]! - age;
    if (used + cost <= rate) {
      return rests > 0 ? [used, rests, 0] : [0, 0, 0];
    }
    const opens = reply[at + 2]! - age;
    return refused && cost === told.cost && opens > 0 ? [-1 - used, rests, opens] : undefined;
  },

  // The answer says when the charge expires, by Redis's clock, and how far the log's own time is ahead of that clock.
  mark: ({ period }, reply, at, now) => String(now + reply[at + 1]! + reply[at + 2]! - period),
};

function slidingWindowLogPlan(
  rate: number,
  period: number,
  maxDebt: number,
  cost: number,
): SlidingWindowLogPlan {
  return {
    cost,
    width: 3,
    args: ['sliding_window_log', ...[period, rate, rate + maxDebt, cost].map(String)],
    period,
    rate,
    ceiling: rate + maxDebt,
  };
}

class SlidingWindowLog extends WindowLimit {
  readonly algorithm = 'sliding_window_log';
  readonly twin: Algorithm = slidingWindowLogTwin;

  constructor(options: SlidingWindowLogOptions<string, string>) {
    super(SLIDING_WINDOW_LOG, options);
    Object.freeze(this);
  }

  plan(cost: number): SlidingWindowLogPlan {
    return slidingWindowLogPlan(this.rate, this.windowMs * 1_000, this.maxDebt, cost);
  }
}

/**
 * Exactly at most `rate` units in any window of `period`, wherever it begins. Every instant at which calls passed is
 * stored for a period, in about 110 bytes of Redis's memory, for any cost. For small, strict limits: a token bucket or a
 * sliding window needs only one number or two.
 *
 * A unit counts until exactly `period` after it passed. A refund, or a settlement below its estimate, gives nothing back
 * for a charge that was followed by charges at 200 later instants: Redis would have to rewrite them all.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * slidingWindowLog({ name: 'password-resets', rate: 5, period: '1h' });
 */
export function slidingWindowLog<
  const By extends string = never,
  const Unit extends string = never,
>(options: SlidingWindowLogOptions<By, Unit>): Limit<string, By, Unit> {
  return new SlidingWindowLog(options) as AnyLimit as Limit<string, By, Unit>;
}
