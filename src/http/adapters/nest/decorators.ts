import { SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { optionError } from '../../../base/errors.ts';
import type { RateLimiterError } from '../../../base/errors.ts';
import { checkRule } from './rule.ts';
import type { RateLimitLimiterOptions, RateLimitRuleOptions, Rule } from './rule.ts';
import { readSkipped } from './skipped-limits.ts';
import type { NestRequest } from './call.ts';

/** The limits to skip: those with these names, or all if there are none. */
interface Skip {
  readonly skipped: readonly string[];
}

/** The decorators of one class or method, as metadata. */
interface Said {
  /** The class itself: a subclass inherits this metadata, and its own decorators replace it instead of adding to it. */
  readonly of: object;
  readonly rules: readonly Rule[] | Skip;
}

const SAID = 'distributed-rate-limiter:rules';

/**
 * Limits the calls of a controller, a resolver, a gateway or one of its handlers. A handler's rule overrides its
 * controller's, and that the module's. With a `limiter`, only this rule decides; without one, the outer rules do,
 * with these options changed. Several decorators on one target decide one after another, from the top.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for every misspelt or wrong option, while classes are loaded.
 * @example
 * ```ts
 * @RateLimit({ limiter: logins, count: 'failures' }) // no more than these failures, and
 * @RateLimit()                                       // what holds for every route
 * @Post('login')
 * login() {}
 * ```
 */
export function RateLimit<
  Request = NestRequest,
  By extends string = never,
  Unit extends string = never,
>(
  options: RateLimitLimiterOptions<Request, By, Unit>,
  ...more: []
): ClassDecorator & MethodDecorator;
export function RateLimit<Request = NestRequest>(
  options?: RateLimitRuleOptions<Request>,
  ...more: []
): ClassDecorator & MethodDecorator;
export function RateLimit(options: Rule = {}, ...more: []): ClassDecorator & MethodDecorator {
  const { length } = more as unknown[];
  if (length > 0) {
    throw optionError(
      '@RateLimit',
      'be called with one object of options',
      `got ${length + 1} arguments`,
      'Write @RateLimit({ … }), or @RateLimit() for no options.',
    );
  }
  checkRule('@RateLimit', options);
  return on((target) => {
    const said = saidOf(target);
    const own = said?.of === target ? said.rules : [];
    if (isSkip(own)) {
      throw contradiction();
    }
    // Decorators apply from the bottom.
    return [options, ...own];
  });
}

/**
 * Lets the calls of a controller or a handler through uncounted; with names, uncounted under the limits of these
 * names only. A handler's own `@RateLimit` with a `limiter` or `limits` overrides it, and any `@RateLimit` overrides
 * a skip of all limits.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for an invalid name, and beside `@RateLimit` on one target; at the
 * first call for a name that no limit of the route has.
 * @example
 * ```ts
 * @SkipRateLimit()
 * @Get('health')
 * health() {}
 * ```
 */
export function SkipRateLimit(...names: string[]): ClassDecorator & MethodDecorator {
  const skipped = readSkipped(names);
  return on((target) => {
    const said = saidOf(target);
    if (said?.of !== target) {
      return { skipped };
    }
    if (!isSkip(said.rules)) {
      throw contradiction();
    }
    const all = skipped.length === 0 || said.rules.skipped.length === 0;
    return { skipped: all ? [] : [...said.rules.skipped, ...skipped] };
  });
}

export function isSkip(rules: readonly Rule[] | Skip): rules is Skip {
  return 'skipped' in rules;
}

/** The metadata of a controller class or a handler; undefined if it has no decorator. */
export function rulesOf(target: object): readonly Rule[] | Skip | undefined {
  return saidOf(target)?.rules;
}

const reflector = new Reflector();

function saidOf(target: object): Said | undefined {
  return reflector.get<Said | undefined>(SAID, target as () => void);
}

function on(decide: (target: object) => Said['rules']): ClassDecorator & MethodDecorator {
  return (target: object, _name?: string | symbol, descriptor?: PropertyDescriptor): void => {
    const decorated = (descriptor?.value ?? target) as () => void;
    const said: Said = { of: decorated, rules: decide(decorated) };
    SetMetadata(SAID, said)(decorated);
  };
}

function contradiction(): RateLimiterError {
  return optionError(
    '@RateLimit` and `@SkipRateLimit',
    'not stand on one target',
    'got both',
    'Remove one of them.',
  );
}
