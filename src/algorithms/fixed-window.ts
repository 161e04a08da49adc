import type { Duration } from '../base/duration.ts';
import { FIXED_WINDOW } from '../options/option-sets.ts';
import { GivenOptions } from '../options/read-options.ts';
import { readCalendar, refuseCalendar } from './calendar-options.ts';
import { CALENDAR_UNITS } from './calendar.ts';
import type { Calendar, CalendarUnit, Weekday } from './calendar.ts';
import { counting } from './counting.ts';
import type { CountingPlan } from './counting.ts';
import { FIRST_INEXACT, JITTER, Limit, readPeriod, readRate } from './limit.ts';
import { windowSlicing } from './slicing.ts';
import type { Algorithm, AnyLimit, LimitOptions, Encoded, State, Verdict } from './limit.ts';

/** The numbers of a fixed window. */
export interface FixedWindowOptions<
  By extends string = never,
  Unit extends string = never,
> extends LimitOptions<By, Unit> {
  /**
   * Units allowed per window: a whole number from 0 to 999,999,999,999,999, so that money counts in small units. Under 0
   * nothing passes.
   */
  rate: number;
  /**
   * The length of a window, `'1m'` or a number of seconds, from 1 ms to 366 days: windows then begin at whole
   * multiples of it since the Unix epoch. Or a calendar unit, such as `'day'` or `'month'`, in `timeZone`.
   */
  period: Duration | number | CalendarUnit;
  /** Time zone of the calendar: an IANA name such as `'Europe/Berlin'`. Only with a calendar unit. Default `'UTC'`. */
  timeZone?: string;
  /**
   * A date in `timeZone` on which a window begins, such as the day from which a customer is billed: `'2026-01-15'`.
   * Months begin on its day, or on their last day if they are shorter; years on its day and month; weeks on its
   * weekday. The date may be in the past or in the future. Only with `'week'`, `'month'` or `'year'`. Default: weeks
   * begin on Monday, months on the 1st, years on 1 January.
   */
  anchor?: string;
  /** The day on which a week begins. Only with `'week'`, and without `anchor`. Default `'monday'`. */
  weekStart?: Weekday;
}

/** The greatest integer of a header field: RFC 9651, section 3.3.1. */
const MAX_RATE = 999_999_999_999_999;
/** A counter beyond its own rate, which other kinds of windows charge, stays here, so that it is exact. */
const MOST_USED = 2 ** 52;

/** Most kinds of windows with a counter on one key. A further one evicts the one charged least recently. */
const MAX_KINDS = 4;

interface FixedWindowPlan extends CountingPlan {
  readonly kind: string;
  /** Microseconds; undefined for calendar windows, which have bounds instead. */
  readonly period: number | undefined;
  readonly bounds: readonly number[];
}

interface Window {
  kind: string;
  /** Microseconds since the Unix epoch, as `stop`. */
  start: number;
  stop: number;
  used: number;
}

interface FixedWindowState extends State {
  windows: Window[];
  /** Scratch of `judge`: the current window of the plan's own kind. */
  mine: Window;
}

const SKEWED = "SKEWED The caller's clock is more than a whole window away from this server's";

/** This plan's window at the store's own time; undefined if the plan's bounds do not cover it. */
function windowAt(
  { period, bounds }: FixedWindowPlan,
  now: number,
): { start: number; stop: number } | undefined {
  if (period !== undefined) {
    const start = now - (now % period);
    return { start, stop: start + period };
  }
  const next = bounds.findIndex((bound) => now < bound);
  return next < 1 ? undefined : { start: bounds[next - 1]!, stop: bounds[next]! };
}

/** The count that a window kind new to this key inherits from other kinds: a proportional part of longer ones. */
function inherited(windows: readonly Window[], length: number, rate: number, now: number): number {
  let most = 0;
  for (const { start, stop, used } of windows) {
    if (now < stop) {
      const parts = Math.floor((stop - start) / length);
      most = Math.max(most, parts > 1 ? Math.ceil(used / parts) : used);
    }
  }
  return Math.min(most, rate);
}

const RECEIPT = /^([^:]+):(\d+)$/;
// No kind's name holds a control character, and Lua would write one differently.
// oxlint-disable-next-line no-control-regex
const WINDOW = /^([^:,;\x00-\x1f\x7f]+):(\d+)(?::(\d+)(?::(\d+))?)?$/;
const LENGTH = /^\d+$/;
const STATE = /^(\d+):(.*)$/;

const counted = ({ mine }: FixedWindowState): number => mine.used;

/** Counts the units in this window, and in the windows of other kinds that have not ended. */
function take(state: FixedWindowState, plan: FixedWindowPlan, units: number, now: number): void {
  state.mine.used += units;
  const windows = [{ ...state.mine }];
  for (const window of state.windows) {
    if (window.kind !== plan.kind && now < window.stop && windows.length < MAX_KINDS) {
      windows.push({ ...window, used: Math.min(window.used + units, MOST_USED) });
    }
  }
  state.windows = windows;
  state.changed = true;
}

const countSteps = counting(counted, take);

const fixedWindowTwin: Algorithm<FixedWindowPlan, FixedWindowState, ReadonlyMap<string, number>> = {
  letter: 'f',
  ...countSteps,

  failure: (plan, now) => (windowAt(plan, now) === undefined ? SKEWED : undefined),

  load(value) {
    const windows: Window[] = [];
    const [, rests, texts = ''] = (typeof value === 'string' && STATE.exec(value)) || [];
    for (const part of value === undefined ? [] : texts.split(',')) {
      const fields = WINDOW.exec(part);
      if (fields === null || windows.length === MAX_KINDS) {
        return undefined;
      }
      const kind = fields[1]!;
      const used = Number(fields[2]);
      const stop = Number(fields[4] ?? rests);
      const start = Number(fields[3] ?? (LENGTH.test(kind) ? stop - Number(kind) : -1));
      if (start < 0 || start >= stop || stop >= FIRST_INEXACT || used >= FIRST_INEXACT) {
        return undefined;
      }
      if (windows.some((other) => other.kind === kind)) {
        return undefined;
      }
      windows.push({ kind, start, stop, used });
    }
    return { windows, mine: { kind: '', start: 0, stop: 0, used: 0 }, changed: false };
  },

  judge(state, plan, now) {
    const { kind, rate, cost } = plan;
    const { start, stop } = windowAt(plan, now)!;
    const stored = state.windows.find((window) => window.kind === kind);
    if (stored === undefined) {
      state.mine = { kind, start, stop, used: inherited(state.windows, stop - start, rate, now) };
    } else {
      if (stored.start > now + JITTER) {
        // The clock stepped back: counted units count from now on.
        stored.start = start;
        stored.stop = stop;
        state.changed = true;
      }
      // A later start than the caller's comes from newer time zone data: follow it.
      state.mine = stored.start >= start ? { ...stored } : { kind, start, stop, used: 0 };
    }
    return state.mine.used + cost <= rate;
  },

  /** `mark`: the end of the charged window. */
  refund(state, plan, mark, now) {
    const { mine } = state;
    if (mine.stop === Number(mark) && mine.used > 0) {
      mine.used = Math.max(0, mine.used - plan.cost);
      take(state, plan, 0, now);
    }
  },

  /** The windows that counted the charge. */
  receipt: ({ windows }) => windows.map(({ kind, stop }) => `${kind}:${stop}`).join(','),

  /** Kind -> end of the charged window. */
  parse(receipt) {
    const parts = receipt.split(',').map((part) => RECEIPT.exec(part));
    return parts.includes(null)
      ? undefined
      : new Map(parts.map((fields) => [fields![1]!, Number(fields![2])]));
  },

  restore(state, _plan, charged, units, now) {
    for (const window of state.windows) {
      if (charged.get(window.kind) === window.stop && now < window.stop && window.used > 0) {
        window.used = Math.max(0, window.used - units);
        state.changed = true;
      }
    }
  },

  credit(state, _plan, units, now) {
    for (const window of state.windows) {
      if (now < window.stop && window.used > 0) {
        window.used = Math.max(0, window.used - units);
        state.changed = true;
      }
    }
  },

  slicing: windowSlicing<FixedWindowPlan, FixedWindowState>(countSteps, ({ mine }) => ({
    length: mine.stop - mine.start,
    stops: mine.stop,
  })),

  answer({ mine: { used, stop } }, _plan, passes, now) {
    return [passes ? used : -1 - used, stop - now];
  },

  encode({ windows }, now): Encoded {
    const rests = Math.max(now, ...windows.map(({ stop }) => stop));
    const texts = windows.map(({ kind, start, stop, used }) => {
      const bounds =
        stop !== rests ? `:${start}:${stop}` : Number(kind) !== stop - start ? `:${start}` : '';
      return `${kind}:${used}${bounds}`;
    });
    return { value: `${rests}:${texts.join(',')}`, rests };
  },

  read({ rate }, reply, at): Verdict {
    const refused = reply[at]! < 0;
    const used = refused ? -1 - reply[at]! : reply[at]!;
    const left = reply[at + 1]!;
    return {
      refused,
      remaining: Math.max(0, rate - used),
      over: Math.max(0, used - rate),
      resetUs: used > 0 ? left : 0,
      retryUs: refused ? left : 0,
    };
  },

  later({ rate, cost }, _told, reply, at, age) {
    const used = reply[at]! < 0 ? -1 - reply[at]! : reply[at]!;
    const left = reply[at + 1]! - age;
    return left > 0 ? [used + cost <= rate ? used : -1 - used, left] : undefined;
  },

  kind: ({ kind }) => kind,

  mark: (_plan, reply, at, now) => String(now + reply[at + 1]!),
};

class FixedWindow extends Limit {
  readonly algorithm = 'fixed_window';
  readonly twin: Algorithm = fixedWindowTwin;
  readonly rate: number;
  readonly #kind: string;
  readonly #period: number | undefined;
  readonly #calendar: Calendar | undefined;

  constructor(options: FixedWindowOptions<string, string>) {
    const given = new GivenOptions(FIXED_WINDOW, options);
    super(given);
    this.rate = given.required('rate', (option, value) => readRate(option, value, MAX_RATE));
    const { period } = given.values;
    if (CALENDAR_UNITS.includes(period as CalendarUnit)) {
      const unit = period as CalendarUnit;
      this.#calendar = readCalendar(given, unit);
      this.#kind = this.#calendar?.name.replaceAll(':', '') ?? unit;
    } else {
      refuseCalendar(given);
      this.#period = given.required('period', readPeriod) * 1_000;
      this.#kind = String(this.#period);
    }
    given.end();
    Object.freeze(this);
  }

  get capacity(): number {
    return this.rate;
  }

  get windowMs(): number | undefined {
    return this.#period === undefined ? this.#calendar?.lengthMs : this.#period / 1_000;
  }

  plan(cost: number, nowMs: number): FixedWindowPlan {
    const bounds = this.#calendar?.boundsAround(nowMs).map((ms) => ms * 1_000) ?? [];
    return fixedWindowPlan(this.#kind, this.rate, this.maxDebt, cost, this.#period, bounds);
  }
}

function fixedWindowPlan(
  kind: string,
  rate: number,
  maxDebt: number,
  cost: number,
  period: number | undefined,
  bounds: readonly number[],
): FixedWindowPlan {
  return {
    cost,
    width: 2,
    args: [
      'fixed_window',
      kind,
      ...[rate, rate + maxDebt, cost, bounds.length, ...bounds].map(String),
    ],
    ...(bounds.length === 0 ? {} : { from: bounds[1]! / 1_000, until: bounds[2]! / 1_000 }),
    kind,
    rate,
    ceiling: rate + maxDebt,
    period,
    bounds,
  };
}

/**
 * At most `rate` units in each window. Windows of a fixed length begin at multiples of it since the Unix epoch. Calendar
 * windows begin at full minutes, hours, days, weeks, months or years in `timeZone`, daylight saving time included;
 * weeks, months and years on the date that you choose. Redis's clock decides which window it is. Around an edge up to
 * `2 · rate` units may pass within one length: if that matters, use a sliding window.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * fixedWindow({ rate: 10_000, period: 'month', timeZone: 'Europe/Berlin' });     // a monthly quota
 * fixedWindow({ rate: 10_000, period: 'month', anchor: '2026-01-31' });          // from the 31st, or a month's last day
 * fixedWindow({ rate: 50, period: 'week', weekStart: 'sunday' });
 */
export function fixedWindow<const By extends string = never, const Unit extends string = never>(
  options: FixedWindowOptions<By, Unit>,
): Limit<string, By, Unit> {
  return new FixedWindow(options) as AnyLimit as Limit<string, By, Unit>;
}
