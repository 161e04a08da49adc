import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { Limit, readPeriod, readRate } from './limit.ts';

/** A limit on the units per window of one length. */
export abstract class WindowLimit extends Limit {
  readonly rate: number;
  /** The length of a window. */
  readonly windowMs: number;

  constructor(set: OptionSet, options: unknown) {
    const given = new GivenOptions(set, options);
    super(given);
    this.rate = given.required('rate', readRate);
    this.windowMs = given.required('period', readPeriod);
    given.end();
  }

  get capacity(): number {
    return this.rate;
  }
}
