/** What all parts of the oracle count with. */

/** What one limit says. Microseconds are whole, rounded up. */
export interface OracleVerdict {
  readonly refused: boolean;
  readonly remaining: bigint;
  readonly over: bigint;
  readonly retryUs: bigint;
  readonly resetUs: bigint;
}

/** One limit's state while a call is decided at one instant. */
export interface Counter {
  passes(cost: bigint): boolean;
  /** Charges the cost, and returns what a refund must know of it. */
  charge(cost: bigint): unknown;
  /** Notes that the call was refused by this limit. */
  refuse(): void;
  /** Gives back the cost of the charge that returned this. */
  restore(charged: unknown, cost: bigint): void;
  verdict(cost: bigint, refused: boolean): OracleVerdict;
}

export const LIMIT_OF_NUMBERS: bigint = 2n ** 53n;

export function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

export function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** Of numbers that are not negative. */
export function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

export function isWhole(field: string): boolean {
  return /^[0-9]+$/.test(field);
}
