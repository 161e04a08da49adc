import { timeZoneOf } from '../../algorithms/time-zone.ts';
import { ownText } from './own-text.ts';

/** 2200-01-01: a later time is a number in another unit. */
const LAST_MICROS = 7_258_118_400_000_000;
const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec';
const QUARTER_MS = 900_000;
const DAY_MS = 86_400_000;
/** By how much lines of a log may stand in the wrong order where a clock shows a reading twice. */
const DISORDER_MS = 900_000;

const CLF_LENGTH = '10/Oct/2000:13:55:36 -0700'.length;
const MOST_KNOWN = 1_000;

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\d* ?([Zz]|[+-]\d\d:?\d\d)?$/;
const CLF = /^(\d{1,2})\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})$/;
const EPOCH = /^\d{1,19}(?:\.\d{1,9})?$/;

/**
 * Reads the times of one log, as whole microseconds since the Unix epoch; undefined for what is no time. A time without
 * an offset from UTC is read on the clock of a time zone. Where that clock was set back and shows a reading twice, the
 * first is meant, unless the log has gone on beyond it.
 */
export class InstantReader {
  readonly #zone: string;
  /** Whether a time without an offset from UTC was read. */
  usedZone = false;
  readonly #common = new Map<string, number | undefined>();
  #last: number | undefined;
  /** The instants, in milliseconds, at which the zone's clock shows the start of a quarter of an hour. */
  readonly #quarters = new Map<number, readonly number[]>();

  constructor(zone: string) {
    this.#zone = zone;
  }

  /** Reads ISO 8601, the time of the common log format, or a time since the Unix epoch in s, ms, µs or ns. */
  read(value: unknown): number | undefined {
    if (typeof value === 'number') {
      return this.#keep(epoch(value));
    }
    if (typeof value !== 'string') {
      return undefined;
    }
    // Busy logs have many lines within one second, and their times name their offset.
    if (value.length === CLF_LENGTH && value.startsWith('/', 2)) {
      let known = this.#common.get(value);
      if (known === undefined) {
        known = this.#readText(value);
        if (this.#common.size >= MOST_KNOWN) {
          this.#common.clear();
        }
        this.#common.set(ownText(value), known);
      }
      return this.#keep(known);
    }
    return this.#keep(this.#readText(value));
  }

  #keep(micros: number | undefined): number | undefined {
    if (micros === undefined || !(micros >= 0 && micros < LAST_MICROS)) {
      return undefined;
    }
    this.#last = micros;
    return micros;
  }

  #readText(text: string): number | undefined {
    const common = CLF.exec(text);
    if (common !== null) {
      const [, day, month, year, hour, minute, second, zone] = common;
      const index = MONTHS.indexOf(month!) / 3;
      return Number.isInteger(index) && index >= 0
        ? this.#instant([year!, index + 1, day!, hour!, minute!, second!].map(Number), '', zone)
        : undefined;
    }
    const iso = ISO.exec(text);
    if (iso !== null) {
      return this.#instant(iso.slice(1, 7).map(Number), iso[7] ?? '', iso[8]);
    }
    return EPOCH.test(text) ? epochText(text) : undefined;
  }

  #instant(
    fields: readonly number[],
    fraction: string,
    zone: string | undefined,
  ): number | undefined {
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields;
    // A leap second is the last one of its minute, as clocks in UTC show it.
    if (hour > 23 || minute > 59 || second > 60) {
      return undefined;
    }
    const ms = Date.UTC(year, month - 1, day, hour, minute, Math.min(second, 59));
    const date = new Date(ms);
    if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) {
      return undefined;
    }
    const micros = fraction === '' ? 0 : Number(fraction.slice(0, 6).padEnd(6, '0'));
    const utc = zone === undefined ? this.#utcOf(ms) : ms - offsetOf(zone);
    return utc * 1_000 + micros;
  }

  #utcOf(reading: number): number {
    this.usedZone = true;
    if (this.#zone === 'UTC') {
      return reading;
    }
    const quarter = Math.floor(reading / QUARTER_MS) * QUARTER_MS;
    let starts = this.#quarters.get(quarter);
    if (starts === undefined) {
      starts = instantsOf(this.#zone, quarter);
      this.#quarters.set(quarter, starts);
    }
    const earliest = (this.#last ?? 0) / 1_000 - DISORDER_MS;
    const shown = starts.map((start) => start + reading - quarter);
    return shown.find((at) => at >= earliest) ?? shown.at(-1)!;
  }
}

/** All instants at which the zone's clock shows a reading; the first later one for a reading that it skips. */
function instantsOf(name: string, reading: number): readonly number[] {
  const zone = timeZoneOf(name);
  const offsets = [zone.offsetAt(reading - DAY_MS), zone.offsetAt(reading + DAY_MS)];
  const shown = [...new Set(offsets.map((offset) => reading - offset))]
    .filter((at) => zone.readingAt(at) === reading)
    .toSorted((a, b) => a - b);
  return shown.length > 0 ? shown : [zone.firstAt(reading)];
}

/** Milliseconds that a zone such as `+02:00`, `-0700` or `Z` is ahead of UTC. */
function offsetOf(zone: string): number {
  if (zone === 'Z' || zone === 'z') {
    return 0;
  }
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return (zone.startsWith('-') ? -1 : 1) * minutes * 60_000;
}

/** Tells the unit of a time since the Unix epoch by its size; each holds for the years 1973 to 5138. */
function epoch(number: number): number {
  if (number < 1e11) {
    return Math.round(number * 1e6);
  }
  return Math.floor(number < 1e14 ? number * 1e3 : number < 1e17 ? number : number / 1e3);
}

/** Nanoseconds have more digits than a number holds exactly. */
function epochText(text: string): number {
  return /^\d{18,19}$/.test(text) ? Number(text.slice(0, -3)) : epoch(Number(text));
}
