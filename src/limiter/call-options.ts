import { YEAR_MS } from '../algorithms/limit.ts';
import type { Limit } from '../algorithms/limit.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption, optionError, show } from '../base/errors.ts';
import { ACQUIRE, CALL, RESERVE, WAIT } from '../options/option-sets.ts';
import { GivenOptions, readBoolean, readInteger } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import type { WaitBounds } from './wait-queue.ts';

/** Options of one call. `By` is the union of the parts that the limiter's limits count by. */
export interface CallOptions<By extends string = never> {
  /**
   * Units that this call asks for: a whole number from 0. Default 1. For money, count the smallest unit. A call of cost
   * 0 charges nothing, and is refused only by a debt or a block.
   */
  cost?: number;
  /**
   * Limits for this call, instead of the limiter's own: a plan, an override. Units that still count are used under it
   * too, whichever plan they were charged under; a raise holds at once. `[]` is the plan without a limit: with `blocks: true` the store is asked for a block and nothing else, without it nothing.
   */
  limits?: readonly Limit<string, By>[];
}

/** Options of `acquire`. */
export interface AcquireOptions<By extends string = never> extends CallOptions<By> {
  /**
   * Renews the lease every third of its `ttl`, until it is released or lost, or the limiter is closed. For work that
   * may take longer than `ttl`. Does not keep the process alive. Default false.
   */
  heartbeat?: boolean;
}

/** Options of `wait`. */
export interface WaitOptions<By extends string = never> extends CallOptions<By> {
  /** The longest wait in milliseconds. Default Infinity. */
  timeoutMs?: number;
  /** Ends the waiting; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** The most calls of one identity that wait behind the first in this process, from 0 to 1,000,000. Default 1,000. */
  maxQueue?: number;
}

/** Options of `reserve`. */
export interface ReserveOptions<By extends string = never> extends CallOptions<By> {
  /**
   * The longest that the work takes. After that the reservation can no longer be settled, and the estimate stays
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

export function readAcquireOptions(options: unknown): {
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

/** Checks the rest, and returns the options that `readCallOptions` reads again when the call is made. */
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
  if (!(Number.isSafeInteger(cost) && (cost as number) >= 0)) {
    throw optionError(
      option,
      `be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
      `got ${show(cost)}`,
      'For fractions count a smaller unit.',
      { code: 'ERR_INVALID_COST' },
    );
  }
  return (cost as number) + 0; // -0 is 0
}
