import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';

const CLOCKS = Symbol.for('distributed-rate-limiter.clocks');

/** Shared by all copies of the package in this process: an adapter of one copy may be given a limiter of another. */
const clocks = ((globalThis as { [CLOCKS]?: WeakMap<object, Clock> })[CLOCKS] ??= new WeakMap<
  object,
  Clock
>());

/** Remembers the clock on which callers of a limiter wait: that of its store. */
export function rememberClock(limiter: object, clock: Clock): void {
  clocks.set(limiter, clock);
}

/** Returns the clock of a limiter's store; the system's for an object that is none of our limiters. */
export function clockOf(limiter: object): Clock {
  return clocks.get(limiter) ?? systemClock;
}
