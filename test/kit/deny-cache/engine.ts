import { fileURLToPath } from 'node:url';
import type * as Errors from '../../../src/base/errors.ts';
import type * as Front from '../../../src/index.ts';
import type * as Views from '../../../src/stores/local-view.ts';
import type * as Testing from '../../../src/testing/index.ts';

/** The library, from the sources or from a mutant of them. */
export type Engine = typeof Front &
  Pick<typeof Testing, 'ManualClock'> &
  Pick<typeof Views, 'LocalView'> &
  Pick<typeof Errors, 'StoreError'>;

const SOURCES: string = fileURLToPath(new URL('../../../src', import.meta.url));

/** Loads the library from a folder that is laid out like `src`. */
export async function loadEngine(folder: string = SOURCES): Promise<Engine> {
  const [front, testing, views, errors] = (await Promise.all(
    ['index.ts', 'testing/manual-clock.ts', 'stores/local-view.ts', 'base/errors.ts'].map(
      (file) => import(/* @vite-ignore */ `${folder}/${file}`),
    ),
  )) as [typeof Front, typeof Testing, typeof Views, typeof Errors];
  return { ...front, ...testing, ...views, ...errors };
}
