import type { AnyLimiter, AnyLimiterOptions } from '../../../limiter/limiter-or-options.ts';
import type { RateLimiterOptions } from '../../../limiter/limiter-options.ts';
import type { RateLimiter } from '../../../limiter/rate-limiter.ts';
import { invalidOption } from '../../../base/errors.ts';
import { checkLimiterOrOptions, isLimiter } from '../../../limiter/limiter-or-options.ts';
import { checkCost } from '../../../limiter/limit-units.ts';
import { ADDRESS_OPTIONS } from '../../../options/option-sets.ts';
import { Problems } from '../../../options/option-problems.ts';
import { readGuardOptions } from '../../guard-options.ts';
import type { AnyGuardOptions, GuardOptions } from '../../guard-options.ts';
import { addressesOf } from './call.ts';
import type { NestRequest } from './call.ts';

/**
 * Options of `@RateLimit` under inherited limiters. Omitted options are inherited from the controller, then from the
 * module. The types do not know the limits of what is inherited: to have `identify` and `cost` checked, name their
 * parts and units, `RateLimitRuleOptions<NestRequest, 'org', 'tokens'>`.
 *
 * @example
 * const options: RateLimitRuleOptions = { cost: 10, identify: (request) => request.headers['x-api-key'] };
 */
export interface RateLimitRuleOptions<
  Request = NestRequest,
  By extends string = string,
  Unit extends string = string,
> extends GuardOptions<Request, By, Unit> {
  limiter?: undefined;
}

/**
 * Options of `@RateLimit` with a limiter of its own.
 *
 * @example
 * const options: RateLimitLimiterOptions = { limiter: logins, count: 'failures' };
 */
export interface RateLimitLimiterOptions<
  Request = NestRequest,
  By extends string = never,
  Unit extends string = never,
> extends GuardOptions<Request, By, Unit> {
  /**
   * A limiter, or the options of a new one, which the module closes. It replaces outer limiters, and inherits neither
   * `limits` nor `cost`, because both are in the units of a limiter.
   */
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>;
}

/** Options that govern a route, without the types of its requests and of its limits. */
export interface Rule extends AnyGuardOptions<never> {
  limiter?: AnyLimiter | AnyLimiterOptions | undefined;
}

/** A rule with all inherited options. */
export interface CompleteRule extends AnyGuardOptions<never> {
  readonly limiter: AnyLimiter | AnyLimiterOptions;
  /** Names of its limits that are skipped. */
  readonly skipped?: readonly string[];
}

/** @throws {RateLimiterError} `ERR_INVALID_OPTION`, so that a mistake stops the start instead of a request. */
export function checkRule(where: string, rule: unknown): void {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) {
    throw invalidOption(`${where} options`, 'an object', rule, 'Pass the options by name.');
  }
  if (isLimiter(rule as AnyLimiter)) {
    throw invalidOption(
      `${where} options`,
      'options, and not a limiter itself',
      rule,
      'Pass it by name: `{ limiter }`.',
    );
  }
  const { limiter, ...options } = rule as Rule;
  const problems = new Problems(where);
  const settings = problems.attempt(() => readGuardOptions(options, addressesOf));
  if (limiter !== undefined) {
    problems.attempt(() => checkLimiterOrOptions(limiter));
  }
  problems.throwAll();
  const { cost, limits } = settings;
  // A rule without a cost may have rules inside it that all give one.
  if (limiter !== undefined && cost !== undefined && typeof cost !== 'function') {
    checkCost(
      'cost',
      cost,
      limiter.limits ?? [],
      typeof limits === 'function' ? 'unknown' : limits,
    );
  }
}

/**
 * Applies a target's rules, in the order of its decorators, to those of the enclosing target. A rule with a limiter
 * replaces the outer rules; one without changes each of them.
 */
export function override(outer: readonly CompleteRule[], inner: readonly Rule[]): CompleteRule[] {
  return inner.flatMap((rule) =>
    (rule.limiter === undefined ? outer : outer.slice(0, 1)).map((under) => combine(under, rule)),
  );
}

function combine(under: CompleteRule, rule: Rule): CompleteRule {
  const combined: { -readonly [K in keyof CompleteRule]: CompleteRule[K] } = { ...under };
  if (rule.limiter !== undefined) {
    delete combined.limits;
    delete combined.cost;
  }
  if (rule.limiter !== undefined || rule.limits !== undefined) {
    // The names belong to the limits that were replaced.
    delete combined.skipped;
  }
  // The options of the identity belong together, and are not mixed across targets.
  if (rule.identify !== undefined || ADDRESS_OPTIONS.some((name) => rule[name] !== undefined)) {
    delete combined.identify;
    for (const name of ADDRESS_OPTIONS) {
      delete combined[name];
    }
  }
  const given = Object.entries(rule).filter(([, value]) => value !== undefined);
  return Object.assign(combined, Object.fromEntries(given));
}
