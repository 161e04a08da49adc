/**
 * In place of src/base/timers.ts, for tests that drive deadlines with vitest's fake timers:
 * `vi.mock(import('../../../src/base/timers.ts'), () => import('./live-timers.ts'))`.
 */
const live = globalThis;

export const setTimeout = ((...args: Parameters<typeof live.setTimeout>) =>
  live.setTimeout(...args)) as typeof live.setTimeout;
export const clearTimeout: typeof live.clearTimeout = (timer) => live.clearTimeout(timer);
export const setInterval = ((...args: Parameters<typeof live.setInterval>) =>
  live.setInterval(...args)) as typeof live.setInterval;
export const clearInterval: typeof live.clearInterval = (timer) => live.clearInterval(timer);
export const setImmediate = ((...args: Parameters<typeof live.setImmediate>) =>
  live.setImmediate(...args)) as typeof live.setImmediate;
export const nextTick: typeof process.nextTick = (...args) => process.nextTick(...args);
export const monotonicMs = (): number => performance.now();
