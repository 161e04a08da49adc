import { YEAR_MS } from '../algorithms/limit.ts';
import type { AnyLimit, Limit } from '../algorithms/limit.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import type { Cost, GivenCost } from '../base/decision.ts';
import { invalidOption } from '../base/errors.ts';
import type { RateLimiterError } from '../base/errors.ts';
import { ACQUIRE, CALL, RESERVE, WAIT } from '../options/option-sets.ts';
import { GivenOptions, readBoolean, readInteger } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { readGivenCost } from './cost.ts';
import type { WaitBounds } from './wait-queue.ts';

/** Options of one call. `By` is the union of the parts that the limiter's limits count by, `Unit` that of their units. */
export interface CallOptions<By extends string = never, Unit extends string = never> {
  /**
   * Units that this call asks for: a whole number from 0. Default 1. For money, count the smallest unit. A call of cost
   * 0 charges nothing, and is refused only by a debt or a block. In a limiter with units by name, `{ tokens: 1200 }`:
   * `calls` is then 1 unless named, and a limit whose unit is not named is not asked.
   */
  cost?: GivenCost<Unit>;
  /**
   * Limits for this call, instead of the limiter's own: a plan, an override. Units that still count are used under it
   * too, whichever plan they were charged under; a raise holds at once. `[]` is the plan without a limit: with `blocks: true` the store is asked for a block and nothing else, without it nothing.
   */
  limits?: readonly Limit<string, By, Unit>[];
}

/** Options of a call under whatever limits. */
export type AnyCallOptions = CallOptions<string, string>;

/** Options of `acquire`. */
export interface AcquireOptions<
  By extends string = never,
  Unit extends string = never,
> extends CallOptions<By, Unit> {
  /**
   * Renews the lease every third of its `ttl`, until it is released or lost, or the limiter is closed. For work that
   * may take longer than `ttl`. Does not keep the process alive. Default false.
   */
  heartbeat?: boolean;
}

/** Options of `wait`. */
export interface WaitOptions<
  By extends string = never,
  Unit extends string = never,
> extends CallOptions<By, Unit> {
  /** The longest wait in milliseconds. Default Infinity. */
  timeoutMs?: number;
  /** Ends the waiting; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** The most calls of one identity that wait behind the first in this process, from 0 to 1,000,000. Default 1,000. */
  maxQueue?: number;
}

/** Options of `reserve`. */
export interface ReserveOptions<
  By extends string = never,
  Unit extends string = never,
> extends CallOptions<By, Unit> {
  /**
   * The longest that the work takes. After that the reservation can no longer be settled, and the estimate stays
   * charged. A duration with its unit, from `'1ms'` to `'366d'`.
   */
  ttl: Duration;
}

export function readCallOptions(options: unknown): { cost: Cost | undefined; limits: unknown } {
  const given = new GivenOptions(CALL, options);
  const cost = given.optional('cost', readGivenCost, undefined);
  given.end();
  return { cost, limits: given.values['limits'] };
}

export function readAcquireOptions(options: unknown): {
  heartbeat: boolean;
  call: AnyCallOptions;
} {
  const given = new GivenOptions(ACQUIRE, options ?? {});
  const heartbeat = given.optional('heartbeat', readBoolean, false);
  return { heartbeat, call: readCall(given) };
}

export function readWaitOptions(
  options: unknown,
  set: OptionSet = WAIT,
): { bounds: WaitBounds; call: AnyCallOptions } {
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

/** The error for `wait` under a concurrency limit. */
export function waitsForPlaces(limits: unknown, cure: string): RateLimiterError {
  return invalidOption(
    'wait',
    'left out where a limit is a concurrency limit',
    limits,
    `Nobody can say when a place will be free. ${cure}`,
  );
}

export function readReserveOptions(options: unknown): { ttlMs: number; call: AnyCallOptions } {
  const given = new GivenOptions(RESERVE, options);
  const ttlMs = given.required('ttl', (option, value) =>
    readDurationString(option, value, 1, YEAR_MS, '2m'),
  );
  return { ttlMs, call: readCall(given) };
}

/** Checks the rest, and returns the options that `readCallOptions` reads again when the call is made. */
function readCall(given: GivenOptions): AnyCallOptions {
  const cost = given.optional('cost', readGivenCost, undefined);
  given.end();
  const { limits } = given.values;
  return {
    ...(cost === undefined ? {} : { cost }),
    ...(limits === undefined ? {} : { limits: limits as readonly AnyLimit[] }),
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
