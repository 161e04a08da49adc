import type { BanNumbers } from './ban-options.ts';
import { lengthenBlock } from './block.ts';
import type { BlockState } from './block.ts';
import { DEFAULT_LIMIT_NAME, FIRST_INEXACT, Limit } from './limit.ts';
import type { AnyLimit, Algorithm, Encoded, Plan, State, Verdict } from './limit.ts';

interface BanPlan extends Plan {
  /** The index of the limit whose refusals count, and that of its home's block, among the rules of the entry. */
  readonly watched: number;
  readonly block: number;
  readonly after: number;
  /** Microseconds. */
  readonly within: number;
  readonly forMs: number;
  readonly growthPercent: number;
  readonly maxMs: number;
}

interface BanState extends State {
  /** The instants of the refusals that count, in order, in microseconds since the Unix epoch. */
  refusals: readonly number[];
  /** The length of the last ban, in milliseconds; when it ends; until when it is remembered. 0 without one. */
  lengthMs: number;
  ends: number;
  kept: number;
  /** The instant from which on nothing of the state counts. */
  rests: number;
  /** Microseconds for which the present entry has started a ban; 0 if it has started none. */
  started: number;
}

const STATE = /^(\d+):(\d+):(\d+):(\d+):(|\d+(?:,\d+)*)$/;
/** Most instants in a state: one less than start a ban. */
const MOST_KEPT = 99;

const banTwin: Algorithm<BanPlan, BanState> = {
  price: (plan) => plan,

  load(value) {
    if (value === undefined) {
      return {
        refusals: [],
        lengthMs: 0,
        ends: 0,
        kept: 0,
        rests: 0,
        started: 0,
        changed: false,
      };
    }
    const fields = typeof value === 'string' ? STATE.exec(value) : null;
    if (fields === null) {
      return undefined;
    }
    const [rests, lengthMs, ends, kept] = fields.slice(1, 5).map(Number) as [
      number,
      number,
      number,
      number,
    ];
    // The last refusal, then how much earlier each was than the next.
    const steps = fields[5] === '' ? [] : fields[5]!.split(',').map(Number);
    const refusals: number[] = [];
    let at = 0;
    for (const [i, step] of steps.entries()) {
      at = i === 0 ? step : at - step;
      refusals.unshift(at);
    }
    const isWrong =
      [rests, lengthMs, ends, kept, ...steps].some((number) => number >= FIRST_INEXACT) ||
      at < 0 ||
      steps.length > MOST_KEPT;
    return isWrong
      ? undefined
      : { refusals, lengthMs, ends, kept, rests, started: 0, changed: false };
  },

  judge(state) {
    state.started = 0;
    return true;
  },

  charge() {
    // Only refusals are counted.
  },

  fits: () => FIRST_INEXACT,

  penalize() {
    // Only refusals are counted.
  },

  refund() {
    // A refusal charged nothing.
  },

  room: () => 0,

  receipt: () => '-',

  parse: () => undefined,

  restore() {
    // A refusal charged nothing.
  },

  answer: ({ started }) => [started],

  encode({ refusals, lengthMs, ends, kept, rests }): Encoded {
    const last = refusals.length - 1;
    const steps = refusals.map((at, i) => (i === last ? at : refusals[i + 1]! - at)).toReversed();
    return { value: `${rests}:${lengthMs}:${ends}:${kept}:${steps.join(',')}`, rests };
  },

  read(_plan, reply, at): Verdict {
    const started = reply[at]!;
    return {
      refused: false,
      remaining: FIRST_INEXACT,
      over: 0,
      resetUs: started,
      retryUs: started,
    };
  },

  mark: () => '-',
};

/** Counts a refusal, and starts a ban if it is one too many. Returns when the ban ends; 0 if none has started. */
function count(state: BanState, plan: BanPlan, now: number): number {
  const { after, within, forMs, growthPercent, maxMs } = plan;
  // A refusal after now, before the clock stepped back, counts from now on.
  const refusals = [...state.refusals, now].map((at) => Math.min(at, now));
  state.refusals = refusals.filter((at) => at > now - within);
  if (state.kept <= now) {
    state.lengthMs = 0;
    state.ends = 0;
    state.kept = 0;
  }
  state.changed = true;
  if (state.refusals.length < after) {
    state.rests = Math.max(state.kept, now + within);
    return 0;
  }
  const grown = Math.ceil((state.lengthMs * growthPercent) / 100);
  state.lengthMs = Math.min(Math.max(forMs, grown), maxMs);
  state.started = state.lengthMs * 1_000;
  state.ends = now + state.started;
  state.kept = state.ends + state.started + within;
  state.rests = state.kept;
  state.refusals = [];
  return state.ends;
}

/** One limit, block or ban while one entry is decided. */
interface Rule {
  readonly limit: Limit;
  readonly plan: Plan;
  readonly units: number;
  readonly state: State;
  readonly passes: boolean;
}

/**
 * Counts an entry for the bans of the limits that refused it, unless it is blocked, and blocks the homes of those that
 * start one. A shadow's ban blocks nothing, and is over when a block would be. Nothing is counted that asks for nothing.
 */
export function countRefusals(rules: readonly Rule[], now: number): void {
  if (rules.some(({ limit, passes }) => limit.algorithm === 'block' && !passes)) {
    return;
  }
  for (const rule of rules) {
    if (rule.limit.algorithm !== 'ban') {
      continue;
    }
    const plan = rule.plan as BanPlan;
    const state = rule.state as BanState;
    const { passes, units, limit } = rules[plan.watched]!;
    const refused = !passes && (units > 0 || limit.twin.lending !== undefined);
    if (!refused || (limit.shadow && now < state.ends)) {
      continue;
    }
    const ends = count(state, plan, now);
    if (ends > 0 && !limit.shadow) {
      lengthenBlock(rules[plan.block]!.state as BlockState, ends);
    }
  }
}

/** Counts the refusals of one limit, beside it and the block of its home. */
class Ban extends Limit {
  readonly algorithm = 'ban';
  readonly twin: Algorithm = banTwin;
  override readonly name: string;
  override readonly shadow: boolean;
  readonly capacity: number = Number.POSITIVE_INFINITY;
  readonly windowMs = undefined;
  readonly #numbers: BanNumbers;

  constructor({ name, shadow }: AnyLimit, numbers: BanNumbers) {
    super();
    this.name = name;
    this.shadow = shadow;
    this.#numbers = numbers;
  }

  plan(): Plan {
    return this.planFor(0, 0);
  }

  planFor(watched: number, block: number): BanPlan {
    const { after, withinMs, forMs, growthPercent, maxMs } = this.#numbers;
    const within = withinMs * 1_000;
    const numbers = [watched + 1, block + 1, after, within, forMs, growthPercent, maxMs];
    return {
      cost: 0,
      width: 1,
      args: ['ban', ...numbers.map(String)],
      watched,
      block,
      after,
      within,
      forMs,
      growthPercent,
      maxMs,
    };
  }
}

/**
 * The ban of a limit, and its plan: by the indexes, among the rules of the same shape, of the limit and of the block of
 * its home.
 */
export function banOf(
  limit: AnyLimit,
  numbers: BanNumbers,
  watched: number,
  blockAt: number,
): { readonly limit: Limit; readonly plan: Plan } {
  const ban = new Ban(limit, numbers);
  return { limit: ban, plan: ban.planFor(watched, blockAt) };
}

/** What names the state of a limit's ban in its home. That of a shadow is another: it never leads to a block. */
export function idOfBan({ name, shadow }: AnyLimit): string {
  return `${name === DEFAULT_LIMIT_NAME ? '' : name}=${shadow ? 'w' : 'b'}`;
}
