import { chargeSlice } from './bucket-lines.ts';
import type { TokenBucketPlan, TokenBucketState } from './bucket-lines.ts';
import type { CountingPlan } from './counting.ts';
import type { Algorithm, SliceRequest, Slicing, State } from './limit.ts';
import { recovery, unitsWithin } from './recovery.ts';

/** 2 s in microseconds: the longest time for which a slice of a window may be spent. */
const WINDOW_SLICE_US = 2_000_000;

/** Where a slice begins: behind all charges, and late enough that its units are good for the time asked. */
function begin(
  { from, fromRem }: TokenBucketState,
  { hold }: SliceRequest,
  now: number,
): readonly [number, number] {
  return from < now + hold ? [now + hold, 0] : [from, fromRem];
}

/** A state that several plans share gives no slices, nor one whose burst is too short to hold some of it back. */
function gives(
  { lines }: TokenBucketState,
  { beside, burst }: TokenBucketPlan,
  { hold }: SliceRequest,
): boolean {
  return (
    (lines === undefined || lines.length === 0) && beside === undefined && hold * 4 <= burst.int
  );
}

export const bucketSlicing: Slicing<TokenBucketPlan, TokenBucketState> = {
  offer(state, plan, request, now) {
    if (!gives(state, plan, request)) {
      return 0;
    }
    const { want, hold, holders } = request;
    const [int, rem] = begin(state, request, now);
    const room = unitsWithin(now + plan.burst.int - int, plan.burst.rem - rem, plan);
    return room < 2 * holders
      ? 0
      : Math.min(Math.floor(room / (2 * holders)), want, unitsWithin(2 * hold, 0, plan));
  },

  turn(state, plan, request, now) {
    if (!gives(state, plan, request)) {
      return 0;
    }
    const { want, ahead, holders } = request;
    const { cost, burst } = plan;
    const [int, rem] = begin(state, request, now);
    return Math.min(
      Math.max(want, cost),
      Math.max(cost, Math.floor(unitsWithin(ahead, 0, plan) / holders)),
      unitsWithin(now + burst.int + ahead - int, burst.rem - rem, plan),
    );
  },

  opens(state, plan, units, request, now) {
    const [int] = begin(state, request, now);
    return Math.max(now, int + recovery(units, plan).int - plan.burst.int + 2);
  },

  ends: (_state, _plan, { hold, ahead }, now) => now + hold + ahead,

  cut(state, plan, units, request, opens, ends, now) {
    const price = recovery(units, plan);
    // Where other limits open late, units must be good until the slice ends, or for as long as all are open then.
    const good = Math.max(
      request.hold,
      opens > now ? Math.min(ends, opens + plan.burst.int - price.int) - opens : 0,
    );
    const [int, rem] = begin(state, { ...request, hold: opens + good - now }, now);
    const parts = rem + price.rem;
    const whole = parts >= plan.n ? 1 : 0;
    chargeSlice(state, plan, int + price.int + whole, parts - whole * plan.n, ends, now);
    return [int - now, rem];
  },
};

/** What both windows have in common: the window that counts now, and the windows of all lengths. */
interface WindowsState extends State {
  mine: { used: number };
  readonly windows: readonly unknown[];
}

/** `fits` and `charge` are the window's own steps. `stops`: when the window ends. */
export function windowSlicing<P extends CountingPlan, S extends WindowsState>(
  { fits, charge }: Pick<Algorithm<P, S>, 'fits' | 'charge'>,
  bounds: (state: S, now: number) => { readonly length: number; readonly stops: number },
): Slicing<P, S> {
  const offer: Slicing<P, S>['offer'] = (state, plan, { want, hold, holders }, now) => {
    // Windows of other lengths may end earlier, and count the slice as well.
    if (state.windows.length !== 1) {
      return 0;
    }
    const most = Math.floor((2 * plan.rate * hold) / bounds(state, now).length);
    return Math.min(want, most, Math.floor(fits(state, plan, now) / (4 * holders)));
  };
  return {
    offer,
    turn: offer,
    opens: (_state, _plan, _units, _request, now) => now,
    ends: (state, _plan, _request, now) =>
      Math.min(bounds(state, now).stops, now + WINDOW_SLICE_US),
    cut(state, plan, units, _request, _opens, _ends, now) {
      const { used } = state.mine;
      charge(state, { ...plan, cost: units }, now);
      state.mine = { ...state.mine, used };
      return [0, 0];
    },
  };
}
