import { invalidOption } from './errors.ts';

type Symbols = 'ms' | 's' | 'm' | 'h' | 'd';
type Words = 'millisecond' | 'second' | 'minute' | 'hour' | 'day';

/**
 * A length of time: a whole number of at most 15 digits and its unit, separated by at most one space. Units are `ms`,
 * `s`, `m`, `h`, `d` and their words in lower case, singular or plural: `'250ms'`, `'10 s'`, `'1 minute'`, `'15
 * minutes'`, `'2 days'`. No sign, no fraction, one unit: `'90s'`, not `'1.5m'` or `'1m 30s'`. There are no weeks,
 * months or years. Each option documents its bounds, and whether it also takes a number of seconds.
 *
 * @example
 * tokenBucket({ rate: 100, period: '1m' });
 */
export type Duration = `${number}${'' | ' '}${Symbols | Words | `${Words}s`}`;

const MS_PER: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
};

const SYMBOL_OF: Readonly<Record<string, string>> = {
  millisecond: 'ms',
  second: 's',
  minute: 'm',
  hour: 'h',
  day: 'd',
};

const GRAMMAR = /^(\d{1,15}) ?(?:(ms|s|m|h|d)|(millisecond|second|minute|hour|day)s?)$/;

/** From this value on, a bare number that is a multiple of 1,000 looks like milliseconds: 900000, not 86400. */
const LOOKS_LIKE_MS = 10_000;

/**
 * Reads a duration string, or a number of seconds (`60`, `0.25`), as whole milliseconds. A number that looks like
 * milliseconds is refused. Both `min` and `max` are inclusive, in milliseconds.
 */
export function readDuration(option: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && looksLikeMs(value)) {
    throw invalidOption(
      option,
      'a duration with its unit, because this number looks like milliseconds and would be seconds',
      value,
      bothUnits(value, max),
    );
  }
  const ms = typeof value === 'number' ? secondsToMs(value) : durationToMs(value);
  if (ms === undefined) {
    throw invalidOption(
      option,
      "a duration such as '250ms', '10s', '1m', '1h' or '1d', or a number of seconds",
      value,
      "Write a whole number and one of the units ms, s, m, h, d ('90s', not '1.5m'), or seconds in whole milliseconds (0.25).",
    );
  }
  return inRange(option, value, ms, min, max);
}

/** Reads a duration string as whole milliseconds. A bare number is refused, with the strings that it may stand for. */
export function readDurationString(
  option: string,
  value: unknown,
  min: number,
  max: number,
  example: Duration,
): number {
  const ms = durationToMs(value);
  if (ms === undefined) {
    throw invalidOption(
      option,
      `a duration such as '${example}'`,
      value,
      typeof value === 'number' && secondsToMs(value) !== undefined && value > 0
        ? bothUnits(value, max)
        : 'Write a whole number and one of the units ms, s, m, h, d.',
    );
  }
  return inRange(option, value, ms, min, max);
}

function inRange(option: string, value: unknown, ms: number, min: number, max: number): number {
  if (ms < min || ms > max) {
    throw invalidOption(
      option,
      `between ${min} ms and ${max} ms`,
      value,
      'Choose a duration in that range.',
    );
  }
  return ms;
}

function secondsToMs(seconds: number): number | undefined {
  const ms = Math.round(seconds * 1_000);
  // Decimal fractions such as 1.001 are off by an ulp or so after the multiplication; anything more is finer than 1 ms.
  return Number.isSafeInteger(ms) && Math.abs(seconds * 1_000 - ms) < 1e-6 ? ms : undefined;
}

/** Whole milliseconds of a duration string; undefined for any other value. */
export function durationToMs(value: unknown): number | undefined {
  const match = typeof value === 'string' ? GRAMMAR.exec(value) : null;
  return match === null
    ? undefined
    : Number(match[1]) * (MS_PER[match[2] ?? SYMBOL_OF[match[3]!]!] as number);
}

/** The shortest exact string for a whole number of milliseconds: 900000 is '15m'. */
export function msToDuration(ms: number): string {
  const [symbol, length] = Object.entries(MS_PER).find(([, each]) => ms % each === 0)!;
  return `${ms / length}${symbol}`;
}

export function looksLikeMs(value: number): boolean {
  return value >= LOOKS_LIKE_MS && Number.isSafeInteger(value) && value % 1_000 === 0;
}

/** Names the duration strings that a bare number may stand for, the likelier first. */
function bothUnits(value: number, max: number): string {
  const seconds = secondsToMs(value)!;
  const inMs = Number.isInteger(value) ? [`'${msToDuration(value)}' for milliseconds`] : [];
  const inSeconds = seconds <= max ? [`'${msToDuration(seconds)}' for seconds`] : [];
  const both = looksLikeMs(value) ? [...inMs, ...inSeconds] : [...inSeconds, ...inMs];
  return `Write ${both.join(', or ')}.`;
}
