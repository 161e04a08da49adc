import type * as Clock from '../../../src/base/clock.ts';
import type * as LimitSets from '../../../src/limiter/limit-set.ts';
import type * as Shapes from '../../../src/script/call-shape.ts';
import type * as Driver from '../../../src/script/decide.ts';
import type * as Answers from '../../../src/script/read-answer.ts';
import type * as Buckets from '../../../src/algorithms/token-bucket.ts';

/** The parts of the library that decide, from the sources or from a mutant of them. */
export type Engine = Pick<typeof LimitSets, 'LimitSet'> &
  Pick<typeof Shapes, 'makeShape' | 'reserveDetails' | 'settleDetails'> &
  Pick<typeof Driver, 'decide'> &
  Pick<typeof Answers, 'readGranted' | 'readMarks' | 'readSettled' | 'readVerdicts'> &
  Pick<typeof Buckets, 'tokenBucket'>;

/** Loads the library from a folder that is laid out like `src`. */
export async function loadEngine(folder: string): Promise<Engine> {
  const [sets, shapes, driver, answers, buckets] = (await Promise.all(
    [
      'limiter/limit-set.ts',
      'script/call-shape.ts',
      'script/decide.ts',
      'script/read-answer.ts',
      'algorithms/token-bucket.ts',
    ].map((file) => import(/* @vite-ignore */ `${folder}/${file}`)),
  )) as [typeof LimitSets, typeof Shapes, typeof Driver, typeof Answers, typeof Buckets];
  return { ...sets, ...shapes, ...driver, ...answers, ...buckets };
}

/** A clock that no calendar limit asks. */
export const NO_CLOCK: Clock.Clock = { nowMicros: () => 0 };
