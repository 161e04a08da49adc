import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { invalidOption } from '../base/errors.ts';
import { Gate } from './gate.ts';
import type { LimitedOptions } from './gate.ts';

/** A function that calls a limiter before each run. */
export interface LimitedFunction<
  This,
  Args extends readonly unknown[],
  Result,
  By extends string = never,
  Unit extends string = never,
> {
  (this: This, ...args: Args): Promise<Awaited<Result>>;
  /** The function's limiter. Close it here if it was made from options. */
  readonly limiter: RateLimiter<By, Unit>;
}

/**
 * A `NoInfer` that works for a tuple of parameters: types are inferred from the function alone, and the options are
 * checked against them.
 */
type Settled<T> = [T][T extends unknown ? 0 : never];

/**
 * Wraps a function with a limiter. The result has the same parameters and `this`, and is always asynchronous. A call
 * that passes runs the function, and its result or error comes through unchanged. A call that does not pass rejects
 * with `RateLimitExceeded` without running the function, or waits if `wait` is set. Under a concurrency limit a call
 * takes a place, and frees it when the returned promise settles. If the release fails, the lease expires after its
 * `ttl`.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` and the like for every wrong option. Calls reject with
 * `RateLimitExceeded`, with errors of `identify`, `cost` or `limits`, and like `allow`, `wait` and `acquire`.
 * @example
 * const send = limited(sendMail, { limiter, identify: (to) => to });
 * await send('alice@example.com', 'Hello');
 * @example
 * // Somebody else's API, asked no faster than it allows.
 * const search = limited(fetchResults, {
 *   limiter: { redis: 'redis://localhost:6379', rate: 10, period: '1s' },
 *   identify: 'api.example.com',
 *   wait: { timeoutMs: 30_000 },
 * });
 */
export function limited<
  This,
  Args extends unknown[],
  Result,
  By extends string = never,
  Unit extends string = never,
>(
  fn: (this: This, ...args: Args) => Result,
  options: LimitedOptions<Settled<This>, Settled<Args>, By, Unit>,
): LimitedFunction<This, Args, Result, NoInfer<By>, NoInfer<Unit>> {
  if (typeof fn !== 'function') {
    throw invalidOption('fn', 'a function', fn, 'Pass the function to be limited.');
  }
  const gate = new Gate<This, Args>('limited', options);
  return behind(gate, fn) as unknown as LimitedFunction<This, Args, Result, By, Unit>;
}

/** Wraps a function with an existing gate. */
export function behind<This, Args extends unknown[], Result>(
  gate: Gate<This, Args>,
  fn: (this: This, ...args: Args) => Result,
): LimitedFunction<This, Args, Result> {
  async function call(this: This, ...args: Args): Promise<Awaited<Result>> {
    const lease = await gate.enter(this, args);
    try {
      return await Reflect.apply(fn, this, args);
    } finally {
      await lease?.[Symbol.asyncDispose]();
    }
  }
  Object.defineProperties(call, {
    name: { value: fn.name, configurable: true },
    length: { value: fn.length, configurable: true },
    limiter: { value: gate.limiter },
  });
  return call as LimitedFunction<This, Args, Result>;
}
