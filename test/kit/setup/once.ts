/** Runs `step` for the first group that needs it. Vitest loads this module once per group. */
export async function once(name: string, step: () => void | Promise<void>): Promise<void> {
  const key = Symbol.for(`distributed-rate-limiter.test-setup.${name}`);
  const steps = globalThis as { [key: symbol]: void | Promise<void> };
  if (!Object.hasOwn(steps, key)) {
    steps[key] = step();
  }
  await steps[key];
}
