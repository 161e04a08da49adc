import { fixedWindow } from '../../algorithms/fixed-window.ts';
import type { AnyLimit } from '../../algorithms/limit.ts';
import { slidingWindowLog } from '../../algorithms/sliding-window-log.ts';
import { slidingWindow } from '../../algorithms/sliding-window.ts';
import { tokenBucket } from '../../algorithms/token-bucket.ts';
import { RateLimiterError } from '../../base/errors.ts';
import { UsageError } from '../kit/io.ts';

/** The factories, by the words of a limit's text. */
export const LIMIT_FACTORIES: Readonly<
  Record<LimitParts['algorithm'], (options: never) => unknown>
> = {
  bucket: tokenBucket,
  sliding: slidingWindow,
  log: slidingWindowLog,
  fixed: fixedWindow,
};

/** What a limit's text says, piece by piece. */
export interface LimitParts {
  readonly algorithm: 'bucket' | 'sliding' | 'log' | 'fixed';
  readonly rate: string;
  readonly period: string;
  readonly burst?: string | undefined;
}

const LIMIT =
  /^([\d_]{1,13}) ?(?:\/|per ) ?(\d{0,15} ?[a-z]+)(?: burst ([\d_]{1,13}))?(?: (bucket|sliding|log|fixed))?$/;

export const LIMIT_SYNTAX =
  "'100/1m burst 20' (token bucket), '100/1m sliding', '100/1m log', '1000/1d fixed'; several in one policy: '10/1s, 1000/1h'";

/** Reads the limits of one policy. The first has no name, the others are named by what they say. */
export function readLimitText(text: string): readonly AnyLimit[] {
  return text.split(',').map((each, i) => readOne(each.trim(), i === 0));
}

function readOne(text: string, isFirst: boolean): AnyLimit {
  const parts = partsOfLimit(text);
  if (parts === undefined) {
    throw new UsageError(`--limit must be such as ${LIMIT_SYNTAX}; got '${text}'.`);
  }
  const { burst, algorithm } = parts;
  if (burst !== undefined && algorithm !== 'bucket') {
    throw new UsageError(
      `--limit '${text}': only a token bucket has a burst. Leave out 'burst ${burst}' or '${algorithm}'.`,
    );
  }
  try {
    const name = isFirst ? {} : { name: nameOfLimit(text) };
    return LIMIT_FACTORIES[algorithm]({ ...name, ...optionsOfLimit(parts) } as never) as AnyLimit;
  } catch (error) {
    throw error instanceof RateLimiterError
      ? new UsageError(`--limit '${text}': ${error.message}`)
      : error;
  }
}

/** Takes the text of one limit apart; undefined if it is none. */
export function partsOfLimit(text: string): LimitParts | undefined {
  const [, rate, period, burst, algorithm = 'bucket'] = LIMIT.exec(text) ?? [];
  return rate === undefined || period === undefined
    ? undefined
    : { algorithm: algorithm as LimitParts['algorithm'], rate, period, burst };
}

/** The options of such a limit, as its factory takes them. */
export function optionsOfLimit({ rate, period, burst }: LimitParts): LimitNumbers {
  return {
    rate: numberOf(rate),
    period: /^\d/.test(period) ? period : `1${period}`,
    ...(burst === undefined ? {} : { burst: numberOf(burst) }),
  };
}

interface LimitNumbers {
  readonly rate: number;
  readonly period: string;
  readonly burst?: number;
}

function numberOf(digits: string): number {
  return Number(digits.replaceAll('_', ''));
}

/** The text with what a limit's name may hold. */
export function nameOfLimit(text: string): string {
  return text.replaceAll('/', '-per-').replaceAll(/[^A-Za-z0-9._-]+/g, '-');
}
