import { firstThat, mod, timeZoneOf } from './time-zone.ts';
import type { TimeZone } from './time-zone.ts';

/** Calendar windows in a time zone. */
export type CalendarUnit = 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year';

export const CALENDAR_UNITS: readonly CalendarUnit[] = [
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'year',
];

/** The days on which a week may begin. */
export type Weekday =
  | 'monday'
  | 'tuesday'
  | 'wednesday'
  | 'thursday'
  | 'friday'
  | 'saturday'
  | 'sunday';

export const WEEKDAYS: readonly Weekday[] = [
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
  'sunday',
];

/** Four instants, in Unix ms, that bound the previous window, the current one and the next. */
export type Bounds = readonly [before: number, start: number, stop: number, after: number];

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
const LENGTH_MS: Readonly<Partial<Record<CalendarUnit, number>>> = {
  minute: MINUTE,
  hour: HOUR,
  day: DAY,
  week: WEEK,
};
/** The anchor where none is given: weeks begin on Monday, months on the 1st, years on 1 January. */
const MONDAY = '1973-01-01';
/** Windows cached per calendar: a process may count by several clocks, and a wrong clock may be corrected. */
const MAX_FOUND = 4;
const MAX_CALENDARS = 256;

const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** Whether the text is a date that the calendar has, as `YYYY-MM-DD`. */
export function isDate(text: string): boolean {
  const at = DATE.test(text) ? Date.parse(`${text}T00:00Z`) : Number.NaN;
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(text);
}

/** The anchor that makes weeks begin on this day. */
export function anchorOfWeekday(day: Weekday): string {
  return new Date(Date.parse(MONDAY) + WEEKDAYS.indexOf(day) * DAY)
    .toISOString()
    .slice(0, 'YYYY-MM-DD'.length);
}

/**
 * Calendar windows of one unit in one time zone. A window runs from the first instant that shows its first date, or a
 * later one, to the first instant that shows the next window's. So days of 23 and 25 hours, midnights that do not exist,
 * dates that a zone skipped and hours that occur twice follow the zone's data.
 */
export class Calendar {
  /** Equal for calendars of the same windows. */
  readonly name: string;
  readonly #unit: CalendarUnit;
  readonly #zone: TimeZone;
  /** When a week begins, in milliseconds after Thursday, the weekday of the epoch. */
  readonly #weekday: number;
  /** The month (from 0) in which a year begins. */
  readonly #month: number;
  /** The day on which a month or a year begins; the last of a shorter month. */
  readonly #day: number;
  /** The bounds found most recently, the latest first: finding them takes milliseconds of time zone arithmetic. */
  #found: readonly Bounds[] = [];

  /**
   * @param anchor a date on which a window begins; ignored for minutes, hours and days
   * @throws {RangeError} for a zone that this runtime does not know
   */
  constructor(unit: CalendarUnit, timeZone: string, anchor: string = MONDAY) {
    this.#unit = unit;
    this.#zone = timeZoneOf(timeZone);
    const date = new Date(`${anchor}T00:00Z`);
    this.#weekday = mod(date.getTime(), WEEK);
    this.#month = date.getUTCMonth();
    this.#day = date.getUTCDate();
    this.name = `${unit}${this.#shift()}@${timeZone}`;
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

  /** The suffix that distinguishes this calendar from the default of its unit: `+15` for months from the 15th. */
  #shift(): string {
    switch (this.#unit) {
      case 'week':
        return this.#weekday === mod(Date.parse(MONDAY), WEEK) ? '' : `+${this.#weekday / DAY}`;
      case 'month':
        return this.#day === 1 ? '' : `+${this.#day}`;
      case 'year':
        return this.#month === 0 && this.#day === 1 ? '' : `+${this.#month + 1}-${this.#day}`;
      case 'minute':
      case 'hour':
      case 'day':
        break;
    }
    return '';
  }

  #windowOf(at: number): [start: number, stop: number] {
    if (this.#unit === 'minute' || this.#unit === 'hour') {
      return this.#clockWindowOf(at, LENGTH_MS[this.#unit]!);
    }
    let index = this.#indexOf(this.#zone.readingAt(at));
    let start = this.#startOf(index);
    while (at < start) {
      index -= 1;
      start = this.#startOf(index);
    }
    // A window whose dates the zone skipped is empty; a clock that is set back shows a past date again.
    let stop = this.#startOf(index + 1);
    while (stop <= at) {
      index += 1;
      start = stop;
      stop = this.#startOf(index + 1);
    }
    return [start, stop];
  }

  /** The number of the window that holds a reading, or of a neighbour: days and weeks since 1970, months and years of our era. */
  #indexOf(reading: number): number {
    const date = new Date(reading);
    const year = date.getUTCFullYear();
    switch (this.#unit) {
      case 'week':
        return Math.floor((reading - this.#weekday) / WEEK);
      case 'month':
        return year * 12 + date.getUTCMonth();
      case 'year':
        return year;
      case 'minute':
      case 'hour':
      case 'day':
        break;
    }
    return Math.floor(reading / DAY);
  }

  /** The first instant of a window. */
  #startOf(index: number): number {
    return this.#zone.firstAt(this.#firstDateOf(index));
  }

  /** The reading at which a window begins: midnight of its first date. */
  #firstDateOf(index: number): number {
    switch (this.#unit) {
      case 'week':
        return index * WEEK + this.#weekday;
      case 'month':
        return dateIn(Math.floor(index / 12), mod(index, 12), this.#day);
      case 'year':
        return dateIn(index, this.#month, this.#day);
      case 'minute':
      case 'hour':
      case 'day':
        break;
    }
    return index * DAY;
  }

  /** Minutes and hours: between full ones of the zone's clock, cut short at a clock change. */
  #clockWindowOf(at: number, length: number): [start: number, stop: number] {
    const zone = this.#zone;
    const offset = zone.offsetAt(at);
    const start = at - mod(at + offset, length);
    const stop = start + length;
    const same = (instant: number): boolean => zone.offsetAt(instant) === offset;
    return [
      same(start) ? start : firstThat(start, at, same),
      same(stop - 1) ? stop : firstThat(at, stop - 1, (instant) => !same(instant)),
    ];
  }
}

/** Midnight of this day, or of the month's last day if the month is shorter. */
function dateIn(year: number, month: number, day: number): number {
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  return Date.UTC(year, month, Math.min(day, lastDay));
}

/** Calendars made so far, so that limits of one calendar share its cached windows. */
const calendars = new Map<string, Calendar>();

/** Throws a RangeError for a zone that this runtime does not know. */
export function makeCalendar(unit: CalendarUnit, timeZone: string, anchor?: string): Calendar {
  const made = new Calendar(unit, timeZone, anchor);
  const known = calendars.get(made.name);
  if (known !== undefined) {
    return known;
  }
  if (calendars.size >= MAX_CALENDARS) {
    calendars.delete(calendars.keys().next().value!);
  }
  calendars.set(made.name, made);
  return made;
}
