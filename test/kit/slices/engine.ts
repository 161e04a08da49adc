import { fileURLToPath } from 'node:url';
import type * as Algorithms from '../../../src/algorithms/token-bucket.ts';
import type * as Fixed from '../../../src/algorithms/fixed-window.ts';
import type * as Sliding from '../../../src/algorithms/sliding-window.ts';
import type * as Costs from '../../../src/limiter/cost.ts';
import type * as LimitSets from '../../../src/limiter/limit-set.ts';
import type * as MakeDecision from '../../../src/limiter/make-decision.ts';
import type * as Prepays from '../../../src/limiter/prepay.ts';
import type * as SliceCosts from '../../../src/limiter/slice-cost.ts';
import type * as Shapes from '../../../src/script/call-shape.ts';
import type * as Driver from '../../../src/script/decide.ts';
import type * as Answers from '../../../src/script/read-answer.ts';
import type * as Anchors from '../../../src/stores/clock-anchor.ts';
import { copyOf } from '../mutants.ts';
import type { Mutant } from '../mutants.ts';

/** The parts of the library that decide with slices, from the sources or from a mutant of them. */
export type SliceEngine = Pick<typeof LimitSets, 'LimitSet' | 'blockShape'> &
  Pick<typeof Costs, 'NamedCost'> &
  Pick<typeof Prepays, 'Prepay'> &
  Pick<typeof SliceCosts, 'sliceCostOf'> &
  Pick<typeof MakeDecision, 'makeDecision'> &
  Pick<typeof Shapes, 'grantDetails' | 'makeShape' | 'SLICES'> &
  Pick<typeof Driver, 'decide'> &
  Pick<typeof Answers, 'readMarks' | 'readVerdicts'> &
  Pick<typeof Anchors, 'ClockAnchors'> &
  Pick<typeof Algorithms, 'tokenBucket'> &
  Pick<typeof Fixed, 'fixedWindow'> &
  Pick<typeof Sliding, 'slidingWindow'>;

const FILES = [
  'limiter/cost.ts',
  'limiter/limit-set.ts',
  'limiter/prepay.ts',
  'limiter/slice-cost.ts',
  'limiter/make-decision.ts',
  'script/call-shape.ts',
  'script/decide.ts',
  'script/read-answer.ts',
  'stores/clock-anchor.ts',
  'algorithms/token-bucket.ts',
  'algorithms/fixed-window.ts',
  'algorithms/sliding-window.ts',
];

const sources = fileURLToPath(new URL('../../../src', import.meta.url));

/** Loads the library from a folder that is laid out like `src`. */
export async function loadSliceEngine(folder: string = sources): Promise<SliceEngine> {
  const modules: object[] = await Promise.all(
    FILES.map((file) => import(/* @vite-ignore */ `${folder}/${file}`) as Promise<object>),
  );
  return Object.assign({}, ...modules) as SliceEngine;
}

/** Loads the library with a mistake in it. */
export async function loadMutant(mutant: Mutant): Promise<SliceEngine> {
  const copy = copyOf(mutant);
  try {
    return await loadSliceEngine(copy.folder);
  } finally {
    copy.remove();
  }
}
