import { invalidOption } from '../base/errors.ts';
import { readOneOf } from '../options/read-options.ts';
import type { GivenOptions } from '../options/read-options.ts';
import { anchorOfWeekday, isDate, makeCalendar, WEEKDAYS } from './calendar.ts';
import type { Calendar, CalendarUnit, Weekday } from './calendar.ts';

const ANCHORED: readonly CalendarUnit[] = ['week', 'month', 'year'];

/** Reads `timeZone`, `anchor` and `weekStart` of windows of this unit; undefined if the zone is wrong. */
export function readCalendar(given: GivenOptions, unit: CalendarUnit): Calendar | undefined {
  const { timeZone = 'UTC' } = given.values;
  const anchor = readStart(given, unit);
  return given.attempt('timeZone', () => calendarIn(timeZone, unit, anchor));
}

/** Refuses the options of a calendar where windows have a fixed length. */
export function refuseCalendar(given: GivenOptions): void {
  for (const option of ['timeZone', 'anchor', 'weekStart']) {
    given.refuse(
      option,
      "left out unless `period` is 'minute', 'hour', 'day', 'week', 'month' or 'year'",
      'Windows of a fixed length begin at multiples of it since the epoch.',
    );
  }
}

/** Reads on which date windows begin; undefined for the usual one. */
function readStart(given: GivenOptions, unit: CalendarUnit): string | undefined {
  if (!ANCHORED.includes(unit)) {
    given.refuse(
      'anchor',
      "left out unless `period` is 'week', 'month' or 'year'",
      'A day begins at midnight in `timeZone`.',
    );
  }
  if (unit !== 'week') {
    given.refuse(
      'weekStart',
      "left out unless `period` is 'week'",
      'To choose the day on which a month or a year begins, give `anchor`.',
    );
    return given.optional('anchor', readAnchor, undefined);
  }
  const anchor = given.optional('anchor', readAnchor, undefined);
  const first = given.optional('weekStart', readWeekday, undefined);
  if (given.values['anchor'] !== undefined) {
    given.refuse(
      'weekStart',
      'left out where `anchor` is given',
      "The week begins on the anchor's weekday.",
    );
  }
  return anchor ?? (first === undefined ? undefined : anchorOfWeekday(first));
}

function readWeekday(option: string, value: unknown): Weekday {
  return readOneOf(option, value, WEEKDAYS);
}

function readAnchor(option: string, value: unknown): string {
  if (typeof value !== 'string' || !isDate(value)) {
    throw invalidOption(
      option,
      'a date of the calendar, as YYYY-MM-DD',
      value,
      cureOfAnchor(value),
    );
  }
  return value;
}

function cureOfAnchor(value: unknown): string {
  if (value instanceof Date || typeof value === 'number') {
    return "Its date depends on the time zone: write the date in `timeZone`, such as '2026-01-15'.";
  }
  const date = typeof value === 'string' ? value.slice(0, 'YYYY-MM-DD'.length) : '';
  return isDate(date)
    ? `Windows begin at midnight in \`timeZone\`: write '${date}'.`
    : "Write the date on which a window begins, such as '2026-01-15'.";
}

function calendarIn(timeZone: unknown, unit: CalendarUnit, anchor: string | undefined): Calendar {
  try {
    if (typeof timeZone === 'string') {
      return makeCalendar(unit, timeZone, anchor);
    }
  } catch {
    // The runtime does not know this zone: the error below says so.
  }
  throw invalidOption(
    'timeZone',
    'a time zone that this runtime knows',
    timeZone,
    "Choose an IANA name such as 'Europe/Berlin'.",
  );
}
