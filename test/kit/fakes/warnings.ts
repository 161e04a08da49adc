import { afterEach, beforeEach } from 'vitest';

/** A process warning, as listeners receive it. */
export type Warning = Error & { readonly code?: string };

/** Collects the process warnings of each test of the file. A warning is emitted one tick after its cause. */
export function collectWarnings(): () => Promise<readonly Warning[]> {
  let warnings: Warning[] = [];
  const note = (warning: Warning): void => {
    warnings.push(warning);
  };
  beforeEach(() => {
    warnings = [];
    process.on('warning', note);
  });
  afterEach(() => {
    process.off('warning', note);
  });
  return async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return warnings;
  };
}
