import { vi } from 'vitest';

/**
 * Repeats an assertion until it holds, for effects that follow after a response has been read. Repeats every 2 ms,
 * because hundreds of tests wait here. Fails after 30 s, which only a hang takes.
 */
export function eventually<T>(assertion: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(assertion, { interval: 2, timeout: 30_000 });
}
