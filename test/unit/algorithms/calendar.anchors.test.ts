import { fixedWindow, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';
import { anchorOfWeekday, Calendar, WEEKDAYS } from '../../../src/algorithms/calendar.ts';
import type { CalendarUnit, Weekday } from '../../../src/algorithms/calendar.ts';
import { casesOf, check } from '../../kit/random.mjs';

const MINUTE = 60_000;
const DAY = 86_400_000;
const at = (text: string): number => Date.parse(text);
const dateOf = (midnight: number): string => new Date(midnight).toISOString().slice(0, 10);

/** The starts of a calendar's windows between two instants. */
function startsOf(calendar: Calendar, from: string, to: string): number[] {
  const starts: number[] = [];
  for (let now = at(from); now < at(to);) {
    const [, start, stop] = calendar.boundsAround(now);
    starts.push(start);
    now = stop;
  }
  return starts;
}

const datesOf = (calendar: Calendar, from: string, to: string): string[] =>
  startsOf(calendar, from, to).map(dateOf);

describe('months from an anchor', () => {
  test.each([
    ['2026-01-01', '01 01 01 01 01 01 01 01 01 01 01 01 01'],
    ['2026-01-15', '15 15 15 15 15 15 15 15 15 15 15 15 15'],
    ['2026-01-28', '28 28 28 28 28 28 28 28 28 28 28 28 28'],
    ['2026-01-29', '29 28 29 29 29 29 29 29 29 29 29 29 29'],
    ['2026-01-30', '30 28 30 30 30 30 30 30 30 30 30 30 30'],
    ['2026-01-31', '31 28 31 30 31 30 31 31 30 31 30 31 31'],
  ])('begin on the day of %s, or on the last of a shorter month', (anchor, days) => {
    const calendar = new Calendar('month', 'UTC', anchor);
    const dates = datesOf(calendar, `${anchor}T00:00Z`, '2027-02-01T00:00Z').slice(0, 13);
    expect(dates.map((date) => date.slice(8)).join(' ')).toBe(days);
  });

  test.each([
    ['2024', '29'],
    ['2023', '28'],
    ['2000', '29'],
    ['2100', '28'],
  ])('of the 31st begin in February %s on the %s', (year, day) => {
    const [, start, stop] = new Calendar('month', 'UTC', '2026-01-31').boundsAround(
      at(`${year}-03-15T00:00Z`),
    );
    expect([start, stop].map(dateOf)).toEqual([`${year}-02-${day}`, `${year}-03-31`]);
  });

  test('are the same for an anchor in the past and in the future', () => {
    for (const anchor of ['1969-07-31', '2024-12-31', '2199-03-31']) {
      const calendar = new Calendar('month', 'UTC', anchor);
      expect(calendar.name).toBe('month+31@UTC');
      expect(calendar.boundsAround(at('2026-02-28T00:00Z'))[1]).toBe(at('2026-02-28T00:00Z'));
    }
  });
});

test.each([
  ['2026-01-15', '2023-01-15 2024-01-15 2025-01-15 2026-01-15'],
  ['2024-02-29', '2023-02-28 2024-02-29 2025-02-28 2026-02-28'],
  ['2026-12-31', '2022-12-31 2023-12-31 2024-12-31 2025-12-31'],
])('years from %s begin on its day and month, if the year has it', (anchor, dates) => {
  const calendar = new Calendar('year', 'UTC', anchor);
  expect(datesOf(calendar, '2023-06-01T00:00Z', '2026-06-01T00:00Z').join(' ')).toBe(dates);
});

describe('weeks', () => {
  test.each<[Weekday, string]>([
    ['monday', '2026-01-12'],
    ['tuesday', '2026-01-13'],
    ['wednesday', '2026-01-14'],
    ['thursday', '2026-01-15'],
    ['friday', '2026-01-09'],
    ['saturday', '2026-01-10'],
    ['sunday', '2026-01-11'],
  ])('that begin on %s hold Thursday 2026-01-15 from %s on', (day, first) => {
    for (const anchor of [anchorOfWeekday(day), first]) {
      const [, start, stop] = new Calendar('week', 'UTC', anchor).boundsAround(
        at('2026-01-15T12:00Z'),
      );
      expect([dateOf(start), stop - start]).toEqual([first, 7 * DAY]);
    }
  });

  test('begin on Monday without an anchor, and have the key name of weeks from Monday', () => {
    const usual = new Calendar('week', 'UTC').name;
    expect(new Calendar('week', 'UTC', anchorOfWeekday('monday')).name).toBe(usual);
    const names = WEEKDAYS.map((day) => new Calendar('week', 'UTC', anchorOfWeekday(day)).name);
    expect(new Set(names).size).toBe(7);
  });

  test('from Sunday are an hour shorter or longer where the clock is set on a Sunday', () => {
    const calendar = new Calendar('week', 'Europe/Berlin', anchorOfWeekday('sunday'));
    const hours = (now: string): number => {
      const [, start, stop] = calendar.boundsAround(at(now));
      return (stop - start) / 3_600_000;
    };
    expect([hours('2026-03-29T00:30Z'), hours('2026-10-25T00:30Z')]).toEqual([167, 169]);
    expect(calendar.boundsAround(at('2026-03-29T00:30Z'))[1]).toBe(at('2026-03-28T23:00Z'));
  });
});

describe('anchors where the clock is set', () => {
  test.each([
    ['Europe/Berlin', '2026-03-29', '2026-03-28T23:00Z'],
    ['Europe/Berlin', '2026-10-25', '2026-10-24T22:00Z'],
    ['America/New_York', '2026-11-01', '2026-11-01T04:00Z'],
    ['America/Havana', '2026-11-01', '2026-11-01T04:00Z'], // 0:00 occurs twice: the window begins at the first
    ['America/Sao_Paulo', '2017-10-15', '2017-10-15T03:00Z'], // has no midnight
    ['Africa/Cairo', '2024-04-26', '2024-04-25T22:00Z'], // has no midnight
    ['Australia/Lord_Howe', '2026-10-04', '2026-10-03T13:30Z'],
    ['Asia/Kolkata', '2026-01-15', '2026-01-14T18:30Z'],
    ['Asia/Kathmandu', '2026-01-15', '2026-01-14T18:15Z'],
    ['Pacific/Chatham', '2026-04-05', '2026-04-04T10:15Z'],
    ['America/St_Johns', '2026-11-01', '2026-11-01T02:30Z'],
    ['Pacific/Apia', '2011-12-30', '2011-12-30T10:00Z'], // has no such date: from the next on
    ['America/St_Johns', '2010-11-07', '2010-11-07T02:30Z'], // set back from 0:01 to 23:01
    ['Antarctica/Casey', '2010-03-05', '2010-03-04T13:00Z'], // set back from 2:00 to 23:00
  ])('%s: months from %s begin at %s', (zone, anchor, instant) => {
    const calendar = new Calendar('month', zone, anchor);
    const start = at(instant);
    expect(calendar.boundsAround(start)[1]).toBe(start);
    expect(calendar.boundsAround(start - 1)[2]).toBe(start);
    // Also while a clock that was set back shows the previous day again.
    for (const minutes of [0, 1, 30, 59, 60, 61, 179, 180, 181]) {
      const asked = new Calendar('month', zone, anchor); // has no window cached
      expect(asked.boundsAround(start + minutes * MINUTE)[1]).toBe(start);
    }
  });

  test('a date that the zone skipped has no window', () => {
    const days = startsOf(new Calendar('day', 'Pacific/Apia'), '2011-12-29T12:00Z', '2012-01-01');
    expect(days.map((day) => new Date(day).toISOString())).toEqual([
      '2011-12-29T10:00:00.000Z',
      '2011-12-30T10:00:00.000Z',
      '2011-12-31T10:00:00.000Z',
    ]);
  });
});

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'Europe/London',
  'Europe/Dublin',
  'Atlantic/Azores',
  'America/New_York',
  'America/Havana',
  'America/St_Johns',
  'America/Sao_Paulo',
  'America/Nuuk',
  'Africa/Cairo',
  'Africa/Casablanca',
  'Asia/Beirut',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'Asia/Tehran',
  'Australia/Lord_Howe',
  'Australia/Eucla',
  'Pacific/Chatham',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Pacific/Marquesas',
  'Antarctica/Troll',
];

type Unit = Exclude<CalendarUnit, 'minute' | 'hour'>;

/** The date on the clock of a zone, as its midnight in UTC. Asks Intl in another way than the source does. */
function dateShown(zone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short' });
  return (instant) => at(`${format.format(instant)}T00:00Z`);
}

/** Whether a window may begin on this date: counts days, without an index of windows. */
function begins(unit: Unit, anchor: string, date: number): boolean {
  const [then, now] = [new Date(anchor), new Date(date)];
  const isLastDay = new Date(date + DAY).getUTCDate() === 1;
  const onDay =
    now.getUTCDate() === then.getUTCDate() || (isLastDay && now.getUTCDate() < then.getUTCDate());
  switch (unit) {
    case 'week':
      return now.getUTCDay() === then.getUTCDay();
    case 'month':
      return onDay;
    case 'year':
      return onDay && now.getUTCMonth() === then.getUTCMonth();
    case 'day':
      break;
  }
  return true;
}

/** The last date on which a window could begin. */
function beginning(unit: Unit, anchor: string, date: number): number {
  let day = date;
  while (!begins(unit, anchor, day)) {
    day -= DAY;
  }
  return day;
}

test('windows tile the time, hold their instant and begin on the right date', async () => {
  const [from, to] = [at('2011-01-01T00:00Z'), at('2037-12-31T00:00Z')];
  await check(casesOf(600), (random) => {
    const zone = random.pick(ZONES);
    const unit = random.pick(['day', 'week', 'month', 'year'] as const);
    const anchor = dateOf(random.int(0, 60_000) * DAY);
    const calendar = new Calendar(unit, zone, anchor);
    const instant = random.int(from, to);
    const told = `${unit} from ${anchor} in ${zone} at ${new Date(instant).toISOString()}`;
    const [before, start, stop, after] = calendar.boundsAround(instant);
    expect([before < start, start <= instant, instant < stop, stop < after], told).toEqual(
      Array(4).fill(true),
    );
    expect(calendar.boundsAround(start).slice(1, 3), told).toEqual([start, stop]);
    expect(calendar.boundsAround(stop - 1).slice(1, 3), told).toEqual([start, stop]);
    expect(calendar.boundsAround(stop).slice(0, 3), told).toEqual([start, stop, after]);
    expect(calendar.boundsAround(start - 1).slice(1), told).toEqual([before, start, stop]);
    const shown = dateShown(zone);
    const first = beginning(unit, anchor, shown(instant));
    expect(beginning(unit, anchor, shown(start)), told).toBe(first);
    expect(beginning(unit, anchor, shown(stop - 1)), told).toBe(first);
    expect(shown(start - 1), told).toBeLessThan(first);
    expect(beginning(unit, anchor, shown(stop)), told).toBeGreaterThan(first);
  });
});

test('every instant near a change of any clock lies in one window', () => {
  // Zones that were once set back over midnight, or skipped a date.
  for (const [zone, change] of [
    ['America/St_Johns', '2010-11-07T02:31Z'],
    ['America/Goose_Bay', '2006-10-29T03:01Z'],
    ['America/Moncton', '2006-10-29T03:01Z'],
    ['Antarctica/Casey', '2010-03-04T15:00Z'],
    ['Pacific/Apia', '2011-12-30T10:00Z'],
    ['Pacific/Kwajalein', '1993-08-21T12:00Z'],
  ] as const) {
    const calendar = new Calendar('day', zone);
    let [, start, stop] = calendar.boundsAround(at(change) - 2 * DAY);
    for (let now = start; now < at(change) + 2 * DAY; now += 13 * MINUTE) {
      if (now >= stop) {
        [start, stop] = [stop, calendar.boundsAround(now)[2]];
      }
      const asked = new Calendar('day', zone); // has no window cached
      expect(asked.boundsAround(now).slice(1, 3), `${zone} ${now}`).toEqual([start, stop]);
    }
  }
});

describe('options', () => {
  const make = (options: object): unknown => {
    try {
      return fixedWindow({ rate: 5, ...options } as never);
    } catch (error) {
      return (error as Error).message;
    }
  };

  test.each<[string, object, RegExp]>([
    [
      'a date that no calendar has',
      { period: 'month', anchor: '2026-02-30' },
      /a date of the calendar, as YYYY-MM-DD, got "2026-02-30".*Write the date/,
    ],
    [
      '29 February of a common year',
      { period: 'year', anchor: '2025-02-29' },
      /a date of the calendar/,
    ],
    ['a thirteenth month', { period: 'month', anchor: '2026-13-01' }, /a date of the calendar/],
    ['a date without zeros', { period: 'month', anchor: '2026-1-5' }, /YYYY-MM-DD/],
    ['a date in the order of a country', { period: 'month', anchor: '15.01.2026' }, /YYYY-MM-DD/],
    [
      'a time of day',
      { period: 'month', anchor: '2026-01-15T09:00' },
      /Windows begin at midnight in `timeZone`: write '2026-01-15'\./,
    ],
    ['an instant', { period: 'month', anchor: '2026-01-15T09:00:00Z' }, /write '2026-01-15'\./],
    [
      'a Date',
      { period: 'month', anchor: new Date(0) },
      /depends on the time zone: write the date/,
    ],
    ['a Unix time', { period: 'month', anchor: 1_768_435_200 }, /depends on the time zone/],
    ['a day of the month', { period: 'month', anchor: '15' }, /such as '2026-01-15'/],
    [
      'an anchor of days',
      { period: 'day', anchor: '2026-01-15' },
      /`anchor` must be left out unless `period` is 'week', 'month' or 'year'.*begins at midnight/,
    ],
    ['an anchor of hours', { period: 'hour', anchor: '2026-01-15' }, /`anchor` must be left out/],
    [
      'an anchor of a fixed length',
      { period: '30d', anchor: '2026-01-15' },
      /`anchor` must be left out unless `period` is 'minute'.*multiples of it/,
    ],
    [
      'an unknown weekday',
      { period: 'week', weekStart: 'sun' },
      /`weekStart` must be one of 'monday', .*'sunday', got "sun"/,
    ],
    ['a capital', { period: 'week', weekStart: 'Sunday' }, /`weekStart` must be one of/],
    ['a number for a weekday', { period: 'week', weekStart: 0 }, /`weekStart` must be one of/],
    [
      'a weekday of a month',
      { period: 'month', weekStart: 'sunday' },
      /`weekStart` must be left out unless `period` is 'week'.*give `anchor`/,
    ],
    [
      'a weekday of a fixed length',
      { period: '7d', weekStart: 'sunday' },
      /`weekStart` must be left out/,
    ],
    [
      'an anchor beside a weekday',
      { period: 'week', anchor: '2026-01-15', weekStart: 'sunday' },
      /`weekStart` must be left out where `anchor` is given.*weekday/,
    ],
    [
      'the name that Stripe has',
      { period: 'month', billing_cycle_anchor: '2026-01-15' },
      /Did you mean `anchor`\?/,
    ],
    [
      'the name that date-fns has',
      { period: 'week', weekStartsOn: 0 },
      /Did you mean `weekStart`\?/,
    ],
  ])('%s is refused, with the cure', (_, options, message) => {
    expect(make(options)).toMatch(message);
  });

  test('an option of fixed windows is refused for other limits, with a hint', () => {
    const store = new MemoryStore();
    const limiter = (options: object) => () =>
      new RateLimiter({ store, rate: 5, ...options } as never);
    expect(limiter({ period: '1m', anchor: '2026-01-15' })).toThrow(
      "fixedWindow({ rate, period: 'month', anchor })",
    );
    expect(limiter({ period: '1m', weekStart: 'sunday' })).toThrow(
      "fixedWindow({ rate, period: 'week', weekStart })",
    );
  });

  test.each([
    { period: 'month', anchor: '2026-01-31', timeZone: 'Europe/Berlin' },
    { period: 'month', anchor: '1970-01-01' },
    { period: 'year', anchor: '2024-02-29' },
    { period: 'week', anchor: '2026-01-15' },
    { period: 'week', weekStart: 'saturday' },
    { period: 'week', weekStart: undefined, anchor: undefined },
  ])('%j is accepted', (options) => {
    expect(make(options)).toMatchObject({ algorithm: 'fixed_window', capacity: 5 });
  });
});

test('a billing month starts over on its day, in its time zone', async () => {
  const clock = new ManualClock(at('2026-02-27T22:59:59.999Z'));
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock }),
    algorithm: 'fixed_window',
    rate: 2,
    period: 'month',
    anchor: '2026-01-31',
    timeZone: 'Europe/Berlin',
  });
  await limiter.allow('id', { cost: 2 });
  expect(await limiter.allow('id')).toMatchObject({ reason: 'limited', retryAfterMs: 1 });
  clock.advance('1ms');
  expect(await limiter.allow('id')).toMatchObject({
    allowed: true,
    resetAtMs: at('2026-03-30T22:00Z'),
  });
});

test('a window with a new anchor keeps the units counted under the old one', async () => {
  const clock = new ManualClock(at('2026-02-10T00:00Z'));
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock }),
    algorithm: 'fixed_window',
    rate: 5,
    period: 'month',
  });
  await limiter.allow('id', { cost: 4 });
  const moved = [fixedWindow({ rate: 5, period: 'month', anchor: '2026-02-09' })];
  expect((await limiter.peek('id', { limits: moved })).remaining).toBe(1);
});
