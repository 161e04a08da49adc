import type { Verdict } from '../algorithms/limit.ts';
import type { Shape } from './call-shape.ts';

/** A text beside the integers; unlike it, the message of a failed entry begins with a letter. */
const ASIDE = /^\d+:/;

/**
 * The units that an answer to `up_to` granted, capped at the units asked for, so that a wrong reply grants no more; 0 for
 * every other verb. `at` is the answer's first index in the reply.
 */
export function readGranted({ verb, units }: Shape, reply: readonly number[], at: number): number {
  return verb === 'up_to' ? Math.max(0, Math.min(units, reply[at]!)) : 0;
}

/** Whether the lease of `renew` or `release`, or the reservation of `add`, was held. `at` is the answer's first index in the reply. */
export function readHeld(reply: readonly number[], at: number): boolean {
  return reply[at] === 1;
}

/**
 * Reads an answer to `settle`: the units finally charged, and those that did not fit; undefined if the record was gone.
 * `at` is the answer's first index in the reply.
 */
export function readSettled(
  reply: readonly number[],
  at: number,
): { readonly charged: number; readonly uncharged: number } | undefined {
  const charged = reply[at]!;
  return charged < 0 ? undefined : { charged, uncharged: reply[at + 1]! };
}

/** The same of each limit of the shape, where their units differ. */
export function readSettledByLimit(
  reply: readonly number[],
  at: number,
  limits: number,
): readonly { readonly charged: number; readonly uncharged: number }[] | undefined {
  return reply[at]! < 0
    ? undefined
    : Array.from({ length: limits }, (_, i) => readSettled(reply, at + 2 * i)!);
}

/** What the record says that `recall` found; undefined if it found none. */
export function readRecalled(reply: readonly number[], at: number): string | undefined {
  return readHeld(reply, at) ? asideAt(reply, at) : undefined;
}

/** Reads the verdict of each limit of the shape. `at` is the answer's first index in the reply. */
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
  let limitAt = at + head;
  return rules.map(({ limit, plan }) => {
    const judged = granted > 1 ? limit.twin.price(plan, granted) : plan;
    const verdict = limit.twin.read(judged, reply, limitAt);
    limitAt += plan.width;
    return verdict;
  });
}

/** Reads the marks for a refund of an entry that passed: one per limit, '-' if the limit was not charged. */
export function readMarks(shape: Shape, reply: readonly number[], at: number): readonly string[] {
  const now = reply[0]!;
  let limitAt = at + shape.head;
  return shape.rules.map(({ limit, plan }) => {
    const { refused } = limit.twin.read(plan, reply, limitAt);
    const mark = refused
      ? '-'
      : (asideAt(reply, limitAt) ?? limit.twin.mark(plan, reply, limitAt, now));
    limitAt += plan.width;
    return mark;
  });
}

/** The text that follows the integers of a reply for the limit, or the record, whose integers begin at `at`. */
function asideAt(reply: readonly unknown[], at: number): string | undefined {
  for (let i = reply.length - 1; i > at; i -= 2) {
    const text = reply[i];
    if (typeof text !== 'string' || !ASIDE.test(text)) {
      return undefined;
    }
    if (Number(reply[i - 1]) === at) {
      return text;
    }
  }
  return undefined;
}
