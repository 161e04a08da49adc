import type { Duration } from '../base/duration.ts';
import { invalidOption } from '../base/errors.ts';
import { TOKEN_BUCKET } from '../options/option-sets.ts';
import { GivenOptions } from '../options/read-options.ts';
import { FIRST_INEXACT, JITTER, Limit, readPeriod, readRate, readUnits } from './limit.ts';
import type { Algorithm, LimitOptions, Plan, Encoded, State, Verdict } from './limit.ts';

/** The numbers of a token bucket. */
export interface TokenBucketOptions extends LimitOptions {
  /** Units allowed per period: a whole number from 0 to 1,000,000,000. Under 0 nothing passes. */
  rate: number;
  /** The time that `rate` refers to: `'1m'`, or a number of seconds such as `60`; from 1 ms to 366 days. */
  period: Duration | number;
  /** Most units that may pass at once; a whole number from 1 to 1,000,000,000. Default: `rate`. */
  burst?: number;
}

/** Ten years: a clock reading plus this stays far below 2^53 until the year 2255. */
const MAX_RECOVERY_US = 10 * 366 * 86_400_000_000;

/** A time of `int` whole microseconds and `rem` n-ths of one, `0 <= rem < n`. */
export interface Micros {
  readonly int: number;
  readonly rem: number;
}

/**
 * `p / n` microseconds of recovery per unit, in lowest terms. Never rounded, so no rate is off: whole microseconds would
 * admit 43 % too much at 700,000 per second.
 */
export interface Spacing {
  readonly p: number;
  readonly n: number;
}

/** Recovery time of `units`: `units · p / n` microseconds, exact while `units · n < 2^53`. */
export function recovery(units: number, { p, n }: Spacing): Micros {
  const whole = Math.floor(p / n);
  const parts = units * (p - whole * n);
  const rem = parts % n;
  return { int: units * whole + (parts - rem) / n, rem };
}

/** `period / rate` in lowest terms. */
export function spacingOf(rate: number, periodUs: number): Spacing {
  let [a, b] = [rate, periodUs];
  while (b !== 0) {
    [a, b] = [b, a % b];
  }
  return { p: periodUs / a, n: rate / a };
}

export interface TokenBucketPlan extends Plan {
  readonly spacing: Spacing;
  /** The recovery of the whole burst: how far the arrival time may run ahead of now. */
  readonly burst: Micros;
  /** An arrival time further ahead than this (and 1 s) is cut once: a pardon. */
  readonly ceiling: Micros;
  /** Time in which this cost recovers. */
  readonly price: Micros;
}

/**
 * `maxDebt`: units that may be owed beyond an empty bucket.
 * @see https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
function tokenBucketPlan(
  spacing: Spacing,
  burst: number,
  maxDebt: number,
  cost: number,
): TokenBucketPlan {
  const top = recovery(burst, spacing);
  const ceiling = recovery(burst + maxDebt, spacing);
  const price = recovery(cost, spacing);
  const numbers = [
    spacing.n,
    spacing.p,
    top.int,
    top.rem,
    ceiling.int,
    ceiling.rem,
    price.int,
    price.rem,
  ];
  return {
    cost,
    width: spacing.n > 1 ? 2 : 1,
    args: ['token_bucket', ...numbers.map(String)],
    spacing,
    burst: top,
    ceiling,
    price,
  };
}

export interface TokenBucketState extends State {
  /** Theoretical arrival time: when the bucket is full again, in whole microseconds since the Unix epoch. */
  tat: number;
  /** The fraction of the arrival time, in n-ths of a microsecond. */
  rem: number;
  n: number;
  /** Until when no further arrival time is cut; 0 if none was. */
  pardon: number;
  /** Scratch of `judge`: the arrival time before and after the cost. */
  from: number;
  fromRem: number;
  to: number;
  toRem: number;
}

const RECEIPT = /^(\d+):(\d+)$/;
const PLAIN = /^\d+$/;
const SPLIT = /^(\d+):(\d+):(\d+)(?::(\d+):(\d+))?$/;

function makeState(tat: number, rem: number, n: number, pardon: number): TokenBucketState {
  return { tat, rem, n, pardon, from: tat, fromRem: rem, to: tat, toRem: rem, changed: false };
}

export const tokenBucketTwin: Algorithm<TokenBucketPlan, TokenBucketState, Spacing> = {
  letter: 't',

  price(plan, units) {
    return { ...plan, cost: units, price: recovery(units, plan.spacing) };
  },

  load(value) {
    if (value === undefined) {
      return makeState(0, 0, 1, 0);
    }
    if (typeof value !== 'string') {
      return undefined;
    }
    let state;
    if (PLAIN.test(value)) {
      state = makeState(Number(value), 0, 1, 0);
    } else {
      const parts = SPLIT.exec(value);
      if (parts === null) {
        return undefined;
      }
      state = makeState(
        Number(parts[4] ?? parts[1]),
        Number(parts[2]),
        Number(parts[3]),
        Number(parts[5] ?? 0),
      );
    }
    const { tat, rem, n, pardon } = state;
    return tat >= FIRST_INEXACT || n >= FIRST_INEXACT || pardon >= FIRST_INEXACT || rem >= n
      ? undefined
      : state;
  },

  judge(state, plan, now) {
    let { tat, rem } = state;
    const { n } = plan.spacing;
    if (state.n !== n && rem > 0) {
      tat += 1; // n-ths of another size: rounded against the caller, by less than 1 µs
      rem = 0;
    }
    if (tat < now) {
      tat = now;
      rem = 0;
    }
    const over = tat - now - plan.ceiling.int;
    if ((over > JITTER || (over === JITTER && rem > plan.ceiling.rem)) && state.pardon <= now) {
      state.pardon = rem > 0 ? tat + 1 : tat;
      tat = now + plan.ceiling.int;
      rem = plan.ceiling.rem;
      setTat(state, tat, rem, n);
    }
    state.from = tat;
    state.fromRem = rem;
    state.to = tat + plan.price.int;
    state.toRem = rem + plan.price.rem;
    if (state.toRem >= n) {
      state.to += 1;
      state.toRem -= n;
    }
    const top = now + plan.burst.int;
    return state.to < top || (state.to === top && state.toRem <= plan.burst.rem);
  },

  charge(state, plan) {
    state.from = state.to;
    state.fromRem = state.toRem;
    setTat(state, state.to, state.toRem, plan.spacing.n);
  },

  fits(state, plan, now) {
    const { burst, spacing } = plan;
    return unitsWithin(now + burst.int - state.from, burst.rem - state.fromRem, spacing);
  },

  room(state, plan, now) {
    const { ceiling, spacing } = plan;
    return unitsWithin(now + ceiling.int - state.from, ceiling.rem - state.fromRem, spacing);
  },

  penalize(state, plan, now) {
    let { to: tat, toRem: rem } = state;
    const top = now + plan.ceiling.int;
    if (tat > top || (tat === top && rem > plan.ceiling.rem)) {
      tat = top;
      rem = plan.ceiling.rem;
    }
    if (tat > state.from || (tat === state.from && rem > state.fromRem)) {
      setTat(state, tat, rem, plan.spacing.n);
    }
  },

  refund(state, plan, _mark, now) {
    let tat = state.from - plan.price.int;
    let rem = state.fromRem - plan.price.rem;
    if (rem < 0) {
      tat -= 1;
      rem += plan.spacing.n;
    }
    if (tat < now) {
      tat = now;
      rem = 0;
    }
    if (state.from > now || state.fromRem > 0) {
      setTat(state, tat, rem, plan.spacing.n);
    }
  },

  /** The time in which a unit recovered when it was charged: the limit may change before the unit is given back. */
  receipt: (_state, { spacing: { p, n } }) => `${p}:${n}`,

  parse(receipt) {
    const [, p, n] = (RECEIPT.exec(receipt) ?? []).map(Number) as [number?, number?, number?];
    return p === undefined || n === undefined || p >= FIRST_INEXACT || n >= FIRST_INEXACT || n === 0
      ? undefined
      : { p, n };
  },

  restore(state, plan, receipt, units, now) {
    const { int, rem } = recovery(units, receipt);
    // n-ths of another size: rounded against the caller, by less than 1 µs
    const price = { int, rem: receipt.n === plan.spacing.n ? rem : 0 };
    tokenBucketTwin.refund(state, { ...plan, price }, 0, now);
  },

  answer(state, plan, passes, now) {
    const ahead = state.from - now;
    const first = passes ? ahead : -1 - ahead;
    return plan.spacing.n > 1 ? [first, state.fromRem] : [first];
  },

  encode(state, now): Encoded {
    let value;
    let rests;
    if (state.pardon > now) {
      rests = Math.max(state.rem > 0 ? state.tat + 1 : state.tat, state.pardon);
      value = `${rests}:${state.rem}:${state.n}:${state.tat}:${state.pardon}`;
    } else if (state.rem > 0) {
      value = `${state.tat}:${state.rem}:${state.n}`;
      rests = state.tat + 1;
    } else {
      value = String(state.tat);
      rests = state.tat;
    }
    return { value, rests };
  },

  read(plan, reply, at): Verdict {
    const first = reply[at]!;
    const refused = first < 0;
    const level = refused ? -1 - first : first;
    const rem = plan.width > 1 ? reply[at + 1]! : 0;
    return {
      refused,
      remaining: unitsWithin(plan.burst.int - level, plan.burst.rem - rem, plan.spacing),
      resetUs: rem > 0 ? level + 1 : level,
      retryUs: refused
        ? level +
          plan.price.int -
          plan.burst.int +
          Math.ceil((rem + plan.price.rem - plan.burst.rem) / plan.spacing.n)
        : 0,
    };
  },

  // The arrival time does not distinguish charges, so no mark is needed.
  mark: () => 0,
};

function setTat(state: TokenBucketState, tat: number, rem: number, n: number): void {
  state.tat = tat;
  state.rem = rem;
  state.n = n;
  state.changed = true;
}

/** The most whole units whose recovery is at most `int + rem / n` microseconds; `rem` may be negative. */
function unitsWithin(int: number, rem: number, spacing: Spacing): number {
  const { p, n } = spacing;
  if (n === 1) {
    return int > 0 ? Math.floor(int / p) : 0;
  }
  const [whole, rest] = rem < 0 ? [int - 1, rem + n] : [int, rem];
  const fits = (units: number): boolean => {
    const needed = recovery(units, spacing);
    return needed.int < whole || (needed.int === whole && needed.rem <= rest);
  };
  // The product may exceed 2^53. The estimate is then off by about one, and the exact comparisons below correct it.
  let units = Math.max(0, Math.floor((int * n + rem) / p));
  while (units > 0 && !fits(units)) {
    units -= 1;
  }
  while (fits(units + 1)) {
    units += 1;
  }
  return units;
}

class TokenBucket extends Limit {
  readonly algorithm = 'token_bucket';
  readonly twin: Algorithm = tokenBucketTwin;
  /** The bucket's burst. */
  readonly capacity: number;
  readonly #spacing: Spacing;

  constructor(options: TokenBucketOptions) {
    const given = new GivenOptions(TOKEN_BUCKET, options);
    super(given);
    const rate = given.required('rate', readRate);
    const periodMs = given.required('period', readPeriod);
    const burst = given.optional('burst', readUnits, undefined);
    if (rate === 0) {
      given.refuse('burst', 'left out where `rate` is 0', 'Units that pass would never come back.');
    }
    given.end();
    this.capacity = burst ?? rate;
    // Under a rate of 0 the burst is 0, so nothing passes; only a debt recovers, by a unit per period.
    this.#spacing = spacingOf(Math.max(rate, 1), periodMs * 1_000);
    this.#checkRange(burst);
    Object.freeze(this);
  }

  get windowMs(): number {
    const { p, n } = this.#spacing;
    return (this.capacity * p) / n / 1_000;
  }

  plan(cost: number): TokenBucketPlan {
    return tokenBucketPlan(this.#spacing, this.capacity, this.maxDebt, cost);
  }

  #checkRange(burst: unknown): void {
    const { p, n } = this.#spacing;
    if (((this.capacity + this.maxDebt) * p) / n > MAX_RECOVERY_US) {
      throw invalidOption(
        'burst',
        'recovered within ten years at the given rate',
        burst ?? this.capacity,
        'Lower `burst`, raise `rate` or shorten `period`.',
      );
    }
    if ((this.capacity + this.maxDebt + 1) * n >= FIRST_INEXACT) {
      throw invalidOption(
        'burst',
        `less than ${Math.floor(FIRST_INEXACT / n) - 1}, \`maxDebt\` included, for this rate and period, so that the arithmetic stays exact`,
        burst ?? this.capacity,
        'Lower `burst`, or choose a `rate` that shares more factors with the microseconds of `period`.',
      );
    }
  }
}

/**
 * At most `burst` units at once, refilled evenly with `rate` units per `period`. Over any time Δ exactly at most
 * `burst + floor(rate · Δ / period)` units pass. This is GCRA, which is a leaky bucket read the other way.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`: `rate: -1`, `period: '1x'`, `burst: -1`, a misspelt name.
 * @example
 * tokenBucket({ rate: 100, period: '1m' });                                // 100 at once, one more every 600 ms
 * tokenBucket({ name: 'steady', rate: 10, period: '1s', burst: 1 });       // one every 100 ms, never two at once
 */
export function tokenBucket(options: TokenBucketOptions): Limit {
  return new TokenBucket(options);
}
