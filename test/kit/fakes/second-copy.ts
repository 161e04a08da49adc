import type * as Library from 'distributed-rate-limiter';
import { vi } from 'vitest';

/** The package loaded once more, as where two dependencies bring one each: other classes, under the same names. */
export async function secondCopy(): Promise<typeof Library> {
  vi.resetModules();
  return import('distributed-rate-limiter');
}
