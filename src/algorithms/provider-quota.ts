import { FIRST_INEXACT, Limit } from './limit.ts';
import type { Algorithm, AnyLimit, Plan, State, Verdict } from './limit.ts';

/** What a response says of a provider's quota. Times are whole microseconds. */
export interface Said {
  /** Units that are left. */
  readonly left: number;
  /** For how long that holds. */
  readonly lasts: number;
  /** Units of a whole window, and its length; 0 and 0 if the next window cannot be told from this one. */
  readonly quota: number;
  readonly window: number;
}

/** `penalize` sets a quota by what was said; for other verbs it is all zeros. */
interface QuotaPlan extends Plan, Said {}

/** Instants are microseconds since the Unix epoch. */
interface QuotaState extends State {
  /** Until then nothing passes. */
  held: number;
  /** The instant from which on nothing is known; 0 for no quota. */
  ends: number;
  /** Units that may still pass until then. */
  left: number;
  /** The least that was said of this window: no more is left even when units are given back. */
  most: number;
  /** Since when units count, which names the window in receipts. */
  since: number;
  quota: number;
  window: number;
  /** Whether no response of this window has come yet: it is thought to be as long and as large as the last one. */
  guessed: boolean;
}

const STATE = /^(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):([01])$/;
const RECEIPT = /^\d+$/;

/** Units that may pass now. */
function spendable({ held, ends, left }: QuotaState, now: number): number {
  return held > now ? 0 : ends > now ? left : FIRST_INEXACT;
}

const NOTHING_KNOWN: Omit<QuotaState, 'changed'> = {
  held: 0,
  ends: 0,
  left: 0,
  most: 0,
  since: 0,
  quota: 0,
  window: 0,
  guessed: false,
};

/**
 * Forgets a quota that is over. After its end a window of which all is known begins anew with all of its units. A window
 * in which nothing passes and nothing is said is the last one.
 */
function bring(state: QuotaState, now: number): void {
  const { held, ends, quota, window } = state;
  if (Math.max(held, ends + window) <= now) {
    Object.assign(state, NOTHING_KNOWN);
  } else if (window > 0 && now >= ends) {
    const start = now - ((now - ends) % window);
    const anew = { ends: start + window, left: quota, most: quota, since: start, guessed: true };
    Object.assign(state, anew);
  }
}

/** Whether a report that ends then is of the next window, in the second half of this one. */
function isNext(state: QuotaState, ends: number, now: number): boolean {
  const { window } = state;
  return (
    window > 0 &&
    (state.ends - now) * 2 < window &&
    Math.abs(ends - state.ends - window) * 2 < window
  );
}

function restore(state: QuotaState, since: number, units: number, now: number): void {
  if (state.since === since && state.ends > now) {
    state.left = Math.min(state.left + units, state.most);
    state.changed = true;
  }
}

const providerQuotaTwin: Algorithm<QuotaPlan, QuotaState, number> = {
  letter: 'p',

  price: (plan, units) => ({ ...plan, cost: units }),

  load(value, now) {
    const state: QuotaState = { ...NOTHING_KNOWN, changed: false };
    if (value === undefined) {
      return state;
    }
    const fields = (typeof value === 'string' ? STATE.exec(value) : null)?.slice(1).map(Number);
    if (fields === undefined || fields.some((field) => field >= FIRST_INEXACT)) {
      return undefined;
    }
    const [rests, held, ends, left, most, since, quota, window, guessed] = fields;
    if (rests! > now) {
      const read = { held, ends, left, most, since, quota, window, guessed: guessed === 1 };
      Object.assign(state, read);
      bring(state, now);
    }
    return state;
  },

  judge(state, { cost }, now) {
    bring(state, now); // what another call of this moment has left is read as the store would
    return cost <= spendable(state, now);
  },

  charge(state, { cost }, now) {
    if (state.ends > now) {
      state.left = Math.max(0, state.left - cost);
      state.changed = true;
    }
  },

  fits: (state, _plan, now) => spendable(state, now),

  room: () => FIRST_INEXACT,

  /**
   * Sets the quota. Only lowers one that lasts, because responses arrive out of order. Of two reports the lower counts
   * for as long as it says; of equal ones the longer. A report that ends nearer to the beginning of the window than to
   * its end is of the one before. Nothing left there, or in a window of which nothing else is known, only holds calls
   * back until it ends. A report that ends about a window later is of the next one, which the provider has begun.
   */
  penalize(state, { left, lasts, quota, window }, now) {
    const ends = now + lasts;
    const isNew = state.ends <= now || isNext(state, ends, now);
    const isLate = !isNew && state.window > 0 && ends - state.since < state.ends - ends;
    if (left === 0 && (window === 0 || isLate)) {
      state.held = Math.max(state.held, ends);
      state.changed = true;
      return;
    }
    if (isLate) {
      return;
    }
    const replaces =
      isNew || state.guessed || left < state.left || (left === state.left && ends > state.ends);
    if (isNew) {
      state.since = now;
      state.left = left;
      state.most = left;
    } else {
      state.changed = state.changed || left < state.most;
      state.left = Math.min(state.left, left);
      state.most = Math.min(state.most, left);
    }
    if (!replaces) {
      return;
    }
    state.ends = ends;
    state.quota = quota;
    state.window = window > 0 ? Math.max(window, state.window) : window;
    state.guessed = false;
    state.changed = true;
  },

  /** `mark`: since when the charged quota counts. */
  refund(state, { cost }, mark, now) {
    restore(state, Number(mark), cost, now);
  },

  receipt: ({ since }) => String(since),

  parse: (receipt) => (RECEIPT.test(receipt) ? Number(receipt) : undefined),

  /** Gives units back to the window that was charged, up to what was said of it. */
  restore(state, _plan, since, units, now) {
    restore(state, since, units, now);
  },

  answer(state, { cost }, passes, now) {
    const left = state.held > now ? 0 : state.left;
    const ends = state.ends > now && cost > state.left ? state.ends : state.held;
    const lasts = Math.max(state.held, passes ? state.ends : ends) - now;
    return [passes ? left : -1 - left, Math.max(0, lasts), now - state.since];
  },

  encode({ held, ends, left, most, since, quota, window, guessed }) {
    const rests = Math.max(held, ends + window);
    const fields = [rests, held, ends, left, most, since, quota, window, guessed ? 1 : 0];
    return { value: fields.join(':'), rests };
  },

  read(_plan, reply, at): Verdict {
    const refused = reply[at]! < 0;
    const left = refused ? -1 - reply[at]! : reply[at]!;
    const lasts = reply[at + 1]!;
    return {
      refused,
      remaining: lasts > 0 ? left : FIRST_INEXACT,
      over: 0,
      resetUs: lasts,
      retryUs: refused ? lasts : 0,
    };
  },

  mark: (_plan, reply, at, now) => String(now - reply[at + 2]!),
};

/**
 * The units that a provider says are left, beside a limit of a limiter with `observes: true`: until an instant no more
 * pass. Has the name, the parts and the unit of that limit, and its verdict becomes part of that limit's.
 */
export class ProviderQuota extends Limit {
  readonly algorithm = 'provider_quota';
  override readonly name: string;
  override readonly by: readonly never[] | undefined;
  override readonly shadow: boolean;
  readonly twin: Algorithm = providerQuotaTwin;
  readonly capacity: number = Number.POSITIVE_INFINITY;
  readonly windowMs = undefined;

  constructor({ name, by, shadow }: AnyLimit) {
    super();
    this.name = name;
    this.by = by as readonly never[] | undefined;
    this.shadow = shadow;
  }

  plan(cost: number): QuotaPlan {
    return quotaPlan(cost, NOTHING_SAID);
  }
}

const NOTHING_SAID: Said = { left: 0, lasts: 0, quota: 0, window: 0 };

export function quotaPlan(cost: number, said: Said): QuotaPlan {
  const { left, lasts, quota, window } = said;
  const args = ['provider_quota', ...[cost, left, lasts, quota, window].map(String)];
  return { cost, width: 3, args, ...said };
}
