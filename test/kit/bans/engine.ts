import type * as Front from '../../../src/index.ts';
import type * as LimitSets from '../../../src/limiter/limit-set.ts';
import type * as Decisions from '../../../src/limiter/make-decision.ts';
import type * as Driver from '../../../src/script/decide.ts';
import type * as Answers from '../../../src/script/read-answer.ts';

/** The parts of the library that ban, from the sources or from a mutant of them. */
export type BansEngine = Pick<typeof LimitSets, 'LimitSet' | 'blockShape'> &
  Pick<typeof Decisions, 'makeDecision'> &
  Pick<typeof Driver, 'decide'> &
  Pick<typeof Answers, 'readGranted' | 'readVerdicts'> &
  Pick<typeof Front, 'fixedWindow' | 'slidingWindow' | 'tokenBucket'>;

/** Loads the library from a folder that is laid out like `src`. */
export async function loadBansEngine(folder: string): Promise<BansEngine> {
  const [front, sets, decisions, driver, answers] = (await Promise.all(
    [
      'index.ts',
      'limiter/limit-set.ts',
      'limiter/make-decision.ts',
      'script/decide.ts',
      'script/read-answer.ts',
    ].map((file) => import(/* @vite-ignore */ `${folder}/${file}`)),
  )) as [typeof Front, typeof LimitSets, typeof Decisions, typeof Driver, typeof Answers];
  return { ...front, ...sets, ...decisions, ...driver, ...answers };
}
