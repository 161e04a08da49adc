import type { Decision } from '../base/decision.ts';
import type { LimiterCounts } from '../observe/limiter-counts.ts';
import { costOf } from './cost.ts';
import type { Asked } from './cost.ts';
import type { LimitSet } from './limit-set.ts';
import { makeUnlimitedDecision } from './make-decision.ts';

/** Makes and counts the decisions for which the store need not be asked. Undefined for all others. */
export function decideAlone(
  limits: LimitSet,
  cost: Asked,
  counts: LimiterCounts,
  counted = true,
): Decision | undefined {
  if (limits.asksNothingOf(cost)) {
    counts.unlimited += counted ? 1 : 0;
    return makeUnlimitedDecision(costOf(cost));
  }
  return decideImpossible(limits, cost, counts, counted);
}

/** The same for a cost that is greater than some limit ever lets pass. */
export function decideImpossible(
  limits: LimitSet,
  cost: Asked,
  counts: LimiterCounts,
  counted = true,
): Decision | undefined {
  if (!limits.isImpossible(cost)) {
    return undefined;
  }
  counts.impossible += counted ? 1 : 0;
  return limits.impossible(cost);
}
