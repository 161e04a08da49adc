/**
 * The clock of a `MemoryStore`, for its limits and for `wait` and leases. Redis always uses its own.
 *
 * @example
 * const clock: Clock = { nowMicros: () => Date.now() * 1_000 };
 */
export interface Clock {
  /** Whole microseconds since the Unix epoch. */
  nowMicros(): number;
  /**
   * Calls `wake` after `ms` on this clock, and returns a function that cancels this. `keepAlive` says whether the
   * timer keeps the process alive. Without this method, waiting callers read the clock ten times a second.
   */
  wakeAfter?(ms: number, wake: () => void, keepAlive: boolean): () => void;
}

/** Taken when this module is loaded, before a test installs fake timers. */
const RealDate = Date;
const originMs = performance.timeOrigin;
const monotonicMs = performance.now.bind(performance);

/**
 * This process's clock. It does not step when the machine's wall clock is set. If a test has replaced `Date` by fake
 * timers (vitest, Jest, sinon, node:test), it follows that `Date`. Timers are looked up at each call, so both are the
 * test's.
 */
export const systemClock: Required<Clock> = {
  nowMicros: () =>
    Date === RealDate ? Math.floor((originMs + monotonicMs()) * 1_000) : Date.now() * 1_000,

  wakeAfter(ms, wake, keepAlive) {
    const cancel = clearTimeout;
    const timer = setTimeout(wake, ms);
    if (!keepAlive) {
      (timer as { unref?: () => void }).unref?.(); // a browser's timer is a number
    }
    return () => cancel(timer);
  },
};

/** A longer timer, in milliseconds, fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How often to read a clock that has no `wakeAfter`: its speed is unknown. */
const LOOK_MS = 100;

/**
 * Calls `wake` when the clock reaches `atMicros`, at once if it already has. Returns a function that cancels this. A
 * timer may fire up to a millisecond early, so the clock is read again before `wake` is called.
 */
export function wakeAt(
  clock: Clock,
  atMicros: number,
  wake: () => void,
  keepAlive: boolean,
): () => void {
  if (atMicros === Number.POSITIVE_INFINITY) {
    return () => {};
  }
  const wakes = clock.wakeAfter !== undefined;
  const timers = wakes ? (clock as Required<Clock>) : systemClock;
  const longestMs = wakes ? LONGEST_TIMER_MS : LOOK_MS;
  let cancel: () => void;
  const look = (): void => {
    const ms = Math.ceil((atMicros - clock.nowMicros()) / 1_000);
    if (ms <= 0) {
      wake();
    } else {
      cancel = timers.wakeAfter(Math.min(ms, longestMs), look, keepAlive);
    }
  };
  look();
  return () => cancel?.();
}
