import { invalidOption } from './errors.ts';

/**
 * A length of time: a whole number and its unit, `'250ms'`, `'10s'`, `'1m'`, `'1h'`, `'1d'`.
 *
 * @example
 * tokenBucket({ rate: 100, period: '1m' });
 */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const MS_PER: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const GRAMMAR = /^(\d{1,15})(ms|s|m|h|d)$/;

/**
 * Whole milliseconds of a duration string, or of a number of seconds (`60`, `0.25`) in whole milliseconds.
 * Both `min` and `max` are in milliseconds and may be reached.
 */
export function readDuration(option: string, value: unknown, min: number, max: number): number {
  const ms = typeof value === 'number' ? secondsToMs(value) : stringToMs(value);
  if (ms === undefined) {
    throw invalidOption(
      option,
      "a duration such as '250ms', '10s', '1m', '1h' or '1d', or a number of seconds",
      value,
      "Write a whole number and one of the units ms, s, m, h, d ('90s', not '1.5m'), or seconds in whole milliseconds (0.25).",
    );
  }
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

function stringToMs(value: unknown): number | undefined {
  const match = typeof value === 'string' ? GRAMMAR.exec(value) : null;
  return match === null ? undefined : Number(match[1]) * (MS_PER[match[2]!] as number);
}
