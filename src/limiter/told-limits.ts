import { CALLS } from '../algorithms/limit.ts';
import type { AnyLimit, Limit } from '../algorithms/limit.ts';
import { fixedWindow } from '../algorithms/fixed-window.ts';
import { slidingWindow } from '../algorithms/sliding-window.ts';
import { slidingWindowLog } from '../algorithms/sliding-window-log.ts';
import { tokenBucket, tokenBucketBeside } from '../algorithms/token-bucket.ts';
import type { HomeBy } from './homes.ts';
import { settledByUnit } from './settlement.ts';
import type { CountedUnit, Settlement } from './settlement.ts';

/** Limits as the record of a reservation tells of them. */
export interface ToldLimits {
  readonly limits: readonly AnyLimit[];
  /** The homes of the reservation, in the order of their keys; undefined if its identity is whole. */
  readonly homes: readonly HomeBy[] | undefined;
  /** Whether the record has charges of providers' quotas, too. */
  readonly observes: boolean;
}

/** Begins the line of the homes where the reserving limiter observes its providers. */
const OBSERVES = 'observes ';

type Numbers = Parameters<typeof tokenBucketBeside>[1];

const MAKERS: Readonly<Partial<Record<string, (options: never) => AnyLimit>>> = {
  token_bucket: tokenBucket<string, string>,
  sliding_window: slidingWindow<string, string>,
  sliding_window_log: slidingWindowLog<string, string>,
  fixed_window: fixedWindow<string, string>,
};

/**
 * What a reservation's record says of its limits, so that a process that has others can settle it: a line with what each
 * counts, '-' before a shadow's, empty where no limit has a unit; a line with the homes, empty for a whole identity; and
 * a line with the options of each limit. The second line begins with a word where providers' quotas were charged, too.
 */
export function tellLimits(
  limits: readonly Limit[],
  hasUnits: boolean,
  homes: readonly HomeBy[],
  observes: boolean,
): string {
  const unitOf = ({ unit }: AnyLimit): string | undefined =>
    hasUnits ? (unit ?? CALLS) : undefined;
  return [
    hasUnits ? limits.map((limit) => (limit.shadow ? '-' : '') + unitOf(limit)).join(',') : '',
    (observes ? OBSERVES : '') + (homes.length === 0 ? '' : JSON.stringify(homes)),
    ...limits.map((limit) => limit.told(unitOf(limit))),
  ].join('\n');
}

/** The line with what each limit counts, which is all that a settled record says. */
export function unitsTold(told: string): string {
  return told.slice(0, told.indexOf('\n'));
}

/** Reads what `tellLimits` wrote; undefined for any other text. */
export function readToldLimits(told: string): ToldLimits | undefined {
  const [, line, ...texts] = told.split('\n');
  if (line === undefined || texts.length === 0) {
    return undefined;
  }
  const observes = line.startsWith(OBSERVES);
  const homes = observes ? line.slice(OBSERVES.length) : line;
  try {
    return {
      homes: homes === '' ? undefined : readHomes(JSON.parse(homes)),
      limits: texts.map((text) => makeLimit(JSON.parse(text))),
      observes,
    };
  } catch {
    return undefined; // no JSON, or options that this version refuses
  }
}

function readHomes(homes: readonly (readonly string[])[]): readonly HomeBy[] {
  return homes.map((by) => by.map(String));
}

function makeLimit([algorithm, options, beside]: readonly [string, never, unknown?]): AnyLimit {
  if (beside === undefined) {
    return MAKERS[algorithm]!(options);
  }
  const isOwn =
    beside === null || Object.values(beside as Numbers & object).every(Number.isSafeInteger);
  if (algorithm !== 'token_bucket' || !isOwn) {
    throw new TypeError('no plan of a token bucket');
  }
  return tokenBucketBeside(options, beside as Numbers);
}

/** Reads what `recall` tells of a settled record: how it was settled. Undefined for any other text. */
export function readToldSettlement(text: string): Settlement<string> | undefined {
  const [numbers = '', units = ''] = text.split('\n');
  const [charged, uncharged] = numbers.split(';').map((list) => list.split(',').map(Number));
  if (charged === undefined || uncharged?.length !== charged.length) {
    return undefined;
  }
  if (units === '') {
    return { charged: charged[0]!, uncharged: uncharged[0]!, expired: false };
  }
  const counted = units.split(',').map(readUnit);
  // After those of the limits come those of providers' quotas.
  return counted.length <= charged.length
    ? {
        ...settledByUnit(
          counted,
          counted.map((_, i) => ({ charged: charged[i]!, uncharged: uncharged[i]! })),
        ),
        expired: false,
      }
    : undefined;
}

function readUnit(text: string): CountedUnit {
  return text.startsWith('-')
    ? { unit: text.slice(1), shadow: true }
    : { unit: text, shadow: false };
}
