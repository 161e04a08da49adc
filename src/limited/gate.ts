import type { RateLimiter } from '../limiter/rate-limiter.ts';
import type { RateLimiterOptions } from '../limiter/limiter-options.ts';
import type { AnyLimiter, AnyLimiterOptions } from '../limiter/limiter-or-options.ts';
import type { Limit } from '../algorithms/limit.ts';
import type { GivenCost } from '../base/decision.ts';
import { readWaitOptions, waitsForPlaces } from '../limiter/call-options.ts';
import { NamedCost, readCost, unitOf } from '../limiter/cost.ts';
import { checkCost } from '../limiter/limit-units.ts';
import type { AnyCallOptions, WaitOptions } from '../limiter/call-options.ts';
import { invalidOption } from '../base/errors.ts';
import { checkLimiterOrOptions, toLimiter } from '../limiter/limiter-or-options.ts';
import { digestIdentity } from '../base/identity.ts';
import type { Identity, IdentityOf } from '../base/identity.ts';
import type { Lease } from '../limiter/lease.ts';
import { faultUnder } from '../limiter/homes.ts';
import { lendsPlaces, maxCostOf } from '../limiter/limit-set.ts';
import { readPlan } from '../limiter/read-limits.ts';
import { limitedOptions, WAIT_OF_LIMITED } from '../options/option-sets.ts';
import { GivenOptions, readBoolean } from '../options/read-options.ts';
import { RateLimitExceeded } from '../limiter/rate-limit-exceeded.ts';
import type { RefusedDecision } from '../limiter/rate-limit-exceeded.ts';

/** Bounds of a call's wait and of its queue. */
export type WaitBounds = Pick<WaitOptions, 'timeoutMs' | 'signal' | 'maxQueue'>;

/** A function of the call's arguments. */
type FromArguments<This, Args extends readonly unknown[], T> = (
  this: This,
  ...args: Args
) => T | PromiseLike<T>;

/**
 * The identity and cost of a call, and how to handle a refusal. An error that one of these functions throws rejects
 * the call. `By` is the union of the parts that the limiter's limits count by, and `Unit` that of their units.
 *
 * @example
 * const options: LimitedOptions<void, [userId: string, rows: string[]]> = {
 *   limiter,
 *   identify: (userId) => userId,
 *   cost: (_, rows) => rows.length,
 * };
 */
export interface LimitedOptions<
  This,
  Args extends readonly unknown[],
  By extends string = never,
  Unit extends string = never,
> {
  /**
   * A limiter, which stays yours to close, or the options of a new one, which is the `limiter` of the result: close
   * it there.
   */
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>;
  /**
   * The identity to limit: the same for all calls, or a function of the call's arguments and `this`. Named parts where
   * limits say `by`.
   */
  identify: IdentityOf<NoInfer<By>> | FromArguments<This, Args, IdentityOf<NoInfer<By>>>;
  /**
   * Units that a call asks for: a whole number from 0, or a function of the call's arguments and `this`. Default 1. By
   * name where limits have units: `{ tokens: 1200 }`.
   */
  cost?: GivenCost<NoInfer<Unit>> | FromArguments<This, Args, GivenCost<NoInfer<Unit>>>;
  /**
   * Limits instead of the limiter's own: an override, or a plan per call. Return the same array for the same plan, so
   * that it is checked once. `[]` is the plan without a limit. If the function returns undefined, the limiter's own apply.
   */
  limits?:
    | readonly Limit<string, NoInfer<By>, NoInfer<Unit>>[]
    | FromArguments<This, Args, readonly Limit<string, NoInfer<By>, NoInfer<Unit>>[] | undefined>;
  /**
   * Whether a call waits for its turn, like `limiter.wait`, instead of being refused; `true` waits without bound. Not
   * under a concurrency limit. Default false.
   */
  wait?: boolean | WaitBounds;
  /** Whether the lease of a call is renewed for as long as it runs. Only under a concurrency limit. Default false. */
  heartbeat?: boolean;
}

/** Options of whatever limits. */
type AnyOptions<This, Args extends readonly unknown[]> = LimitedOptions<This, Args, string, string>;

const TRY_AGAIN = 'Catch RateLimitExceeded and try again.';

/** Guards a function: lets a call pass, or throws. */
export class Gate<This, Args extends readonly unknown[]> {
  readonly limiter: AnyLimiter;
  readonly #identify: AnyOptions<This, Args>['identify'];
  readonly #cost: AnyOptions<This, Args>['cost'];
  readonly #limits: AnyOptions<This, Args>['limits'];
  readonly #wait: WaitBounds | undefined;
  readonly #heartbeat: boolean;

  /** `where` names the object of options, for errors. */
  constructor(where: string, options: object) {
    const given = new GivenOptions(limitedOptions(where), options);
    this.#identify = given.required('identify', readIdentify);
    this.#cost = given.optional('cost', readCostOption, undefined);
    this.#limits = given.optional('limits', readLimitsOption, undefined);
    this.#wait = given.optional('wait', readWait, undefined);
    this.#heartbeat = given.optional('heartbeat', readBoolean, false);
    const limiter = given.required('limiter', readLimiter);
    given.end();
    this.limiter = toLimiter(limiter);
    try {
      this.#checkTogether();
    } catch (error) {
      if (this.limiter !== limiter) {
        void this.limiter.close();
      }
      throw error;
    }
  }

  /** Resolves to the lease of a call that passes, if a limit lends places. */
  async enter(self: This, args: Args): Promise<Lease | undefined> {
    const identify = this.#identify;
    const identity =
      typeof identify === 'function'
        ? ((await Reflect.apply(identify, self, args)) as Identity)
        : identify;
    const call =
      this.#cost === undefined && this.#limits === undefined ? {} : await this.#call(self, args);
    const lends = lendsPlaces(call.limits ?? this.limiter.limits);
    if (lends && this.#wait !== undefined) {
      throw waitsForPlaces(call.limits, TRY_AGAIN);
    }
    const decision = lends
      ? await this.limiter.acquire(identity, { ...call, heartbeat: this.#heartbeat })
      : this.#wait === undefined
        ? await this.limiter.allow(identity, call)
        : await this.limiter.wait(identity, { ...call, ...this.#wait });
    if (!decision.allowed) {
      throw new RateLimitExceeded(decision as RefusedDecision);
    }
    return lends ? (decision as Lease) : undefined;
  }

  async #call(self: This, args: Args): Promise<AnyCallOptions> {
    const { cost, limits } = {
      cost:
        typeof this.#cost === 'function' ? await Reflect.apply(this.#cost, self, args) : this.#cost,
      limits:
        typeof this.#limits === 'function'
          ? await Reflect.apply(this.#limits, self, args)
          : this.#limits,
    };
    return {
      ...(this.#cost === undefined ? {} : { cost: readCost('cost', cost) }),
      ...(limits === undefined ? {} : { limits }),
    };
  }

  /** Reports mistakes that would make every call fail. */
  #checkTogether(): void {
    const given = this.#limits;
    const cost = this.#cost;
    const own = this.limiter.limits;
    const asked =
      typeof cost === 'function'
        ? undefined
        : checkCost('cost', cost, own, typeof given === 'function' ? 'unknown' : given);
    if (typeof given === 'function') {
      return;
    }
    const limits = given ?? own;
    if (typeof this.#identify !== 'function') {
      const fault = faultUnder(this.limiter.limits, limits, this.#identify);
      if (fault !== undefined) {
        throw fault;
      }
    }
    const lends = lendsPlaces(limits);
    if (lends && this.#wait !== undefined) {
      throw waitsForPlaces(limits, TRY_AGAIN);
    }
    if (!lends && this.#heartbeat) {
      throw invalidOption(
        'heartbeat',
        'left out where no limit is a concurrency limit',
        true,
        'It renews leases. Add concurrency({ max, ttl }), or leave it out.',
      );
    }
    if (asked instanceof NamedCost) {
      for (const [unit, units] of Object.entries(asked.byName)) {
        const counting = limits.filter((limit) => unitOf(limit) === unit);
        checkPossible(`cost.${unit}`, units, maxCostOf(counting));
      }
    } else if (asked !== undefined) {
      checkPossible('cost', asked, maxCostOf(limits));
    }
  }
}

/** A limit of nothing refuses every call on purpose. */
function checkPossible(option: string, units: number, maxCost: number): void {
  if (maxCost > 0 && units > maxCost) {
    throw invalidOption(
      option,
      `at most ${maxCost}, which is all that can ever pass at once`,
      units,
      'Ask for less, or raise the limit.',
    );
  }
}

function readLimiter(option: string, limiter: unknown): AnyLimiter | AnyLimiterOptions {
  if (typeof limiter !== 'object' || limiter === null) {
    throw invalidOption(
      option,
      'a RateLimiter, or the options of one',
      limiter,
      'Pass `new RateLimiter({ redis, rate, period })`.',
    );
  }
  checkLimiterOrOptions(limiter);
  return limiter as AnyLimiter | AnyLimiterOptions;
}

function readIdentify(option: string, identify: unknown): never {
  if (typeof identify !== 'function') {
    const isParts = isPlainObject(identify);
    if (
      !['string', 'number', 'bigint'].includes(typeof identify) &&
      !Array.isArray(identify) &&
      !isParts
    ) {
      throw invalidOption(
        option,
        "a function of the call's arguments, or the identity of all calls",
        identify,
        'Pass the identity to limit: (userId) => userId.',
      );
    }
    if (isParts) {
      return { ...(identify as object) } as never; // checked once the limits are known
    }
    digestIdentity(identify as Identity, undefined);
  }
  return (Array.isArray(identify) ? [...identify] : identify) as never;
}

function isPlainObject(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  );
}

function readCostOption(option: string, cost: unknown): never {
  return (typeof cost === 'function' ? cost : readCost(option, cost)) as never;
}

function readLimitsOption(_option: string, limits: unknown): never {
  return (typeof limits === 'function' ? limits : readPlan(limits)) as never;
}

function readWait(_option: string, wait: unknown): WaitBounds | undefined {
  if (typeof wait === 'boolean') {
    return wait ? {} : undefined;
  }
  const { signal, ...bounds } = readWaitOptions(wait, WAIT_OF_LIMITED).bounds;
  return { ...bounds, ...(signal === undefined ? {} : { signal }) };
}
