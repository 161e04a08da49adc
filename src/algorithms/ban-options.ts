import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption, optionError, show } from '../base/errors.ts';
import { BAN } from '../options/option-sets.ts';
import { GivenOptions, readInteger } from '../options/read-options.ts';

/**
 * When a limit blocks the identities that it keeps refusing, and for how long. A ban is the block that `limiter.block`
 * sets, so the limiter needs `blocks: true`.
 *
 * @example
 * tokenBucket({ rate: 10, period: '1m', ban: { after: 5, within: '10m', for: '15m', growth: 2, max: '1d' } });
 */
export interface BanOptions {
  /** The refusal of so many that starts a ban: a whole number from 1 to 100. */
  after: number;
  /** The time within which they must come, `'10m'`, from 1 ms to 366 days. */
  within: Duration;
  /** The length of the first ban, `'15m'`, from 1 ms to 366 days. */
  for: Duration;
  /**
   * A ban is so many times as long as the one before, if that is remembered: until its own length and `within` have
   * passed since it ended. From 1 to 10, with at most two decimals. Default 1: all bans are equally long.
   */
  growth?: number;
  /** The longest ban, from `for` to 366 days. Default `'1d'`, or `for` if that is longer. */
  max?: Duration;
}

/** A ban's numbers, as both twins take them. */
export interface BanNumbers {
  readonly after: number;
  readonly withinMs: number;
  readonly forMs: number;
  /** In hundredths, so that lengths are computed in whole numbers. */
  readonly growthPercent: number;
  readonly maxMs: number;
}

/** Each of them is an instant in the state. */
const MOST_REFUSALS = 100;
const DAY_MS = 86_400_000;
const LONGEST_MS = 366 * DAY_MS;
const MOST_GROWTH = 10;

/** Reads the option `ban` of a limit. */
export function readBan(option: string, value: unknown): BanNumbers {
  if (typeof value !== 'object' || value === null) {
    throw invalidOption(
      option,
      'an object',
      value,
      `Write ban: { after: ${Number.isSafeInteger(value) ? show(value) : '5'}, within: '10m', for: '15m' }.`,
    );
  }
  const given = new GivenOptions(BAN, value);
  const time = (example: Duration) => (name: string, each: unknown) =>
    readDurationString(`${option}.${name}`, each, 1, LONGEST_MS, example);
  const after = given.required('after', (name, each) =>
    readInteger(`${option}.${name}`, each, 1, MOST_REFUSALS),
  );
  const withinMs = given.required('within', time('10m'));
  const forMs = given.required('for', time('15m'));
  const growthPercent = given.optional(
    'growth',
    (name, each) => readGrowth(`${option}.${name}`, each),
    100,
  );
  const maxMs = given.optional(
    'max',
    (name, each) => {
      const ms = time('1d')(name, each);
      if (ms < forMs) {
        throw optionError(
          `${option}.${name}`,
          'be at least as long as `for`, the first ban',
          `got ${show(each)} and for: ${show((value as BanOptions).for)}`,
          'Raise it, or leave it out.',
        );
      }
      return ms;
    },
    undefined,
  );
  given.end();
  return Object.freeze({
    after,
    withinMs,
    forMs,
    growthPercent,
    maxMs: maxMs ?? Math.max(DAY_MS, forMs),
  });
}

function readGrowth(option: string, value: unknown): number {
  const percent = typeof value === 'number' ? Math.round(value * 100) : Number.NaN;
  if (!(percent >= 100 && percent <= MOST_GROWTH * 100) || percent / 100 !== value) {
    throw invalidOption(
      option,
      `a number from 1 to ${MOST_GROWTH} with at most two decimals`,
      value,
      'Write 2 for bans that double, 1 for bans that are all equally long.',
    );
  }
  return percent;
}
