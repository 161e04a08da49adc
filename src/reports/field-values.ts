import { parseHttpDate } from './http-date.ts';

/** A whole number of at most 15 digits. */
export function wholeNumber(field: string | undefined): number | undefined {
  return field !== undefined && /^\d{1,15}$/.test(field) ? Number(field) : undefined;
}

/** A number that may have a fraction. */
export function decimal(field: string | undefined): number | undefined {
  return field !== undefined && DECIMAL.test(field) ? Number(field) : undefined;
}

const DECIMAL = /^\d{1,15}(?:\.\d{1,9})?$/;

/** The number that a field begins with, because some servers append to it: `100, 100;w=60`. */
function firstNumber(field: string | undefined): number | undefined {
  const digits =
    field === undefined ? undefined : /^(\d{1,15}(?:\.\d{1,9})?)\s*(?:[,;]|$)/.exec(field)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Like `firstNumber`, without a fraction. */
export function firstWhole(field: string | undefined): number | undefined {
  const number = firstNumber(field);
  return number === undefined ? undefined : Math.floor(number);
}

/**
 * Milliseconds from `serverNow` until a reset. It is a number (seconds below 10^9, Unix seconds below 10^11, else Unix
 * milliseconds), a duration as Go writes it (`6m0s`, `20ms`), or a date of RFC 3339 or HTTP. An instant that has
 * passed is 0; any other text is undefined.
 */
export function untilReset(field: string | undefined, serverNow: number): number | undefined {
  if (field === undefined) return undefined;
  const number = firstNumber(field);
  if (number !== undefined) return untilNumber(number, serverNow);
  const duration = parseGoDuration(field);
  if (duration !== undefined) return duration;
  const instant = parseTimestamp(field) ?? parseHttpDate(field, serverNow);
  return instant === undefined ? undefined : Math.max(0, instant - serverNow);
}

function untilNumber(reset: number, serverNow: number): number {
  if (reset < 1e9) return secondsToMs(reset);
  return Math.max(0, Math.ceil((reset < 1e11 ? secondsToMs(reset) : reset) - serverNow));
}

/** Milliseconds, rounded up; to microseconds first, because 1.1 × 1,000 is more than 1,100. */
export function secondsToMs(seconds: number): number {
  return Math.ceil(Math.round(seconds * 1e6) / 1_000);
}

const GO_PART = /(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h|d)/y;
const MS_OF: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds of `1h2m3.5s`, rounded up; undefined for any other text. */
function parseGoDuration(text: string): number | undefined {
  let ms = 0;
  let at = 0;
  while (at < text.length) {
    GO_PART.lastIndex = at;
    const part = GO_PART.exec(text);
    if (part === null) return undefined;
    ms += Number(part[1]) * MS_OF[part[2]!]!;
    at = GO_PART.lastIndex;
  }
  return at === 0 ? undefined : secondsToMs(ms / 1_000);
}

const TIMESTAMP =
  /^(?<day>\d{4}-\d\d-\d\d)[Tt ](?<time>\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?<zone>[Zz]|[+-]\d\d:\d\d)$/;

/** Unix milliseconds of a timestamp of RFC 3339, rounded up; undefined for any other text. */
function parseTimestamp(text: string): number | undefined {
  const { day = '', time = '', zone = '' } = TIMESTAMP.exec(text)?.groups ?? {};
  const midnight = Date.parse(`${day}T00:00:00Z`);
  // A day that does not exist would be read as one of the next month.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return undefined;
  const [whole = '', fraction = ''] = time.split('.');
  const ms = Date.parse(`${day}T${whole}${zone.toUpperCase()}`);
  return Number.isNaN(ms) ? undefined : ms + Math.ceil(Number(`0.${fraction || '0'}`) * 1_000);
}
