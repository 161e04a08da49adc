import { RateLimiterError } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import { readable } from '../options/read-options.ts';
import { checkBans } from './bans.ts';
import { CallLimits } from './call-limits.ts';
import { readCallOptions } from './call-options.ts';
import type { Asked } from './cost.ts';
import { checkSlots } from './homes.ts';
import { keyCountOf, LimitSet } from './limit-set.ts';
import type { Located } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import { checkSharding } from './sharding.ts';

/** Reads what callers pass: options, cost, limits and identity. Refuses all calls once the limiter is closed. */
export class CallReader {
  readonly #settings: Settings;
  readonly #callLimits: CallLimits;
  #closed = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#callLimits = new CallLimits((limits) => this.#makeLimits(limits));
  }

  /** Refuses calls from here on. Returns the error that refuses them. */
  close(): RateLimiterError {
    this.#closed = true;
    return makeClosedError();
  }

  checkOpen(): void {
    if (this.#closed) {
      throw makeClosedError();
    }
  }

  /** Finds the counters of exactly the given parts, and reads the units by which a call changes them. */
  locateUnits(
    identity: AnyIdentity,
    amount: unknown,
    options: unknown,
  ): Pick<Located, 'limits' | 'key'> & { readonly cost: Asked } {
    const given = this.readLimits(options);
    const cost = given.ask('cost', amount, { calls: 0 });
    const { limits, key } = given.locateHome(identity, this.#settings.hashSecret);
    limits.requireAsked(cost, given);
    return { limits, key, cost };
  }

  /** Finds the keys of a call, whose identity may leave out limits. */
  locate(limits: LimitSet, cost: Asked, identity: AnyIdentity): Located {
    const located = limits.locate(identity, this.#settings.hashSecret);
    located.limits.requireAsked(cost, limits);
    return located;
  }

  readCall(options: unknown): { limits: LimitSet; cost: Asked } {
    this.checkOpen();
    if (options === undefined) {
      const { limits } = this.#settings;
      return { limits, cost: limits.ask('cost', undefined) };
    }
    const { cost, limits } = this.#readOptions(options);
    return { limits, cost: limits.ask('cost', cost) };
  }

  /** For verbs that take no cost from the options. */
  readLimits(options: unknown): LimitSet {
    this.checkOpen();
    return options === undefined ? this.#settings.limits : this.#readOptions(options).limits;
  }

  #readOptions(options: unknown): { limits: LimitSet; cost: unknown } {
    const { cost, limits } = readable('options', () => readCallOptions(options));
    return {
      limits:
        limits === undefined
          ? this.#settings.limits
          : readable('limits', () => this.#callLimits.get(limits)),
      cost,
    };
  }

  #makeLimits(limits: unknown): LimitSet {
    const {
      namespace,
      blocks,
      observes,
      counts,
      store,
      sharding,
      oneSlot,
      limits: own,
    } = this.#settings;
    const set = new LimitSet(namespace, limits, blocks, { counts, clock: store.clock, own });
    checkBans(set.limits, blocks, own.blockable);
    checkSharding(sharding, 'limits', keyCountOf(set.limits, observes));
    checkSlots(blocks ? [...set.limits, ...own.limits] : set.limits, own.space?.tag, oneSlot);
    return set;
  }
}

export function checkLeaseless({ ttlsMs }: LimitSet): void {
  if (ttlsMs.length > 0) {
    throw new RateLimiterError(
      'ERR_LEASE_REQUIRED',
      'A limiter with a concurrency limit gives leases, which have to be released. Call `acquire`.',
    );
  }
}

function makeClosedError(): RateLimiterError {
  return new RateLimiterError(
    'ERR_LIMITER_CLOSED',
    'The limiter was closed. Make calls before `close()`.',
  );
}
