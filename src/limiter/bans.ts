import type { AnyLimit } from '../algorithms/limit.ts';
import { optionError, show } from '../base/errors.ts';
import { isOneOf } from './homes.ts';
import type { HomeBy } from './homes.ts';

/**
 * Checks that the bans of these limits can hold: the limiter heeds blocks, and those of their homes. `blockable`: the
 * homes of the limiter's own limits, for limits of a call; undefined for these own limits.
 */
export function checkBans(
  limits: readonly AnyLimit[],
  blocks: boolean,
  blockable?: readonly HomeBy[],
): void {
  const banning = limits.filter(({ ban }) => ban !== undefined);
  if (banning.length > 0 && !blocks) {
    throw optionError(
      'ban',
      'be given to limits of a limiter with `blocks: true`',
      `got it in the limit ${show(banning[0]!.name)} of one without`,
      'A ban is a block, which only such limiters heed: add `blocks: true` to the options of the limiter.',
    );
  }
  const apart =
    blockable === undefined
      ? undefined
      : banning.find(({ by }) => by !== undefined && !isOneOf(blockable, by));
  if (apart !== undefined) {
    throw optionError(
      'ban',
      "count by the same parts as one of the limiter's own limits, whose blocks its calls heed",
      `got it in the limit ${show(apart.name)}, by ${show(apart.by!.join(', '))}`,
      'Leave `ban` out of this limit of a call, or give the limiter a limit by these parts.',
    );
  }
}
