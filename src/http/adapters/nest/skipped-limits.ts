import type { AnyLimiter } from '../../../limiter/limiter-or-options.ts';
import type { AnyLimit } from '../../../algorithms/limit.ts';
import { invalidOption, optionError } from '../../../base/errors.ts';
import type { AnyGuardOptions } from '../../guard-options.ts';

/**
 * Checks the arguments of `@SkipRateLimit`: names of limits, or none for all limits.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 */
export function readSkipped(names: readonly unknown[]): readonly string[] {
  for (const name of names) {
    if (typeof name !== 'string' || name === '') {
      throw invalidOption(
        '@SkipRateLimit',
        'called with the names of limits, or with nothing for all limits',
        name,
        `Write ${exampleFor(name)}.`,
      );
    }
  }
  return names as readonly string[];
}

/** Recognizes `{ short: true, long: false }`, the form of @nestjs/throttler. */
function exampleFor(given: unknown): string {
  const names =
    typeof given === 'object' && given !== null && !Array.isArray(given)
      ? Object.entries(given)
          .filter(([name, skips]) => skips === true && /^[A-Za-z0-9._-]{1,64}$/.test(name))
          .map(([name]) => `'${name}'`)
      : [];
  return names.length === 0
    ? "@SkipRateLimit() or @SkipRateLimit('short')"
    : `@SkipRateLimit(${names.join(', ')})`;
}

/** Stands for a plan all of whose limits are skipped. */
const ALL_SKIPPED: readonly AnyLimit[] = [];

/**
 * Returns a guard's options without the limits of these names. Undefined if none is left, and the guard has nothing
 * to do.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for a name that no limit has
 */
export function withoutLimits(
  limiter: AnyLimiter,
  options: AnyGuardOptions<never>,
  skipped: readonly string[],
): AnyGuardOptions<never> | undefined {
  const { limits: given, skip } = options;
  if (typeof given !== 'function') {
    const limits = given ?? limiter.limits;
    checkNames(limits, skipped);
    const left = limits.filter(({ name }) => !skipped.includes(name));
    return left.length === 0 ? undefined : { ...options, limits: left };
  }
  const known = new WeakMap<readonly AnyLimit[], readonly AnyLimit[]>();
  const limitsOf = async (request: never): Promise<readonly AnyLimit[]> => {
    const limits = (await given(request)) ?? limiter.limits;
    let left = known.get(limits);
    if (left === undefined) {
      // One list for each plan, because everything derived from a list is cached with it.
      left = limits.filter(({ name }) => !skipped.includes(name));
      // The guard still decides under a plan that had no limit to begin with, because the identity may be blocked.
      left = left.length === 0 && limits.length > 0 ? ALL_SKIPPED : left;
      known.set(limits, left);
    }
    return left;
  };
  return {
    ...options,
    limits: limitsOf,
    skip: async (request: never) =>
      ((await skip?.(request)) ?? false) || (await limitsOf(request)) === ALL_SKIPPED,
  };
}

function checkNames(limits: readonly AnyLimit[], skipped: readonly string[]): void {
  const unknown = skipped.find((name) => !limits.some((limit) => limit.name === name));
  if (unknown !== undefined) {
    throw optionError(
      '@SkipRateLimit',
      'name limits that hold for the route',
      `got '${unknown.slice(0, 80)}'`,
      `They are ${limits.map(({ name }) => `'${name}'`).join(', ')}.`,
    );
  }
}
