import { invalidOption } from '../base/errors.ts';
import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { Gate } from './gate.ts';
import type { LimitedOptions } from './gate.ts';

/** A function that asks a limiter before each call. */
export interface LimitedFunction<This, Args extends readonly unknown[], Result> {
  (this: This, ...args: Args): Promise<Awaited<Result>>;
  /** What it asks. Close it where it was made from options. */
  readonly limiter: RateLimiter;
}

/** `NoInfer` that a tuple of parameters survives: types come from the function alone, and the options are checked by them. */
type Settled<T> = [T][T extends unknown ? 0 : never];

/**
 * The same function, behind a limiter: with the same parameters and `this`, and always asynchronous. A call that
 * passes runs the function, and what that returns or throws comes through unchanged. One that does not pass rejects
 * with `RateLimitExceeded` and leaves the function alone, or waits if told to. Under a concurrency limit a call takes
 * a place, and the place is free again when the returned promise settles; a release that fails is left to the `ttl`.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` and the like for every option that is not right. Calls reject with
 * `RateLimitExceeded`, with what `identify`, `cost` or `limits` throws, and as `allow`, `wait` and `acquire` do.
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
export function limited<This, Args extends unknown[], Result>(
  fn: (this: This, ...args: Args) => Result,
  options: LimitedOptions<Settled<This>, Settled<Args>>,
): LimitedFunction<This, Args, Result> {
  if (typeof fn !== 'function') {
    throw invalidOption('fn', 'a function', fn, 'Pass the function to be limited.');
  }
  return behind(new Gate('limited', options), fn);
}

/** The function behind a gate that is already there. */
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
