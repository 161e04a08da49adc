import type * as Front from '../../../src/index.ts';
import type * as LimitSets from '../../../src/limiter/limit-set.ts';
import type * as Receipts from '../../../src/limiter/refund-receipt.ts';
import type * as Driver from '../../../src/script/decide.ts';
import type * as Answers from '../../../src/script/read-answer.ts';

/** The parts of the library that know homes and units, from the sources or from a mutant of them. */
export type HomesEngine = Pick<typeof LimitSets, 'LimitSet' | 'blockShape'> &
  Pick<typeof Receipts, 'attachReceipt' | 'redeem'> &
  Pick<typeof Driver, 'decide'> &
  Pick<typeof Answers, 'readVerdicts'> &
  Pick<
    typeof Front,
    'fixedWindow' | 'MemoryStore' | 'RateLimiter' | 'slidingWindow' | 'StoreError' | 'tokenBucket'
  >;

/** Loads the library from a folder that is laid out like `src`. */
export async function loadHomesEngine(folder: string): Promise<HomesEngine> {
  const [front, sets, receipts, driver, answers] = (await Promise.all(
    [
      'index.ts',
      'limiter/limit-set.ts',
      'limiter/refund-receipt.ts',
      'script/decide.ts',
      'script/read-answer.ts',
    ].map((file) => import(/* @vite-ignore */ `${folder}/${file}`)),
  )) as [typeof Front, typeof LimitSets, typeof Receipts, typeof Driver, typeof Answers];
  return { ...front, ...sets, ...receipts, ...driver, ...answers };
}
