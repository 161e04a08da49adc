import { DEFAULT_LIMIT_NAME, LIMIT_BRAND } from '../algorithms/limit.ts';
import type { Limit } from '../algorithms/limit.ts';
import { isMarked } from '../base/copies.ts';
import {
  carries,
  invalidOption,
  ofAnotherVersion,
  RateLimiterError,
  show,
} from '../base/errors.ts';

export const MAX_LIMITS = 16;

/**
 * Checks and copies an array of 1 to 16 limits with distinct names. Without `isLimit`, limits from another version
 * of this package are accepted too.
 */
export function readLimits(
  limits: unknown,
  isLimit: (limit: unknown) => limit is Limit = isOfSomeVersion,
): readonly Limit[] {
  checkCount(limits);
  const names = new Set<string>();
  for (const limit of limits) {
    if (!isLimit(limit)) {
      throw carries(limit, LIMIT_BRAND)
        ? ofAnotherVersion('limits', 'a limit')
        : invalidOption(
            'limits',
            'made of limits',
            limit,
            'Make each with tokenBucket({ rate, period }).',
          );
    }
    if (names.has(limit.name)) {
      throw new RateLimiterError(
        'ERR_INVALID_OPTION',
        limit.name === DEFAULT_LIMIT_NAME
          ? '`limits` must have at most one limit without a name, got two. Give each a `name`.'
          : `\`limits\` must have different names, got ${show(limit.name)} twice. Rename one.`,
      );
    }
    names.add(limit.name);
  }
  return [...(limits as Limit[])];
}

/** Reads the limits of a call, which may be none: `[]` is the plan without a limit. */
export function readPlan(
  limits: unknown,
  isLimit?: (limit: unknown) => limit is Limit,
): readonly Limit[] {
  return Array.isArray(limits) && limits.length === 0 ? [] : readLimits(limits, isLimit);
}

/** Checks the length first: an array from a request may be long. */
export function checkCount(limits: unknown): asserts limits is readonly unknown[] {
  if (!Array.isArray(limits) || limits.length < 1 || limits.length > MAX_LIMITS) {
    const isEmpty = Array.isArray(limits) && limits.length === 0;
    throw invalidOption(
      'limits',
      `an array of 1 to ${MAX_LIMITS} limits`,
      limits,
      `Pass limits made by tokenBucket({ rate, period }).${isEmpty ? ' Only a call may be without a limit: allow(identity, { limits: [] }).' : ''}`,
    );
  }
}

export function isOfThisVersion(limit: unknown): limit is Limit {
  return isMarked(limit, LIMIT_BRAND);
}

function isOfSomeVersion(limit: unknown): limit is Limit {
  return typeof limit === 'object' && limit !== null && 'twin' in limit;
}
