import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { optionError } from '../base/errors.ts';
import { Gate } from './gate.ts';
import type { LimitedOptions } from './gate.ts';
import { behind } from './limited.ts';

/** Options of `RateLimit`. Each function among them may read as many of the call's arguments as it likes. */
export interface RateLimitDecoratorOptions<
  This,
  ToIdentify extends unknown[],
  ToCost extends unknown[],
  ToLimits extends unknown[],
  By extends string = never,
  Unit extends string = never,
> extends Pick<LimitedOptions<This, [], By, Unit>, 'limiter' | 'wait' | 'heartbeat'> {
  identify: LimitedOptions<This, ToIdentify, By, Unit>['identify'];
  cost?: LimitedOptions<This, ToCost, By, Unit>['cost'];
  limits?: LimitedOptions<This, ToLimits, By, Unit>['limits'];
}

type AtLeast<Args extends unknown[]> = [...Args, ...unknown[]];

type Method<This, Args extends unknown[], Result> = (this: This, ...args: Args) => Promise<Result>;

/**
 * The result of `RateLimit`: a decorator of asynchronous methods that are called with at least `Args`, standard and
 * legacy.
 */
export interface RateLimitDecorator<
  This,
  Args extends unknown[],
  By extends string = never,
  Unit extends string = never,
> {
  /** As a standard decorator. */
  <Self extends This, Given extends Args, Result>(
    method: Method<Self, Given, Result>,
    context: ClassMethodDecoratorContext<Self, Method<Self, Given, Result>>,
  ): Method<Self, Given, Result>;
  /** As a decorator under `experimentalDecorators`. */
  <Self extends This, Given extends Args, Result>(
    target: Self,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method<Self, Given, Result>>,
  ): void;
  /** The limiter of the decorated method, shared by all instances. Close it here if it was made from options. */
  readonly limiter: RateLimiter<By, Unit>;
}

/**
 * Limits a method like `limited`: decorates an asynchronous method, of instances or static, standard or under
 * TypeScript's `experimentalDecorators`. `identify`, `cost` and `limits` get the call's arguments, and `this` is the
 * instance, or the class for a static method. All instances share one limiter.
 *
 * @throws {RateLimiterError} like `limited`; also if it decorates anything other than a method.
 * @example
 * class Mailer {
 *   @RateLimit({ limiter, identify: (to: string) => to })
 *   async send(to: string, text: string): Promise<void> { … }
 * }
 */
export function RateLimit<
  This = unknown,
  ToIdentify extends unknown[] = [],
  ToCost extends unknown[] = [],
  ToLimits extends unknown[] = [],
  By extends string = never,
  Unit extends string = never,
>(
  options: RateLimitDecoratorOptions<This, ToIdentify, ToCost, ToLimits, By, Unit>,
): RateLimitDecorator<This, AtLeast<ToIdentify> & AtLeast<ToCost> & AtLeast<ToLimits>, By, Unit> {
  const gate = new Gate<unknown, unknown[]>('RateLimit', options);
  function decorate(
    decorated: unknown,
    context: unknown,
    descriptor?: PropertyDescriptor,
  ): unknown {
    if (isMethod(decorated) && (context as DecoratorContext | undefined)?.kind === 'method') {
      return behind(gate, decorated);
    }
    if (isMethod(descriptor?.value)) {
      descriptor.value = behind(gate, descriptor.value);
      return undefined;
    }
    throw optionError(
      'RateLimit',
      'stand on a method',
      'and stands on something else',
      'For a function in a field use `limited`.',
    );
  }
  Object.defineProperty(decorate, 'limiter', { value: gate.limiter });
  return decorate as unknown as RateLimitDecorator<This, never[], By, Unit>;
}

function isMethod(value: unknown): value is (...args: unknown[]) => unknown {
  return typeof value === 'function';
}
