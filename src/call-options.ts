import { YEAR_MS } from './algorithms/limit.ts';
import type { Limit } from './algorithms/limit.ts';
import { readDuration } from './duration.ts';
import type { Duration } from './duration.ts';
import { invalidOption, RateLimiterError, show } from './errors.ts';
import { readBoolean, readInteger, readOptions } from './options.ts';
import type { WaitBounds } from './waiting.ts';

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
  const given = readOptions('this call', options, ['cost', 'limits'], COST_ALIASES);
  return {
    cost: given['cost'] === undefined ? 1 : readCost('cost', given['cost']),
    limits: given['limits'],
  };
}

export function readAcquireOptions(options: AcquireOptions | undefined): {
  heartbeat: boolean;
  call: CallOptions;
} {
  const known = ['cost', 'limits', 'heartbeat'];
  const { heartbeat, ...call } = readOptions('this call', options ?? {}, known, COST_ALIASES);
  return { heartbeat: heartbeat !== undefined && readBoolean('heartbeat', heartbeat), call };
}

export function readWaitOptions(options: unknown): { bounds: WaitBounds; call: CallOptions } {
  const known = ['cost', 'limits', 'timeoutMs', 'signal', 'maxQueue'];
  const given = readOptions('this call', options ?? {}, known, COST_ALIASES);
  const { cost, limits, timeoutMs, signal, maxQueue } = given;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidOption('signal', 'an AbortSignal', signal, 'Pass `controller.signal`.');
  }
  return {
    bounds: {
      timeoutMs:
        timeoutMs === undefined || timeoutMs === Number.POSITIVE_INFINITY
          ? Number.POSITIVE_INFINITY
          : readInteger('timeoutMs', timeoutMs, 0, Number.MAX_SAFE_INTEGER),
      maxQueue: maxQueue === undefined ? 1_000 : readInteger('maxQueue', maxQueue, 0, 1_000_000),
      signal,
    },
    call: {
      ...(cost === undefined ? {} : { cost: readCost('cost', cost) }),
      ...(limits === undefined ? {} : { limits: limits as readonly Limit[] }),
    },
  };
}

export function readReserveOptions(options: unknown): { ttlMs: number; call: CallOptions } {
  const given = readOptions('reserve', options, ['cost', 'limits', 'ttl'], RESERVE_ALIASES);
  const { cost, limits, ttl } = given;
  if (ttl === undefined || typeof ttl === 'number') {
    throw invalidOption(
      'ttl',
      "a duration such as '2m'",
      ttl,
      'Write how long the work takes at most, with its unit.',
    );
  }
  return {
    ttlMs: readDuration('ttl', ttl, 1, YEAR_MS),
    call: {
      ...(cost === undefined ? {} : { cost: readCost('cost', cost) }),
      ...(limits === undefined ? {} : { limits: limits as readonly Limit[] }),
    },
  };
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

const COST_ALIASES: Readonly<Record<string, string>> = {
  weight: 'cost',
  tokens: 'cost',
  points: 'cost',
  timeout: 'timeoutMs',
  maxQueueSize: 'maxQueue',
};

const RESERVE_ALIASES: Readonly<Record<string, string>> = {
  ...COST_ALIASES,
  estimate: 'cost',
  duration: 'ttl',
  expiresIn: 'ttl',
  timeout: 'ttl',
  ttlMs: 'ttl',
};
