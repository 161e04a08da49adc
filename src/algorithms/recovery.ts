import { FIRST_INEXACT } from './limit.ts';

/** Ten years: a clock reading plus this stays far below 2^53 until the year 2255. */
export const MAX_RECOVERY_US: number = 10 * 366 * 86_400_000_000;

/** A time of `int` whole microseconds and `rem` n-ths of one, `0 <= rem < n`. */
export interface Micros {
  readonly int: number;
  readonly rem: number;
}

/**
 * `p / n` microseconds of recovery per unit, in lowest terms. Never rounded, so no rate is off: whole microseconds would
 * admit 43 % too much at 700,000 per second.
 */
export interface Spacing {
  readonly p: number;
  readonly n: number;
}

/** `period / rate` in lowest terms. */
export function spacingOf(rate: number, periodUs: number): Spacing {
  let [a, b] = [rate, periodUs];
  while (b !== 0) {
    [a, b] = [b, a % b];
  }
  return { p: periodUs / a, n: rate / a };
}

/** The quotient and the remainder of `a · b / c`, for `a < c < 2^52`. The product itself may exceed 2^53. */
function multiplyDivide(a: number, b: number, c: number): readonly [number, number] {
  let bit = 1;
  while (bit * 2 <= b) {
    bit *= 2;
  }
  let quotient = 0;
  let rest = 0;
  let left = b;
  while (bit >= 1) {
    quotient *= 2;
    rest *= 2;
    if (rest >= c) {
      quotient += 1;
      rest -= c;
    }
    if (left >= bit) {
      left -= bit;
      rest += a;
      if (rest >= c) {
        quotient += 1;
        rest -= c;
      }
    }
    bit /= 2;
  }
  return [quotient, rest];
}

/** Recovery time of `units`: exactly `units · p / n` microseconds, while that is below 2^53. */
export function recovery(units: number, { p, n }: Spacing): Micros {
  const part = p % n;
  const whole = units * ((p - part) / n);
  const parts = units * part;
  if (parts >= FIRST_INEXACT) {
    const [int, rem] = multiplyDivide(part, units, n);
    return { int: whole + int, rem };
  }
  const rem = parts % n;
  return { int: whole + (parts - rem) / n, rem };
}

/** The most whole units whose recovery is at most `int + rem / n` microseconds; `rem` may be negative. */
export function unitsWithin(int: number, rem: number, spacing: Spacing): number {
  const { p, n } = spacing;
  if (n === 1) {
    return int > 0 ? Math.floor(int / p) : 0;
  }
  const [whole, rest] = rem < 0 ? [int - 1, rem + n] : [int, rem];
  const fits = (units: number): boolean => {
    const needed = recovery(units, spacing);
    return needed.int < whole || (needed.int === whole && needed.rem <= rest);
  };
  // The product may exceed 2^53. The estimate is then off by about one, and the exact comparisons below correct it.
  let units = Math.max(0, Math.floor((int * n + rem) / p));
  while (units > 0 && !fits(units)) {
    units -= 1;
  }
  while (fits(units + 1)) {
    units += 1;
  }
  return units;
}

/** The fewest whole units whose recovery is at least `int + rem / n` microseconds; `rem` may be negative. */
export function unitsCovering(int: number, rem: number, spacing: Spacing): number {
  if (int < 0 || (int === 0 && rem <= 0)) {
    return 0;
  }
  const { p, n } = spacing;
  return n === 1 ? Math.ceil(int / p) : unitsWithin(int, rem - 1, spacing) + 1;
}

/**
 * The time in which the units that take `int + rem / n` microseconds `from` one spacing recover by another: rounded up
 * to the other's n-ths, and at most `top` microseconds.
 */
export function respaced(
  int: number,
  rem: number,
  from: Spacing,
  to: Spacing,
  top: number,
): Micros {
  if (int < 0) {
    return { int: 0, rem: 0 };
  }
  const most = { int: top, rem: 0 };
  const estimate = (((int * from.n + rem) / from.p) * to.p) / to.n;
  if (estimate > top * 1.000001 + 2) {
    return most;
  }
  const units = unitsWithin(int, rem, from);
  const whole = recovery(units, from);
  const rest = (int - whole.int) * from.n + rem - whole.rem;
  const [quotient, left] = multiplyDivide(rest, to.p, from.p);
  const parts = left > 0 ? quotient + 1 : quotient;
  const start = recovery(units, to);
  const sum = start.rem + parts;
  const time = { int: start.int + (sum - (sum % to.n)) / to.n, rem: sum % to.n };
  return time.int < top ? time : most;
}
