import { describe, expect, test } from 'vitest';
import { InstantReader } from '../../../src/cli/logs/instant.ts';

function read(value: unknown, zone = 'UTC'): number | undefined {
  return new InstantReader(zone).read(value);
}

const NOON = Date.UTC(2026, 9, 10, 12) * 1_000;

const readable: readonly (readonly [value: unknown, micros: number])[] = [
  ['10/Oct/2026:12:00:00 +0000', NOON],
  ['10/Oct/2026:05:00:00 -0700', NOON],
  ['10/Oct/2026:17:45:00 +0545', NOON],
  ['2026-10-10T12:00:00Z', NOON],
  ['2026-10-10t12:00:00z', NOON],
  ['2026-10-10T14:00:00+02:00', NOON],
  ['2026-10-10 14:00:00+0200', NOON],
  ['2026-10-10T12:00:00.000001Z', NOON + 1],
  ['2026-10-10T12:00:00.5Z', NOON + 500_000],
  ['2026-10-10 12:00:00,250', NOON + 250_000],
  ['2026-10-10T12:00:00.123456789Z', NOON + 123_456],
  ['2026-10-10T11:59:60Z', NOON - 1_000_000],
  ['2026-10-10T12:00:00', NOON],
  [NOON / 1e6, NOON],
  [NOON / 1e6 + 0.000001, NOON + 1],
  [NOON / 1e3, NOON],
  [NOON, NOON],
  [NOON * 1e3, NOON],
  [`${NOON / 1e6}.25`, NOON + 250_000],
  [`${NOON}`, NOON],
  // A number would round it to 1,791,633,600,000,001,024.
  ['1791633600000001999', 1_791_633_600_000_001],
];

describe('an instant', () => {
  test.each(readable)('reads %j', (value, micros) => {
    expect(read(value)).toBe(micros);
  });

  test.each([
    '10/Okt/2026:12:00:00 +0000',
    '31/Feb/2026:12:00:00 +0000',
    '10/Oct/2026:24:00:00 +0000',
    '2026-13-10T12:00:00Z',
    '2026-10-10T12:60:00Z',
    'yesterday',
    '',
    '-1',
    -1,
    1e21,
    Number.NaN,
    null,
    undefined,
    true,
    '9999-01-01T00:00:00Z',
  ])('refuses %j', (value) => {
    expect(read(value)).toBeUndefined();
  });

  test('reads an unreadable time twice as unreadable', () => {
    const instants = new InstantReader('UTC');
    expect(instants.read('10/Okt/2026:12:00:00 +0000')).toBeUndefined();
    expect(instants.read('10/Okt/2026:12:00:00 +0000')).toBeUndefined();
  });
});

describe('a time without an offset', () => {
  test('is read on the clock of the given zone', () => {
    expect(read('2026-07-01T14:00:00', 'Europe/Berlin')).toBe(Date.UTC(2026, 6, 1, 12) * 1_000);
    expect(read('2026-12-01T13:00:00', 'Europe/Berlin')).toBe(Date.UTC(2026, 11, 1, 12) * 1_000);
    expect(read('2026-10-10T17:45:00', 'Asia/Kathmandu')).toBe(NOON);
  });

  test('goes on through the hour that a clock shows twice', () => {
    const instants = new InstantReader('Europe/Berlin');
    // On 2026-10-25 the clock goes from 02:59:59 to 02:00:00, at 01:00 UTC.
    const times = [
      '01:30:00',
      '02:00:00',
      '02:30:00',
      '02:59:59',
      '02:00:00',
      '02:30:00',
      '03:00:00',
    ];
    const minutes = times.map(
      (time) => (instants.read(`2026-10-25T${time}`)! / 1_000 - Date.UTC(2026, 9, 25)) / 60_000,
    );
    expect(minutes).toEqual([-30, 0, 30, 60 - 1 / 60, 60, 90, 120]);
  });

  test('that the clock skips is the instant of the change', () => {
    expect(read('2026-03-29T02:30:00', 'Europe/Berlin')).toBe(Date.UTC(2026, 2, 29, 1) * 1_000);
  });

  test('is noted, so that the reader is told', () => {
    const instants = new InstantReader('UTC');
    instants.read('2026-10-10T12:00:00Z');
    expect(instants.usedZone).toBe(false);
    instants.read('2026-10-10T12:00:00');
    expect(instants.usedZone).toBe(true);
  });
});
