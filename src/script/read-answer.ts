import type { Verdict } from '../algorithms/limit.ts';
import type { Shape } from './call-shape.ts';

/**
 * The units that an answer to `up_to` granted: never more than were asked for, whatever the server says; 0 for every
 * other verb. `at` is the answer's first place in the reply.
 */
export function readGranted({ verb, units }: Shape, reply: readonly number[], at: number): number {
  return verb === 'up_to' ? Math.max(0, Math.min(units, reply[at]!)) : 0;
}

/** Whether the lease that `renew` or `release` was about was held; `at` as above. */
export function readHeld(reply: readonly number[], at: number): boolean {
  return reply[at] === 1;
}

/**
 * What an answer to `settle` says: the units that are charged in the end, and those that did not fit; undefined where
 * the record was gone. `at` is the answer's first place in the reply.
 */
export function readSettled(
  reply: readonly number[],
  at: number,
): { readonly charged: number; readonly uncharged: number } | undefined {
  const charged = reply[at]!;
  return charged < 0 ? undefined : { charged, uncharged: reply[at + 1]! };
}

/** What an answer says of each limit of its shape; `at` is the answer's first place in the reply. */
export function readVerdicts(
  shape: Shape,
  reply: readonly number[],
  at: number,
): readonly Verdict[] {
  const { verb, rules, head } = shape;
  if (verb === 'reset') {
    return [];
  }
  const granted = readGranted(shape, reply, at);
  let place = at + head;
  return rules.map(({ limit, plan }) => {
    const judged = granted > 1 ? limit.twin.price(plan, granted) : plan;
    const verdict = limit.twin.read(judged, reply, place);
    place += plan.width;
    return verdict;
  });
}

/** The details of the refund of an entry that passed: which charge each limit made, '-' where it made none. */
export function readMarks(shape: Shape, reply: readonly number[], at: number): readonly string[] {
  const now = reply[0]!;
  let place = at + shape.head;
  return shape.rules.map(({ limit, plan }) => {
    const { refused } = limit.twin.read(plan, reply, place);
    const mark = refused ? '-' : String(limit.twin.mark(plan, reply, place, now));
    place += plan.width;
    return mark;
  });
}
