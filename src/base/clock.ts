/**
 * The clock of a `MemoryStore`: what its limits count by, and what `wait` and leases wait on. Redis always uses its own.
 *
 * @example
 * const clock: Clock = { nowMicros: () => Date.now() * 1_000 };
 */
export interface Clock {
  /** Whole microseconds since the Unix epoch. */
  nowMicros(): number;
  /**
   * Calls `wake` once this clock has gone on by `ms`, and returns a function that cancels this. `keepAlive` says whether
   * the process must stay alive for it. Without this method whatever waits looks at the clock ten times a second.
   */
  wakeAfter?(ms: number, wake: () => void, keepAlive: boolean): () => void;
}

/** Taken when this module is loaded, before a test installs fake timers. */
const RealDate = Date;
const originMs = performance.timeOrigin;
const monotonicMs = performance.now.bind(performance);

/**
 * This process's clock. It does not step when the machine's wall clock is set. Where a test has replaced `Date`, as the
 * fake timers of vitest, Jest, sinon and node:test do, it is that `Date`: timers are looked up at each call, so both are
 * the test's.
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

/** A timer of more milliseconds than this fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How often a clock is looked at that cannot wake anybody: nobody knows how fast it goes. */
const LOOK_MS = 100;

/**
 * Calls `wake` when the clock shows `atMicros`, at once if it does so now. Returns a function that cancels this. A timer
 * may fire up to a millisecond early, so the clock is read again before `wake` is called.
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
