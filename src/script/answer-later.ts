import type { Shape } from './call-shape.ts';

/** How old an answer is, in microseconds of the store's clock: surely, at most, and as its caller counts. */
export interface Age {
  readonly least: number;
  readonly most: number;
  readonly counted: number;
}

/**
 * The answer to a call of `shape` that the numbers of an earlier answer to `told` imply: its integers without the head,
 * by the counted age. Undefined unless they refuse the call, and each limit says the same at every age in between.
 * `told` has the same limits, maybe at another cost; `reply` holds the integers of its limits.
 */
export function refusalLater(
  told: Shape,
  reply: readonly number[],
  { rules, asks }: Shape,
  { least, most, counted }: Age,
): readonly number[] | undefined {
  const answer: number[] = [];
  let refused = false;
  let at = 0;
  for (let i = 0; i < rules.length; i++) {
    const { limit, plan } = rules[i]!;
    const { twin } = limit;
    const toldPlan = told.rules[i]!.plan;
    const now = twin.later?.(plan, toldPlan, reply, at, counted);
    const soonest = now && twin.later?.(plan, toldPlan, reply, at, least);
    const latest = soonest && twin.later?.(plan, toldPlan, reply, at, most);
    if (now === undefined || soonest === undefined || latest === undefined) {
      return undefined;
    }
    if (asks[i] !== null) {
      const refuses = twin.read(plan, latest, 0).refused;
      if (
        twin.read(plan, now, 0).refused !== refuses ||
        twin.read(plan, soonest, 0).refused !== refuses
      ) {
        return undefined;
      }
      refused ||= refuses && !limit.shadow && asks[i]! > 0;
    }
    answer.push(...now);
    at += toldPlan.width;
  }
  return refused ? answer : undefined;
}
