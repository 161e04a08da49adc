/**
 * The built package, for scripts that demonstrate it. Builds it first if it is missing, so that the scripts run without
 * npm. The specifiers are variables, because TypeScript takes the types from the sources, which exist before a build.
 */
import { existsSync } from 'node:fs';

/** @param {string} file */
const at = (file) => new URL(`../dist/${file}`, import.meta.url);

if (!existsSync(at('index.js'))) {
  const { build } = await import('./build.mjs');
  await build();
}

/** @type {{ library: typeof import('../src/index.ts'), testing: typeof import('../src/testing/index.ts') }} */
export const built = {
  library: await import(at('index.js').href),
  testing: await import(at('testing/index.js').href),
};
