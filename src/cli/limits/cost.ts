import type { AnyLimit } from '../../algorithms/limit.ts';
import type { Given, OptionTable } from '../kit/command.ts';
import { UsageError } from '../kit/io.ts';

export const COST_OPTION: OptionTable = {
  cost: {
    type: 'string',
    multiple: true,
    value: '<units>',
    help: 'Units; by name where limits have units: `--cost tokens=500`',
  },
};

/** `--cost 5`, or `--cost tokens=500` where limits have units; undefined without the option. */
export function readCost(
  given: Given,
  limits: readonly Pick<AnyLimit, 'unit'>[],
): number | Readonly<Record<string, number>> | undefined {
  const texts = given.texts('cost');
  if (texts.length === 0) {
    return undefined;
  }
  const hasUnits = limits.some(({ unit }) => unit !== undefined);
  const pairs = texts.map((text) => {
    const [, unit, number] = /^(?:([a-z0-9_]{1,32})=)?(\d{1,10})$/.exec(text) ?? [];
    if (number === undefined || (unit !== undefined) !== hasUnits) {
      throw new UsageError(
        `--cost must be ${hasUnits ? 'a unit and a whole number, such as --cost tokens=500' : 'a whole number, such as --cost 5'}; got '${text}'.`,
      );
    }
    return [unit ?? '', Number(number)] as const;
  });
  return hasUnits ? Object.fromEntries(pairs) : pairs[0]![1];
}
