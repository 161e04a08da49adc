import type { RateLimiterOptions } from '../../../limiter/limiter-options.ts';
import type { AnyLimiter, AnyLimiterOptions } from '../../../limiter/limiter-or-options.ts';
import type { ExecutionContext, OnApplicationShutdown } from '@nestjs/common';
import { RateLimiter } from '../../../limiter/rate-limiter.ts';
import { isLimiter } from '../../../limiter/limiter-or-options.ts';
import { makeGuard } from '../../guard.ts';
import type { Guard } from '../../guard.ts';
import type { GuardOptions } from '../../guard-options.ts';
import { addressesOf, requestOf } from './call.ts';
import { isSkip, rulesOf } from './decorators.ts';
import { override } from './rule.ts';
import type { CompleteRule } from './rule.ts';
import { withoutLimits } from './skipped-limits.ts';

/** One of the guards of a route. */
export interface RouteGuard {
  readonly guard: Guard<unknown>;
  readonly count: NonNullable<GuardOptions<never>['count']>;
}

const NONE: readonly RouteGuard[] = [];

/** The guards of each route of an application, made once, and the limiters that were made for them. */
export class RouteGuards implements OnApplicationShutdown {
  /** The module's own limiter. */
  readonly limiter: AnyLimiter;
  readonly #base: CompleteRule;
  readonly #made = new Map<AnyLimiterOptions, AnyLimiter>();
  readonly #routes = new WeakMap<object, WeakMap<object, readonly RouteGuard[]>>();
  readonly #decided = new WeakSet<ExecutionContext>();

  constructor(base: CompleteRule) {
    this.#base = base;
    this.limiter = this.#obtainLimiter(base.limiter);
  }

  /** Returns none if the call was decided before: the guard may be bound both to the application and to a route. */
  take(context: ExecutionContext): readonly RouteGuard[] {
    if (this.#decided.has(context)) {
      return NONE;
    }
    this.#decided.add(context);
    return this.#of(context.getClass(), context.getHandler());
  }

  /** Runs after the last response, because a lease is released when its response ends. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.all([...this.#made.values()].map((limiter) => limiter.close()));
  }

  #of(controller: object, handler: object): readonly RouteGuard[] {
    // Controllers may inherit a handler.
    let handlers = this.#routes.get(controller);
    if (handlers === undefined) {
      handlers = new WeakMap();
      this.#routes.set(controller, handlers);
    }
    let guards = handlers.get(handler);
    if (guards === undefined) {
      guards = this.#rulesOf(controller, handler).flatMap((rule) => this.#makeGuards(rule));
      handlers.set(handler, guards);
    }
    return guards;
  }

  #rulesOf(controller: object, handler: object): readonly CompleteRule[] {
    let rules: readonly CompleteRule[] = [this.#base];
    for (const decorated of [controller, handler]) {
      const said = rulesOf(decorated);
      if (said === undefined) {
        continue;
      }
      if (isSkip(said)) {
        rules = skip(rules, said.skipped);
      } else {
        rules = override(rules.length === 0 ? [this.#base] : rules, said);
      }
    }
    return rules;
  }

  #makeGuards({ limiter: given, skipped, ...own }: CompleteRule): RouteGuard[] {
    const limiter = this.#obtainLimiter(given);
    const options = skipped === undefined ? own : withoutLimits(limiter, own, skipped);
    if (options === undefined) {
      return [];
    }
    const guard = makeGuard<never>(limiter, options, {
      addressOf: addressesOf,
      requestOf,
      factory: undefined,
    });
    return [{ guard, count: options.count ?? 'all' }];
  }

  #obtainLimiter(given: AnyLimiter | AnyLimiterOptions): AnyLimiter {
    if (isLimiter(given)) {
      return given;
    }
    let limiter = this.#made.get(given);
    if (limiter === undefined) {
      limiter = new RateLimiter(given as RateLimiterOptions<never, string>);
      this.#made.set(given, limiter);
    }
    return limiter;
  }
}

function skip(rules: readonly CompleteRule[], names: readonly string[]): readonly CompleteRule[] {
  return names.length === 0
    ? []
    : rules.map((rule) => ({ ...rule, skipped: [...(rule.skipped ?? []), ...names] }));
}
