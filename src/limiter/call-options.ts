import { YEAR_MS } from '../algorithms/limit.ts';
import type { Limit } from '../algorithms/limit.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption, RateLimiterError, show } from '../base/errors.ts';
import { ACQUIRE, CALL, RESERVE, WAIT } from '../options/option-sets.ts';
import { GivenOptions, readBoolean, readInteger } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import type { WaitBounds } from './wait-queue.ts';

/** What one call may say for itself. */
export interface CallOptions {
  /** Units that this call asks for; a whole number from 1. Default 1. For money, count the smallest unit. */
  cost?: number;
  /** In place of the limiter's own limits for this call: a plan, an override. What was used so far stays used. */
  limits?: readonly Limit[];
}

/** What a call that takes a place may say for itself. */
export interface AcquireOptions extends CallOptions {
  /**
   * Renew the lease by itself, every third of its `ttl`, until it is released, lost, or the limiter closed: for work
   * that may take longer than `ttl`. A process that does nothing else may end meanwhile. Default false.
   */
  heartbeat?: boolean;
}

/** What a call that waits may say for itself. */
export interface WaitOptions extends CallOptions {
  /** How long to wait at most, in milliseconds, and Infinity, the default, for as long as it takes. */
  timeoutMs?: number;
  /** Ends the waiting; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** How many calls of one identity may wait behind the first in this process; from 0 to 1,000,000. Default 1,000. */
  maxQueue?: number;
}

/** What a reservation may say for itself. */
export interface ReserveOptions extends CallOptions {
  /**
   * How long the work takes at most: after that the reservation can no longer be settled, and the estimate stays
   * charged. A duration with its unit, from `'1ms'` to `'366d'`.
   */
  ttl: Duration;
}

export function readCallOptions(options: unknown): { cost: number; limits: unknown } {
  const given = new GivenOptions(CALL, options);
  const cost = given.optional('cost', readCost, 1);
  given.end();
  return { cost, limits: given.values['limits'] };
}

export function readAcquireOptions(options: AcquireOptions | undefined): {
  heartbeat: boolean;
  call: CallOptions;
} {
  const given = new GivenOptions(ACQUIRE, options ?? {});
  const heartbeat = given.optional('heartbeat', readBoolean, false);
  return { heartbeat, call: readCall(given) };
}

export function readWaitOptions(
  options: unknown,
  set: OptionSet = WAIT,
): { bounds: WaitBounds; call: CallOptions } {
  const given = new GivenOptions(set, options ?? {});
  const bounds = {
    timeoutMs: given.optional('timeoutMs', readTimeout, Number.POSITIVE_INFINITY),
    maxQueue: given.optional(
      'maxQueue',
      (option, value) => readInteger(option, value, 0, 1_000_000),
      1_000,
    ),
    signal: given.optional('signal', readSignal, undefined),
  };
  return { bounds, call: readCall(given) };
}

export function readReserveOptions(options: unknown): { ttlMs: number; call: CallOptions } {
  const given = new GivenOptions(RESERVE, options);
  const ttlMs = given.required('ttl', (option, value) =>
    readDurationString(option, value, 1, YEAR_MS, '2m'),
  );
  return { ttlMs, call: readCall(given) };
}

/** What `readCallOptions` reads again, where the call is made. Ends the reading. */
function readCall(given: GivenOptions): CallOptions {
  const cost = given.optional('cost', readCost, undefined);
  given.end();
  const { limits } = given.values;
  return {
    ...(cost === undefined ? {} : { cost }),
    ...(limits === undefined ? {} : { limits: limits as readonly Limit[] }),
  };
}

function readTimeout(option: string, value: unknown): number {
  return value === Number.POSITIVE_INFINITY
    ? value
    : readInteger(option, value, 0, Number.MAX_SAFE_INTEGER);
}

function readSignal(option: string, value: unknown): AbortSignal {
  if (!(value instanceof AbortSignal)) {
    throw invalidOption(option, 'an AbortSignal', value, 'Pass `controller.signal`.');
  }
  return value;
}

export function readCost(option: string, cost: unknown): number {
  if (!(Number.isSafeInteger(cost) && (cost as number) >= 1)) {
    throw new RateLimiterError(
      'ERR_INVALID_COST',
      `\`${option}\` must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, got ${show(cost)}. To look without charging use \`peek\`; for fractions count a smaller unit.`,
    );
  }
  return cost as number;
}
