import { FIRST_INEXACT, Limit } from './limit.ts';
import type { Algorithm, Plan, State, Verdict } from './limit.ts';

export interface BlockState extends State {
  /** Microseconds since the Unix epoch. */
  ends: number;
}

const PLAIN = /^\d+$/;

const blockTwin: Algorithm<Plan, BlockState> = {
  price: (plan) => plan,

  load(value) {
    const ends = typeof value === 'string' && PLAIN.test(value) ? Number(value) : 0;
    if (value !== undefined && (ends === 0 || ends >= FIRST_INEXACT)) {
      return undefined;
    }
    return { ends, changed: false };
  },

  judge: ({ ends }, _plan, now) => ends <= now,

  charge() {
    // No call changes a block.
  },

  fits: ({ ends }, _plan, now) => (ends <= now ? FIRST_INEXACT : 0),

  penalize(state, plan, now) {
    state.ends = now + plan.cost;
    state.changed = true;
  },

  refund() {
    // No call changes a block.
  },

  room: () => 0,

  // Nothing is charged, so nothing can be given back.
  receipt: () => '-',

  parse: () => undefined,

  restore() {
    // No call changes a block.
  },

  answer: ({ ends }, _plan, passes, now) => [passes ? 0 : -1 - (ends - now)],

  encode: ({ ends }) => ({ value: String(ends), rests: ends }),

  read(_plan, reply, at): Verdict {
    const refused = reply[at]! < 0;
    const left = refused ? -1 - reply[at]! : 0;
    return {
      refused,
      remaining: refused ? 0 : FIRST_INEXACT,
      over: 0,
      resetUs: left,
      retryUs: left,
    };
  },

  later(_plan, _told, reply, at, age) {
    const left = reply[at]! < 0 ? -1 - reply[at]! - age : 0;
    return [left > 0 ? -1 - left : 0];
  },

  mark: () => '-',
};

/** Blocks until this instant at least. */
export function lengthenBlock(state: BlockState, ends: number): void {
  state.ends = Math.max(state.ends, ends);
  state.changed = true;
}

/**
 * An instant until which nothing passes, beside the limits of limiters with `blocks: true`. Its plan's cost is a duration
 * in microseconds.
 */
class Block extends Limit {
  readonly algorithm = 'block';
  readonly twin: Algorithm = blockTwin;
  readonly capacity: number = Number.POSITIVE_INFINITY;
  readonly windowMs = undefined;

  plan(cost: number): Plan {
    return { cost, width: 1, args: ['block', String(cost)] };
  }
}

export const block: Limit = new Block();
