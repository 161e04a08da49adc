import type { Limit } from '../algorithms/limit.ts';
import { invalidOption } from '../base/errors.ts';
import { isSameBy } from './homes.ts';
import { PREPAY } from '../options/option-sets.ts';
import { integer, openSwitch } from '../options/read-options.ts';

/** How a process spends units that it was charged for beforehand. */
export interface PrepayOptions {
  /**
   * How long units are held at most before they are spent or lost, in milliseconds, from 10 to 500. Default: an eighth of
   * the shortest window of the limits, at most 500.
   */
  holdMs?: number;
  /**
   * How far turns may reach into the future, in milliseconds, from 0 to 500. Where more is asked than the limit lets
   * pass, each process is given its next turn instead of asking again and again. Processes that do not prepay then get
   * little: set 0 until all of them do. Default 300.
   */
  aheadMs?: number;
  /** The most identities that are given units at a time, from 1 to 1,000,000. Default 10,000. */
  maxIdentities?: number;
}

/** The option `prepay`, read. */
export interface PrepaySettings {
  readonly holdMs: number | undefined;
  readonly aheadMs: number;
  readonly maxIdentities: number;
}

/** Reads the option `prepay`; undefined if it is off. */
export function readPrepay(value: unknown): PrepaySettings | undefined {
  const given = openSwitch(PREPAY, value, '{ aheadMs: 0 }');
  if (given === undefined) {
    return undefined;
  }
  const settings = {
    holdMs: given.optional('holdMs', integer(10, 500), undefined),
    aheadMs: given.optional('aheadMs', integer(0, 500), 300),
    maxIdentities: given.optional('maxIdentities', integer(1, 1_000_000), 10_000),
  };
  given.end();
  return settings;
}

/** Refuses limits whose calls cannot be decided from units that were paid for beforehand. */
export function checkPrepay(
  prepay: PrepaySettings | undefined,
  limits: readonly Limit[],
  observes: boolean,
): void {
  if (prepay === undefined) {
    return;
  }
  if (observes) {
    throw invalidOption(
      'prepay',
      'left out where `observes` is true',
      true,
      'What a provider says is left must reach each call. Leave one of the two out.',
    );
  }
  for (const { name, algorithm, twin, shadow, by, ban } of limits) {
    const reason =
      twin.slicing === undefined
        ? `is a ${algorithm}`
        : shadow
          ? 'is a shadow'
          : !isSameBy(by ?? [], limits[0]!.by ?? [])
            ? `counts by other parts than '${limits[0]!.name}'`
            : ban !== undefined
              ? 'has a ban, which counts the refusals that the store makes'
              : undefined;
    if (reason !== undefined) {
      throw invalidOption(
        'prepay',
        'left out unless all limits are enforced token buckets and windows by the same parts, without `ban`',
        true,
        `The limit '${name}' ${reason}. Leave \`prepay\` out, or give that limit a limiter of its own.`,
      );
    }
  }
}
