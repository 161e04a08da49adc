/** Runs `step` for the first group that needs it: vitest loads this module anew for each group. */
export function once(name: string, step: () => void): void {
  const done = Symbol.for(`distributed-rate-limiter.test-setup.${name}`);
  if (Object.hasOwn(globalThis, done)) return;
  step();
  Object.defineProperty(globalThis, done, { value: true });
}
