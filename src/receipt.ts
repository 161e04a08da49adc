import type { Shape } from './algorithms/shape.ts';

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

export function receiptOf(decision: unknown): Receipt | undefined {
  return typeof decision === 'object' && decision !== null ? Stamp.of(decision) : undefined;
}
