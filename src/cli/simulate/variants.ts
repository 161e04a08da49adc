import { durationToMs } from '../../base/duration.ts';
import type { Given, OptionTable } from '../kit/command.ts';
import { UsageError } from '../kit/io.ts';

/** One way to decide under the same limits: options of a RateLimiter that change how often a store is asked. */
export interface Variant {
  /** What is added to the policy's name; undefined for a limiter without such options. */
  readonly name: string | undefined;
  readonly options: Readonly<Record<string, unknown>>;
}

export const VARIANT_OPTIONS: OptionTable = {
  'deny-cache': {
    type: 'string',
    multiple: true,
    value: '<duration>',
    help: 'Decide once more with `denyCache`, refusals held for so long: 250ms',
  },
  prepay: { type: 'boolean', help: 'Decide once more with `prepay`, units paid beforehand' },
};

/** A limiter without options for local decisions, and beside it one for each that the command line names. */
export function readVariants(given: Given): readonly Variant[] {
  const held = given.texts('deny-cache').map((text) => {
    const holdMs = durationToMs(text);
    if (holdMs === undefined || holdMs < 1 || holdMs > 60_000) {
      throw new UsageError(
        `--deny-cache must be a duration from 1ms to 60s, got '${text}'. Write --deny-cache 250ms.`,
      );
    }
    return { name: `denyCache ${text}`, options: { denyCache: { holdMs } } };
  });
  const prepaid = given.flag('prepay') ? [{ name: 'prepay', options: { prepay: true } }] : [];
  return [{ name: undefined, options: {} }, ...held, ...prepaid];
}
