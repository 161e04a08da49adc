/** No zone's clock is further from UTC than this. */
const FARTHEST = 16 * 3_600_000;
const MAX_ZONES = 256;

/**
 * The clock of one time zone. A reading of it is written as the Unix milliseconds at which a clock in UTC shows the
 * same date and time.
 */
export class TimeZone {
  readonly #format: Intl.DateTimeFormat;

  /** Throws a RangeError for a zone that this runtime does not know. */
  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
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

  /** The clock's reading at an instant. */
  readingAt(instant: number): number {
    const shown: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(instant)) {
      shown[type] = Number(value);
    }
    const { year, month, day, hour, minute, second } = shown;
    return Date.UTC(year!, month! - 1, day, hour, minute, second) + mod(instant, 1_000);
  }

  /** How far the clock is ahead of UTC, in milliseconds. */
  offsetAt(instant: number): number {
    return this.readingAt(instant) - instant;
  }

  /**
   * The first instant at which the clock shows this reading or a later one. A clock that is set forward may skip the
   * reading, even a whole date. A clock that is set back may show it twice.
   */
  firstAt(reading: number): number {
    const [from, to] = [reading - FARTHEST, reading + FARTHEST];
    const before = this.offsetAt(from);
    const after = this.offsetAt(to);
    if (before === after) {
      return reading - before;
    }
    const change = firstThat(from, to, (instant) => this.offsetAt(instant) !== before);
    return reading - before < change ? reading - before : Math.max(change, reading - after);
  }
}

/** Zones made so far: making one takes longer than a decision, and some kilobytes. */
const zones = new Map<string, TimeZone>();

/** Throws a RangeError for a zone that this runtime does not know. */
export function timeZoneOf(name: string): TimeZone {
  let zone = zones.get(name);
  if (zone === undefined) {
    zone = new TimeZone(name);
    if (zones.size >= MAX_ZONES) {
      zones.delete(zones.keys().next().value!);
    }
    zones.set(name, zone);
  }
  return zone;
}

/** Binary search: the first instant in (from, to] for which `holds` is true, if it is then true up to `to`. */
export function firstThat(from: number, to: number, holds: (instant: number) => boolean): number {
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

export function mod(a: number, b: number): number {
  return ((a % b) + b) % b;
}
