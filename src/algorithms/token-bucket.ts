import type { Duration } from '../base/duration.ts';
import { invalidOption } from '../base/errors.ts';
import { TOKEN_BUCKET } from '../options/option-sets.ts';
import { GivenOptions } from '../options/read-options.ts';
import {
  chargeLines,
  creditLines,
  findLine,
  isSame,
  noteRefusal,
  noteSlices,
  readLines,
  readReceipt,
  resetLines,
  restoreLines,
  topOf,
  writeLines,
  writeReceipt,
} from './bucket-lines.ts';
import type {
  BucketReceipt,
  OwnNumbers,
  TokenBucketPlan,
  TokenBucketState,
} from './bucket-lines.ts';
import { FIRST_INEXACT, Limit, MAX_UNITS, readPeriod, readRate, readUnits } from './limit.ts';
import { bucketSlicing } from './slicing.ts';
import type { Algorithm, AnyLimit, Encoded, LimitOptions, Verdict } from './limit.ts';
import { MAX_RECOVERY_US, recovery, spacingOf, unitsCovering, unitsWithin } from './recovery.ts';
import type { Spacing } from './recovery.ts';

/** The numbers of a token bucket. */
export interface TokenBucketOptions<
  By extends string = never,
  Unit extends string = never,
> extends LimitOptions<By, Unit> {
  /** Units allowed per period: a whole number from 0 to 1,000,000,000. Under 0 nothing passes. */
  rate: number;
  /** The time that `rate` refers to: `'1m'`, or a number of seconds such as `60`; from 1 ms to 366 days. */
  period: Duration | number;
  /** Most units that may pass at once; a whole number from 1 to 1,000,000,000. Default: `rate`. */
  burst?: number;
}

/**
 * `maxDebt`: units that may be owed beyond an empty bucket. `beside` as in `TokenBucketPlan`.
 * @see https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
function tokenBucketPlan(
  spacing: Spacing,
  burst: number,
  maxDebt: number,
  cost: number,
  beside: OwnNumbers | null | undefined,
): TokenBucketPlan {
  const label = { ...spacing, units: burst, debt: maxDebt };
  const most = recovery(burst, spacing);
  const ceiling = recovery(burst + maxDebt, spacing);
  const price = recovery(cost, spacing);
  const numbers = [
    spacing.n,
    spacing.p,
    most.int,
    most.rem,
    ceiling.int,
    ceiling.rem,
    price.int,
    price.rem,
  ].map(String);
  return {
    ...label,
    cost,
    width: spacing.n > 1 ? 2 : 1,
    args:
      beside === undefined
        ? ['token_bucket', ...numbers]
        : ['token_bucket', 'beside', ...besideArgs(beside), ...numbers],
    top: topOf(label),
    burst: most,
    ceiling,
    price,
    beside,
  };
}

/** The numbers of the limiter's own limit; zeros if it has none. */
function besideArgs(own: OwnNumbers | null): readonly string[] {
  return own === null ? ['0', '0', '0', '0'] : [own.n, own.p, own.units, own.debt].map(String);
}

const PLAIN = /^\d+$/;
const SPLIT = /^(\d+):(\d+):(\d+)(?::(\d+):(\d+))?$/;

function makeState(tat: number, rem: number, n: number): TokenBucketState {
  return {
    tat,
    rem,
    n,
    given: 0,
    givenRem: 0,
    lines: undefined,
    at: 0,
    rests: 0,
    top: 0,
    epoch: 0,
    until: 0,
    sliced: 0,
    slicedUntil: 0,
    line: undefined,
    from: tat,
    fromRem: rem,
    to: tat,
    toRem: rem,
    changed: false,
  };
}

export const tokenBucketTwin: Algorithm<TokenBucketPlan, TokenBucketState, BucketReceipt> = {
  letter: 't',

  price(plan, units) {
    return { ...plan, cost: units, price: recovery(units, plan) };
  },

  load(value, now) {
    if (value === undefined) {
      return makeState(0, 0, 1);
    }
    if (typeof value !== 'string') {
      return undefined;
    }
    if (PLAIN.test(value)) {
      const tat = Number(value);
      return tat >= FIRST_INEXACT ? undefined : makeState(tat, 0, 1);
    }
    const parts = SPLIT.exec(value);
    if (parts === null) {
      const state = makeState(0, 0, 1);
      return readLines(state, value, now) ? state : undefined;
    }
    const [tat, rem, n] = parts.slice(1).map(Number) as [number, number, number];
    if (tat >= FIRST_INEXACT || n > MAX_UNITS || rem >= n) {
      return undefined;
    }
    const state = makeState(tat, rem, n);
    if (parts[4] !== undefined) {
      noteSlices(state, Number(parts[4]), Number(parts[5]), now);
    }
    return state;
  },

  judge(state, plan, now) {
    findLine(state, plan, now);
    const { n, burst, price } = plan;
    state.to = state.from + price.int;
    state.toRem = state.fromRem + price.rem;
    if (state.toRem >= n) {
      state.to += 1;
      state.toRem -= n;
    }
    const top = now + burst.int;
    return state.to < top || (state.to === top && state.toRem <= burst.rem);
  },

  charge(state, plan, now) {
    if (plan.cost > 0) {
      charge(state, plan, state.to, state.toRem, now);
    }
  },

  refuse(state, plan, now) {
    noteRefusal(state, plan, now);
  },

  fits(state, plan, now) {
    const { burst } = plan;
    return unitsWithin(now + burst.int - state.from, burst.rem - state.fromRem, plan);
  },

  room(state, plan, now) {
    const { ceiling } = plan;
    return unitsWithin(now + ceiling.int - state.from, ceiling.rem - state.fromRem, plan);
  },

  penalize(state, plan, now) {
    const { ceiling } = plan;
    let { to: tat, toRem: rem } = state;
    const top = now + ceiling.int;
    if (tat > top || (tat === top && rem > ceiling.rem)) {
      tat = top;
      rem = ceiling.rem;
    }
    if (tat > state.from || (tat === state.from && rem > state.fromRem)) {
      charge(state, plan, tat, rem, now);
    } else if (!isPlain(state, plan)) {
      charge(state, plan, state.from, state.fromRem, now);
    }
  },

  refund(state, plan, mark, now) {
    const receipt = readReceipt(mark);
    if (receipt !== undefined) {
      restoreLines(state, plan, receipt, plan.cost, now);
    }
  },

  slicing: bucketSlicing,

  receipt: writeReceipt,

  parse: readReceipt,

  restore: restoreLines,

  credit: creditLines,

  reset: resetLines,

  answer(state, plan, passes, now) {
    const ahead = state.from - now;
    const first = passes ? ahead : -1 - ahead;
    return plan.n > 1 ? [first, state.fromRem] : [first];
  },

  aside: (state, plan) =>
    plan.cost === 0 || isPlain(state, plan) ? undefined : writeReceipt(state, plan),

  encode(state): Encoded {
    const { lines, tat, rem, n, sliced, slicedUntil } = state;
    if (lines !== undefined) {
      return { value: writeLines(state), rests: state.rests };
    }
    const rests = rem > 0 ? tat + 1 : tat;
    if (sliced > 0) {
      return { value: `${tat}:${rem}:${n}:${sliced}:${slicedUntil}`, rests };
    }
    return { value: rem > 0 ? `${tat}:${rem}:${n}` : String(tat), rests };
  },

  read(plan, reply, at): Verdict {
    const { burst, price, n } = plan;
    const first = reply[at]!;
    const refused = first < 0;
    const level = refused ? -1 - first : first;
    const rem = plan.width > 1 ? reply[at + 1]! : 0;
    return {
      refused,
      remaining: unitsWithin(burst.int - level, burst.rem - rem, plan),
      over: unitsCovering(level - burst.int, rem - burst.rem, plan),
      resetUs: rem > 0 ? level + 1 : level,
      retryUs: refused
        ? level + price.int - burst.int + Math.ceil((rem + price.rem - burst.rem) / n)
        : 0,
    };
  },

  later(plan, _told, reply, at, age) {
    const first = reply[at]!;
    if (first >= 0 && plan.beside !== undefined) {
      return undefined; // a line that begins with the plan's first refusal
    }
    const level = (first < 0 ? -1 - first : first) - age;
    const rem = plan.width > 1 && level >= 0 ? reply[at + 1]! : 0;
    const from = Math.max(0, level);
    const { n, burst, price } = plan;
    const over = rem + price.rem >= n ? 1 : 0;
    const to = from + price.int + over;
    const toRem = rem + price.rem - over * n;
    const passes = to < burst.int || (to === burst.int && toRem <= burst.rem);
    return plan.width > 1 ? [passes ? from : -1 - from, rem] : [passes ? from : -1 - from];
  },

  /** The receipt of a charge that left a plain state. */
  mark({ p, n, width, beside }, reply, at, now) {
    const rem = width > 1 ? reply[at + 1]! : 0;
    return beside === undefined ? `${p}:${n}:${now + reply[at]!}:${rem}` : '-';
  },
};

/** Whether the unlabelled line is the only one, and the plan's own. */
function isPlain(state: TokenBucketState, plan: TokenBucketPlan): boolean {
  return state.lines === undefined && plan.beside === undefined;
}

/** Sets the plan's arrival time after its cost. */
function charge(
  state: TokenBucketState,
  plan: TokenBucketPlan,
  tat: number,
  rem: number,
  now: number,
): void {
  if (!isPlain(state, plan)) {
    chargeLines(state, plan, tat, rem, now);
    return;
  }
  state.from = tat;
  state.fromRem = rem;
  state.tat = tat;
  state.rem = rem;
  state.n = plan.n;
  state.changed = true;
}

class TokenBucket extends Limit {
  readonly algorithm = 'token_bucket';
  readonly twin: Algorithm = tokenBucketTwin;
  /** The bucket's burst. */
  readonly capacity: number;
  readonly #spacing: Spacing;
  readonly #options: TokenBucketOptions<string, string>;
  readonly #beside: OwnNumbers | null | undefined;

  constructor(options: TokenBucketOptions<string, string>, beside?: OwnNumbers | null) {
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
    this.#options = given.values as unknown as TokenBucketOptions<string, string>;
    this.#beside = beside;
    Object.freeze(this);
  }

  get windowMs(): number {
    const { p, n } = this.#spacing;
    return (this.capacity * p) / n / 1_000;
  }

  override get beside(): OwnNumbers | null | undefined {
    return this.#beside;
  }

  plan(cost: number): TokenBucketPlan {
    return tokenBucketPlan(this.#spacing, this.capacity, this.maxDebt, cost, this.#beside);
  }

  override insteadOf(own: Limit | undefined): Limit {
    if (own?.algorithm !== 'token_bucket') {
      return new TokenBucket(this.#options, null);
    }
    const { n, p, units, debt, top } = own.plan(1, 0) as TokenBucketPlan;
    const numbers = { n, p, units, debt, top };
    return isSame(numbers, this.plan(1)) ? this : new TokenBucket(this.#options, numbers);
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

/** A token bucket that was passed with a call, beside a limiter's own limit of these numbers; null for none. */
export function tokenBucketBeside(
  options: TokenBucketOptions<string, string>,
  own: OwnNumbers | null,
): AnyLimit {
  return new TokenBucket(options, own);
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
export function tokenBucket<const By extends string = never, const Unit extends string = never>(
  options: TokenBucketOptions<By, Unit>,
): Limit<string, By, Unit> {
  return new TokenBucket(options) as AnyLimit as Limit<string, By, Unit>;
}
