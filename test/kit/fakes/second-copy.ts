import type * as Library from 'distributed-rate-limiter';
import { vi } from 'vitest';

/** A second copy of the package, as two dependencies may each bring one: other classes under the same names. */
export async function secondCopy(): Promise<typeof Library> {
  vi.resetModules();
  return import('distributed-rate-limiter');
}
