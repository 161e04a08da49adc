import { readGranted, readMarks } from '../script/read-answer.ts';
import { makeShape } from '../script/call-shape.ts';
import type { Entry, Rule, Shape } from '../script/call-shape.ts';
import { RateLimiterError } from '../base/errors.ts';

/** What `refund` needs to know of the call that a decision answered. */
export interface Receipt {
  /** Whose decision it is: only the limiter that made it can refund it. */
  readonly issuer: object;
  readonly key: string;
  readonly shape: Shape;
  readonly reply: readonly number[];
  readonly at: number;
  refunded: boolean;
}

// oxlint-disable-next-line no-extraneous-class -- see Stamp
class Itself {
  constructor(object: object) {
    return object;
  }
}

/**
 * Keeps a receipt in a private field of the decision itself: nobody sees it, it goes when the decision goes, and it
 * costs a fiftieth of an entry in a WeakMap, on every decision.
 */
class Stamp extends Itself {
  readonly #receipt: Receipt;

  constructor(decision: object, receipt: Receipt) {
    super(decision);
    this.#receipt = receipt;
  }

  static of(decision: object): Receipt | undefined {
    return #receipt in decision ? decision.#receipt : undefined;
  }
}

export function attachReceipt(decision: object, receipt: Receipt): void {
  void new Stamp(decision, receipt);
}

/**
 * The call that gives back what the decision charged, once: to whoever made it, and under the limits that are refunded.
 *
 * @throws {RateLimiterError} `ERR_NOT_REFUNDABLE`
 */
export function redeem(decision: unknown, issuer: object): Entry {
  const receipt = receiptOf(decision);
  const refundable = receipt?.shape.rules.map(isRefundable);
  if (receipt?.issuer !== issuer || receipt.refunded || refundable?.includes(true) !== true) {
    throw new RateLimiterError(
      'ERR_NOT_REFUNDABLE',
      receipt?.refunded === true
        ? 'The decision was refunded before. Refund each one once.'
        : '`decision` must be one that this limiter made and charged. Pass what `allow` or `allowUpTo` resolved with.',
    );
  }
  receipt.refunded = true;
  const { key, shape, reply, at } = receipt;
  const units = shape.verb === 'up_to' ? readGranted(shape, reply, at) : shape.units;
  const rules = shape.rules
    .filter((_, i) => refundable[i])
    .map((rule) => ({ ...rule, plan: rule.limit.twin.price(rule.plan, 1) }));
  const details = readMarks(shape, reply, at).filter((_, i) => refundable[i]);
  return { key, shape: makeShape('refund', units, rules), details };
}

/** A block is no charge, and a place is given back by its lease. */
function isRefundable({ limit: { algorithm } }: Rule): boolean {
  return algorithm !== 'block' && algorithm !== 'concurrency';
}

function receiptOf(decision: unknown): Receipt | undefined {
  return typeof decision === 'object' && decision !== null ? Stamp.of(decision) : undefined;
}
