/** Calendar windows in a time zone; a week begins on Monday. */
export type CalendarUnit = 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year';

export const CALENDAR_UNITS: readonly CalendarUnit[] = [
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'year',
];

/** Four instants, in Unix ms, that bound the previous window, the current one and the next. */
export type Bounds = readonly [before: number, start: number, stop: number, after: number];

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LENGTH_MS: Readonly<Partial<Record<CalendarUnit, number>>> = {
  minute: MINUTE,
  hour: HOUR,
  day: 24 * HOUR,
  week: 7 * 24 * HOUR,
};
/** No zone is further from UTC than this. */
const FARTHEST = 16 * HOUR;
/** Windows cached per calendar: a process may count by several clocks, and a wrong clock may be corrected. */
const MAX_FOUND = 4;
const MAX_CALENDARS = 256;

/**
 * Calendar windows of one unit in one time zone. A window runs from the first instant that shows its date to the first
 * instant that shows the next date. So days of 23 and 25 hours, midnights that do not exist and hours that occur twice
 * follow the zone's data.
 */
export class Calendar {
  readonly #unit: CalendarUnit;
  readonly #format: Intl.DateTimeFormat;
  /** The bounds found most recently, the latest first: finding them takes milliseconds of time zone arithmetic. */
  #found: readonly Bounds[] = [];

  /** Throws a RangeError for a zone that this runtime does not know. */
  constructor(unit: CalendarUnit, timeZone: string) {
    this.#unit = unit;
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'iso8601',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** A window's usual length, clock changes apart; undefined for months and years, which differ. */
  get lengthMs(): number | undefined {
    return LENGTH_MS[this.#unit];
  }

  boundsAround(at: number): Bounds {
    let bounds = this.#found.find(([, start, stop]) => start <= at && at < stop);
    if (bounds === undefined) {
      const [start, stop] = this.#windowOf(at);
      bounds = [this.#windowOf(start - 1)[0], start, stop, this.#windowOf(stop)[1]];
      this.#found = [bounds, ...this.#found.slice(0, MAX_FOUND - 1)];
    }
    return bounds;
  }

  #windowOf(at: number): [start: number, stop: number] {
    const unit = this.#unit;
    if (unit === 'minute' || unit === 'hour') {
      return this.#clockWindowOf(at, unit === 'minute' ? MINUTE : HOUR);
    }
    const shown = new Date(this.#local(at));
    const [year, month, day] = [shown.getUTCFullYear(), shown.getUTCMonth(), shown.getUTCDate()];
    const monday = day - ((shown.getUTCDay() + 6) % 7);
    const dates: Record<typeof unit, [start: number, stop: number]> = {
      day: [Date.UTC(year, month, day), Date.UTC(year, month, day + 1)],
      week: [Date.UTC(year, month, monday), Date.UTC(year, month, monday + 7)],
      month: [Date.UTC(year, month), Date.UTC(year, month + 1)],
      year: [Date.UTC(year, 0), Date.UTC(year + 1, 0)],
    };
    const [start, stop] = dates[unit];
    return [this.#firstOf(start), this.#firstOf(stop)];
  }

  /** Minutes and hours: between full ones of the zone's clock, cut short at a clock change. */
  #clockWindowOf(at: number, length: number): [start: number, stop: number] {
    const offset = this.#offset(at);
    const start = at - mod(at + offset, length);
    const stop = start + length;
    const same = (instant: number): boolean => this.#offset(instant) === offset;
    return [
      same(start) ? start : first(start, at, same),
      same(stop - 1) ? stop : first(at, stop - 1, (instant) => !same(instant)),
    ];
  }

  /** The first instant that shows this date or a later one; the date is given as its midnight in UTC. */
  #firstOf(midnight: number): number {
    const shows = (instant: number): boolean => this.#local(instant) >= midnight;
    return first(midnight - FARTHEST, midnight + FARTHEST, shows);
  }

  #offset(at: number): number {
    return this.#local(at) - at;
  }

  /** The zone's clock reading, as the Unix ms at which a clock in UTC shows the same. */
  #local(at: number): number {
    const shown: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(at)) {
      shown[type] = Number(value);
    }
    const { year, month, day, hour, minute, second } = shown;
    return Date.UTC(year!, month! - 1, day, hour, minute, second) + mod(at, 1_000);
  }
}

/** Calendars made so far, so that limits of one calendar share its cached windows. */
const calendars = new Map<string, Calendar>();

/** Throws a RangeError for a zone that this runtime does not know. */
export function makeCalendar(unit: CalendarUnit, timeZone: string): Calendar {
  const name = `${unit}@${timeZone}`;
  let calendar = calendars.get(name);
  if (calendar === undefined) {
    calendar = new Calendar(unit, timeZone);
    if (calendars.size >= MAX_CALENDARS) {
      calendars.delete(calendars.keys().next().value!);
    }
    calendars.set(name, calendar);
  }
  return calendar;
}

/** Binary search: the first instant in (from, to] for which `holds` is true, if it is then true up to `to`. */
function first(from: number, to: number, holds: (instant: number) => boolean): number {
  let [before, at] = [from, to];
  while (at - before > 1) {
    const middle = before + Math.floor((at - before) / 2);
    if (holds(middle)) {
      at = middle;
    } else {
      before = middle;
    }
  }
  return at;
}

function mod(a: number, b: number): number {
  return ((a % b) + b) % b;
}
