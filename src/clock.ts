/**
 * Where a `MemoryStore` reads the time. Redis always uses its own clock.
 *
 * @example
 * const clock: Clock = { nowMicros: () => Date.now() * 1_000 };
 */
export interface Clock {
  /** Whole microseconds since the Unix epoch. */
  nowMicros(): number;
}

/** This process's clock. It does not step when the machine's wall clock is set. */
export const systemClock: Clock = {
  nowMicros: () => Math.floor((performance.timeOrigin + performance.now()) * 1_000),
};
