import { describe, expect, test } from 'vitest';
import { Calendar } from '../../../src/algorithms/calendar.ts';
import type { CalendarUnit } from '../../../src/algorithms/calendar.ts';

const HOUR = 3_600_000;
const at = (text: string): number => Date.parse(text);

/** The local time of a zone at an instant, cut to the unit. Asks Intl in another way than the source does. */
function shown(unit: CalendarUnit, timeZone: string): (instant: number) => string {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  const length = { year: 4, month: 7, week: 10, day: 10, hour: 13, minute: 16 }[unit];
  return (instant) => {
    const text = format.format(instant);
    if (unit !== 'week') {
      return text.slice(0, length);
    }
    const date = at(`${text.slice(0, 10)}T00:00:00Z`);
    return new Date(date - ((new Date(date).getUTCDay() + 6) % 7) * 24 * HOUR)
      .toISOString()
      .slice(0, 10);
  };
}

/** Walks the windows between two instants: they leave no gap, and each begins where its unit first shows. */
function walk(unit: CalendarUnit, timeZone: string, from: string, to: string): number[] {
  const calendar = new Calendar(unit, timeZone);
  const show = shown(unit, timeZone);
  const starts: number[] = [];
  for (let now = at(from); now < at(to);) {
    const bounds = calendar.boundsAround(now);
    const [before, start, stop, after] = bounds;
    expect([before < start, start <= now, now < stop, stop < after]).toEqual(Array(4).fill(true));
    expect(calendar.boundsAround(stop - 1).slice(1, 3)).toEqual([start, stop]);
    expect(calendar.boundsAround(start).slice(1, 3)).toEqual([start, stop]);
    expect(calendar.boundsAround(stop).slice(0, 2)).toEqual([start, stop]);
    expect(calendar.boundsAround(start - 1).slice(1, 3)).toEqual([before, start]);
    const label = show(now);
    expect([show(start), show(stop - 1)]).toEqual([label, label]);
    // An hour that the clock shows twice is split where the clock is set back, and both parts show the same hour.
    if (unit !== 'hour') {
      expect(show(start - 1)).not.toBe(label);
      expect(show(stop)).not.toBe(label);
    }
    starts.push(start);
    now = stop;
  }
  return starts;
}

function hoursOf(starts: readonly number[]): number[] {
  return starts.slice(1).map((start, i) => (start - starts[i]!) / HOUR);
}

describe('calendar days across clock changes', () => {
  test.each([
    ['Europe/Berlin', '2026-03-28', '2026-04-01', [24, 23, 24]],
    ['Europe/Berlin', '2026-10-24', '2026-10-28', [24, 25, 24]],
    ['America/New_York', '2026-03-07', '2026-03-11', [24, 23, 24]],
    ['America/New_York', '2026-10-31', '2026-11-04', [24, 25, 24]],
    ['Australia/Lord_Howe', '2026-04-04', '2026-04-08', [24, 24.5, 24]],
    ['Australia/Lord_Howe', '2026-10-03', '2026-10-07', [24, 23.5, 24]],
    ['Asia/Kolkata', '2026-03-28', '2026-04-01', [24, 24, 24]],
    ['America/Sao_Paulo', '2017-10-14', '2017-10-18', [24, 23, 24]],
    ['Africa/Cairo', '2024-04-25', '2024-04-29', [24, 23, 24]],
  ])('a day of %s lasts from %s to %s', (zone, from, to, hours) => {
    expect(hoursOf(walk('day', zone, `${from}T12:00Z`, `${to}T00:00Z`)).slice(0, 3)).toEqual(hours);
  });

  test.each([
    ['America/Sao_Paulo', '2017-10-15', '2017-10-15T03:00:00Z'],
    ['Africa/Cairo', '2024-04-26', '2024-04-25T22:00:00Z'],
  ])('the day of %s %s starts at 1:00 because it has no midnight', (zone, day, instant) => {
    const [, start] = new Calendar('day', zone).boundsAround(at(`${day}T12:00Z`));
    expect(start).toBe(at(instant));
    expect(shown('minute', zone)(start)).toBe(`${day} 01:00`);
    expect(shown('minute', zone)(start - 1)).toMatch(/ 23:59$/);
  });
});

describe('hours and minutes across clock changes', () => {
  test.each([
    ['Europe/Berlin', '2026-03-29T00:10Z'],
    ['Europe/Berlin', '2026-10-25T00:10Z'],
    ['America/New_York', '2026-03-08T06:10Z'],
    ['America/New_York', '2026-11-01T05:10Z'],
    ['Australia/Lord_Howe', '2026-04-04T14:10Z'],
    ['Australia/Lord_Howe', '2026-10-03T15:10Z'],
    ['Asia/Kolkata', '2026-01-01T00:10Z'],
    ['America/Sao_Paulo', '2017-10-15T02:10Z'],
    ['Africa/Cairo', '2024-04-25T21:10Z'],
  ])('windows in %s do not overlap around %s', (zone, from) => {
    const to = new Date(at(from) + 3 * HOUR).toISOString();
    for (const length of hoursOf(walk('hour', zone, from, to))) {
      expect([0.5, 1]).toContain(length);
      expect(length === 1 || zone === 'Australia/Lord_Howe').toBe(true);
    }
    const minutes = hoursOf(walk('minute', zone, from, new Date(at(from) + HOUR).toISOString()));
    expect(new Set(minutes.map((length) => Math.round(length * 3_600)))).toEqual(new Set([60]));
  });

  test('an hour starts on the full hour of its zone, whatever the offset', () => {
    expect(new Calendar('hour', 'Asia/Kolkata').boundsAround(at('2026-01-01T00:10Z'))[1]).toBe(
      at('2025-12-31T23:30Z'),
    );
  });
});

test.each([
  ['2023', 28],
  ['2024', 29],
  ['2100', 28],
  ['2000', 29],
])('calendar months of %s: February has %i days', (year, february) => {
  const starts = walk('month', 'UTC', `${year}-01-15T00:00Z`, `${Number(year) + 1}-01-15T00:00Z`);
  const days = hoursOf(starts).map((hours) => hours / 24);
  expect(days).toEqual([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
});

test.each(['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'])(
  'months and years of %s start at their local midnight',
  (zone) => {
    expect(walk('month', zone, '2023-12-15T00:00Z', '2024-12-15T00:00Z')).toHaveLength(13);
    const years = hoursOf(walk('year', zone, '2022-06-01T00:00Z', '2026-06-01T00:00Z'));
    expect(years.map((hours) => hours / 24)).toEqual([365, 365, 366, 365]);
  },
);

test.each([
  ['2020-12-30T12:00Z', '2020-12-28', '2021-01-04'],
  ['2021-01-03T12:00Z', '2020-12-28', '2021-01-04'],
  ['2024-12-31T12:00Z', '2024-12-30', '2025-01-06'],
  ['2023-01-01T12:00Z', '2022-12-26', '2023-01-02'],
])('the week of %s lasts from Monday %s to %s, across the new year', (now, monday, next) => {
  const [, start, stop] = new Calendar('week', 'UTC').boundsAround(at(now));
  expect([start, stop]).toEqual([at(`${monday}T00:00Z`), at(`${next}T00:00Z`)]);
});

test('a week is one hour shorter or longer when the clock changes', () => {
  for (const [zone, from, to, hours] of [
    ['Europe/Berlin', '2026-03-17T00:00Z', '2026-04-01T00:00Z', [168, 167]],
    ['Europe/Berlin', '2026-10-13T00:00Z', '2026-10-28T00:00Z', [168, 169]],
    ['America/New_York', '2026-10-21T00:00Z', '2026-11-04T00:00Z', [168, 169]],
  ] as const) {
    expect(hoursOf(walk('week', zone, from, to))).toEqual(hours);
  }
});
