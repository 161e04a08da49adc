import { isMarked, mark } from '../base/copies.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { CONCURRENCY } from '../options/option-sets.ts';
import { GivenOptions, readInteger } from '../options/read-options.ts';
import { FIRST_INEXACT, JITTER, Limit } from './limit.ts';
import type { Algorithm, AnyLimit, LimitOptions, Plan, Encoded, State, Verdict } from './limit.ts';

/** The numbers of a concurrency limit. */
export interface ConcurrencyOptions<By extends string = never> extends Omit<
  LimitOptions<By>,
  'maxDebt' | 'unit'
> {
  /** Most holders at once: a whole number from 1 to 100,000. */
  max: number;
  /**
   * Time after which a lease expires unless it is released or renewed, `'30s'`, from 1 ms to 24 hours: for so long the
   * place of a crashed holder stays taken. Choose it longer than the work takes, or renew the lease meanwhile.
   */
  ttl: Duration;
}

const MAX_PLACES = 100_000;
const DAY_MS = 86_400_000;

export interface ConcurrencyPlan extends Plan {
  readonly max: number;
  /** Microseconds. */
  readonly ttl: number;
  readonly lease: string;
}

/** A memory store's value in place of Redis's sorted set. */
export class Leases {
  /** Lease -> when it expires, in microseconds since the Unix epoch. */
  readonly ends: ReadonlyMap<string, number>;
  /** The latest instant at which a lease was written. */
  readonly last: number;

  constructor(ends: ReadonlyMap<string, number>, last: number) {
    this.ends = ends;
    this.last = last;
  }
}

const LEASES = Symbol.for('distributed-rate-limiter.Leases');
mark(Leases.prototype, LEASES);

interface ConcurrencyState extends State {
  /** The latest instant at which a lease was written; 0 if none is live. */
  last: number;
  /** The live leases. */
  readonly leases: Map<string, number>;
}

/** When the n-th live lease expires, in order of expiry. */
function nth({ leases }: ConcurrencyState, n: number): number {
  return [...leases.values()].sort((a, b) => a - b)[n - 1]!;
}

/** When the last live lease expires. */
function rests({ leases }: ConcurrencyState): number {
  let last = 0;
  for (const end of leases.values()) {
    last = Math.max(last, end);
  }
  return last;
}

const concurrencyTwin: Algorithm<ConcurrencyPlan, ConcurrencyState> = {
  price: (plan) => plan,

  load(value, now) {
    if (value === undefined) {
      return { last: 0, leases: new Map(), changed: false };
    }
    if (!isMarked(value, LEASES)) {
      return undefined;
    }
    const written = value as Leases;
    let { last } = written;
    let shift = 0;
    if (last - now > JITTER) {
      // The clock stepped back: each lease keeps the time it had left at the last write, counted from now.
      shift = last - now;
      last = now;
    }
    const leases = new Map<string, number>();
    for (const [lease, end] of written.ends) {
      if (end - shift > now) {
        leases.set(lease, end - shift);
      }
    }
    return { last: leases.size === 0 ? 0 : last, leases, changed: shift > 0 };
  },

  /** A lease that is live has its place already. */
  judge({ leases }, { lease, max }) {
    return leases.has(lease) || leases.size < max;
  },

  /** Takes a place for `ttl` from now, or extends the lease that has one. */
  charge(state, { lease, ttl }, now) {
    state.leases.set(lease, Math.max(state.leases.get(lease) ?? 0, now + ttl));
    state.last = Math.max(state.last, now);
    state.changed = true;
  },

  /** A lease takes one place at any cost. */
  fits: ({ leases }, { max }) => (leases.size < max ? FIRST_INEXACT : 0),

  room: () => 0,

  receipt: () => '-',

  parse: () => undefined,

  restore() {
    // Only a lease takes a place.
  },

  penalize() {
    // Only a lease takes a place.
  },

  refund() {
    // Only `release` frees a place.
  },

  answer(state, { max }, passes, now) {
    const live = state.leases.size;
    return [
      passes ? live : -1 - live,
      live > 0 ? rests(state) - now : 0,
      passes ? 0 : nth(state, live - max + 1) - now,
    ];
  },

  encode(state): Encoded | undefined {
    if (state.leases.size === 0) {
      return undefined;
    }
    return { value: new Leases(state.leases, state.last), rests: rests(state) };
  },

  read({ max }, reply, at): Verdict {
    const refused = reply[at]! < 0;
    const live = refused ? -1 - reply[at]! : reply[at]!;
    return {
      refused,
      remaining: Math.max(0, max - live),
      over: Math.max(0, live - max),
      resetUs: reply[at + 1]!,
      retryUs: reply[at + 2]!,
    };
  },

  /** Places become free at any time, so no refusal lasts. */
  later(_plan, _told, reply, at, age) {
    return reply[at]! < 0 ? undefined : [reply[at]!, Math.max(0, reply[at + 1]! - age), 0];
  },

  // A lease is released, not refunded, so no mark is needed.
  mark: () => '-',

  lending: {
    named: (plan, lease) => ({ ...plan, lease }),

    holds: ({ leases }, { lease }) => leases.has(lease),

    release(state, { lease }) {
      if (state.leases.delete(lease)) {
        state.last = state.leases.size === 0 ? 0 : state.last;
        state.changed = true;
      }
    },
  },
};

function concurrencyPlan(max: number, ttl: number): ConcurrencyPlan {
  return {
    cost: 1,
    width: 3,
    args: ['concurrency', String(max), String(ttl)],
    max,
    ttl,
    lease: '',
  };
}

export class Concurrency extends Limit {
  readonly algorithm = 'concurrency';
  readonly twin: Algorithm = concurrencyTwin;
  readonly capacity: number;
  readonly windowMs = undefined;
  /** A lease's lifetime, in milliseconds. */
  readonly ttlMs: number;

  constructor(options: ConcurrencyOptions<string>) {
    const given = new GivenOptions(CONCURRENCY, options);
    super(given);
    this.capacity = given.required('max', (option, value) =>
      readInteger(option, value, 1, MAX_PLACES),
    );
    this.ttlMs = given.required('ttl', (option, value) =>
      readDurationString(option, value, 1, DAY_MS, '30s'),
    );
    given.end();
    Object.freeze(this);
  }

  /** A lease takes one place, at any cost of the call. */
  plan(): ConcurrencyPlan {
    return concurrencyPlan(this.capacity, this.ttlMs * 1_000);
  }
}

export function isConcurrency(limit: AnyLimit): limit is Concurrency {
  return limit.algorithm === 'concurrency';
}

/**
 * At most `max` leases at once, by Redis's clock: a limit on work under way, not on calls per time. `acquire` takes a
 * place and `release` frees it. A lease that is neither released nor renewed expires `ttl` after it was acquired, so a
 * crashed holder keeps its place no longer. Beside rate limits, one `acquire` takes all of them or none, and `release`
 * gives back only the place. A lease takes one place at any cost.
 *
 * A refusal's `retryAfterMs` is the time until a place is free at the latest, unless a holder renews.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * const limiter = new RateLimiter({ redis, limits: [concurrency({ max: 5, ttl: '30s' })] });
 * await using lease = await limiter.acquire('user:12345');
 * if (lease.allowed) await work();
 */
export function concurrency<const By extends string = never>(
  options: ConcurrencyOptions<By>,
): Limit<string, By> {
  return new Concurrency(options);
}
