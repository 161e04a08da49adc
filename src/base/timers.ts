import { performance } from 'node:perf_hooks';
import * as timers from 'node:timers';
import * as timersPromises from 'node:timers/promises';
import type { Clock } from './clock.ts';

/**
 * The runtime's own timers and monotonic clock, read once when this module is loaded. Deadlines, batches and
 * everything else that concerns a server use these. So fake timers that a test installs later cannot keep a call from
 * being answered. Waiting callers follow the store's clock instead: see clock.ts.
 */
export const setTimeout: typeof timers.setTimeout = timers.setTimeout;
export const clearTimeout: typeof timers.clearTimeout = timers.clearTimeout;
export const setInterval: typeof timers.setInterval = timers.setInterval;
export const clearInterval: typeof timers.clearInterval = timers.clearInterval;
export const setImmediate: typeof timers.setImmediate = timers.setImmediate;
export const nextTick: typeof process.nextTick = process.nextTick.bind(process);
/** Milliseconds since the process started. Never steps back. */
export const monotonicMs: () => number = performance.now.bind(performance);
export const sleep: typeof timersPromises.setTimeout = timersPromises.setTimeout;

/** Real time, even under fake timers, for waiting on a server. Its zero is the start of the process. */
export const realTime: Required<Clock> = {
  nowMicros: () => Math.floor(monotonicMs() * 1_000),
  wakeAfter(ms, wake, keepAlive) {
    const timer = setTimeout(wake, ms);
    if (!keepAlive) {
      timer.unref();
    }
    return () => clearTimeout(timer);
  },
};
