import { readGranted, readMarks } from '../script/read-answer.ts';
import { makeShape } from '../script/call-shape.ts';
import type { Entry, Rule, Shape } from '../script/call-shape.ts';
import { costOfOne } from './cost.ts';
import type { Spent } from './prepay.ts';
import { RateLimiterError } from '../base/errors.ts';

interface Refundable {
  /** The limiter that made the decision, and the only one that can refund it. */
  readonly issuer: object;
  refunded: boolean;
}

/** The facts that `refund` needs of the call behind a decision. */
export interface Receipt extends Refundable {
  readonly key: string;
  readonly homes?: readonly string[] | undefined;
  readonly shape: Shape;
  readonly reply: readonly number[];
  readonly at: number;
}

/** The facts that `refund` needs of a decision from a slice. */
interface SpentReceipt extends Refundable {
  readonly spent: Spent;
}

// oxlint-disable-next-line no-extraneous-class -- see Stamp
class Itself {
  constructor(object: object) {
    return object;
  }
}

/**
 * Keeps a receipt in a private field of the decision itself. The field is invisible, is garbage-collected with the
 * decision, and costs a fiftieth of a WeakMap entry, on every decision.
 */
class Stamp extends Itself {
  readonly #receipt: Receipt | SpentReceipt;

  constructor(decision: object, receipt: Receipt | SpentReceipt) {
    super(decision);
    this.#receipt = receipt;
  }

  static of(decision: object): Receipt | SpentReceipt | undefined {
    return #receipt in decision ? decision.#receipt : undefined;
  }
}

export function attachReceipt(decision: object, receipt: Receipt): void {
  void new Stamp(decision, receipt);
}

export function attachSpent(decision: object, issuer: object, spent: Spent): void {
  void new Stamp(decision, { issuer, spent, refunded: false });
}

/**
 * Gives back what a decision spent of a slice, once, to that slice. Units of a slice that has ended are lost. Undefined
 * for every other decision.
 *
 * @throws {RateLimiterError} `ERR_NOT_REFUNDABLE`
 */
export function redeemSpent(decision: unknown, issuer: object): Spent | undefined {
  const receipt = receiptOf(decision);
  if (receipt === undefined || !('spent' in receipt)) {
    return undefined;
  }
  if (receipt.issuer !== issuer || receipt.refunded) {
    throw notRefundable(receipt.refunded);
  }
  receipt.refunded = true;
  const { slice, units, marks } = receipt.spent;
  slice.giveBack(units, marks);
  return receipt.spent;
}

/**
 * Makes the call that refunds a decision, once, for the limiter that made it and under the limits that are
 * refundable.
 *
 * @throws {RateLimiterError} `ERR_NOT_REFUNDABLE`
 */
export function redeem(decision: unknown, issuer: object): Entry {
  const receipt = receiptOf(decision);
  if (receipt !== undefined && 'spent' in receipt) {
    throw notRefundable(receipt.refunded);
  }
  const refundable = receipt?.shape.rules.map(isRefundable);
  if (receipt?.issuer !== issuer || receipt.refunded || refundable?.includes(true) !== true) {
    throw notRefundable(receipt?.refunded === true);
  }
  receipt.refunded = true;
  const { key, homes, shape, reply, at } = receipt;
  const units = shape.verb === 'up_to' ? readGranted(shape, reply, at) : shape.units;
  const kept = shape.rules.filter((_, i) => refundable[i]);
  const rules = kept.map(({ quotaAt, ...rule }) => ({
    ...rule,
    ...(quotaAt === undefined ? {} : { quotaAt: kept.indexOf(shape.rules[quotaAt]!) }),
    plan: rule.limit.twin.price(rule.plan, 1),
  }));
  const details = readMarks(shape, reply, at).filter((_, i) => refundable[i]);
  const cost = costOfOne(shape.cost);
  return { key, homes, shape: makeShape('refund', units, rules, cost), details };
}

function notRefundable(isRefunded: boolean): RateLimiterError {
  return new RateLimiterError(
    'ERR_NOT_REFUNDABLE',
    isRefunded
      ? 'The decision was refunded before. Refund each one once.'
      : '`decision` must be one that this limiter made and charged. Pass what `allow` or `allowUpTo` resolved with.',
  );
}

/** A block and a ban charge nothing, and a place is freed by its lease. */
function isRefundable({ limit: { algorithm } }: Rule): boolean {
  return algorithm !== 'block' && algorithm !== 'ban' && algorithm !== 'concurrency';
}

function receiptOf(decision: unknown): Receipt | SpentReceipt | undefined {
  return typeof decision === 'object' && decision !== null ? Stamp.of(decision) : undefined;
}
