import { readDuration } from '../duration.ts';
import { readInteger } from '../options.ts';
import { Limit, MAX_UNITS, readLimitOptions, YEAR_MS } from './limit.ts';

/** A limit of so many units per window of one length. */
export abstract class WindowLimit extends Limit {
  readonly rate: number;
  /** The length of a window. */
  readonly windowMs: number;

  constructor(factory: string, options: unknown) {
    const given = readLimitOptions(factory, options, ['rate', 'period']);
    super(given);
    this.rate = readInteger('rate', given['rate'], 1, MAX_UNITS);
    this.windowMs = readDuration('period', given['period'], 1, YEAR_MS);
  }

  get capacity(): number {
    return this.rate;
  }
}
