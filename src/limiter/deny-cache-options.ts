import { DENY_CACHE } from '../options/option-sets.ts';
import { integer, openSwitch } from '../options/read-options.ts';

/** For how long, and for how many identities, refusals are remembered. */
export interface DenyCacheOptions {
  /**
   * The longest time after a reply of Redis for which calls are refused by it, in whole milliseconds from 1 to 60,000.
   * What another process gives back takes effect here this much later at most. Default: `timeoutMs`.
   */
  holdMs?: number;
  /** The most identities whose refusals are remembered on a connection, from 1 to 1,000,000. Default 10,000. */
  maxIdentities?: number;
}

export type DenyCacheSettings = Required<DenyCacheOptions>;

/** Reads `denyCache`; undefined if it is off. `timeoutMs`: the limiter's. */
export function readDenyCache(value: unknown, timeoutMs: number): DenyCacheSettings | undefined {
  const given = openSwitch(DENY_CACHE, value, '{ holdMs: 100 }');
  if (given === undefined) {
    return undefined;
  }
  const settings = {
    holdMs: given.optional('holdMs', integer(1, 60_000), timeoutMs),
    maxIdentities: given.optional('maxIdentities', integer(1, 1_000_000), 10_000),
  };
  given.end();
  return settings;
}
