import type { Decision } from '../base/decision.ts';
import type { StoreError } from '../base/errors.ts';
import type { Entry } from '../script/call-shape.ts';
import { readGranted, readVerdicts } from '../script/read-answer.ts';
import type { Settings } from './limiter-options.ts';
import { makeDecision, makeDegradedDecision } from './make-decision.ts';
import type { ReplyHandler } from './pending-calls.ts';
import { attachReceipt } from './refund-receipt.ts';
import type { Listener } from './wait-queue.ts';

/** Makes one limiter's decisions of the store's replies, and counts them. Issues the receipts of those that let calls pass. */
export class DecisionReader {
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Reads a decision that is not refundable: it charges nothing, or is settled in another way. */
  readonly plain: ReplyHandler<Decision> = {
    read: (entry, reply, at) => readDecision(entry, reply, at),
    degrade: (error, entry) => this.degraded(error, entry),
  };

  /** Reads a decision that is refundable. */
  readonly refundable: ReplyHandler<Decision> = {
    decides: true,
    read: (entry, reply, at, source) =>
      this.withReceipt(this.count(readDecision(entry, reply, at, source), entry), entry, reply, at),
    degrade: (error, entry) => this.degraded(error, entry),
  };

  /** Reads a refundable decision, and calls the listener in the turn in which the decision is made. */
  refundableFor({ decided, chargedLate }: Listener): ReplyHandler<Decision> {
    const notify = (decision: Decision): Decision => {
      decided(decision);
      return decision;
    };
    return {
      decides: true,
      read: (entry, reply, at, source) => notify(this.refundable.read(entry, reply, at, source)),
      degrade: (error, entry) => notify(this.degraded(error, entry)),
      late: (entry, reply, at) => {
        const decision = readDecision(entry, reply, at);
        if (decision.allowed) {
          chargedLate(this.withReceipt(decision, entry, reply, at));
        }
      },
    };
  }

  /** Counts a decision of the store, or of the deny cache. */
  count(decision: Decision, { shape }: Entry): Decision {
    const { counts } = this.#settings;
    counts.decided(decision, shape.asked);
    if (decision.source === 'deny_cache') {
      counts.denyCache += 1;
    }
    return decision;
  }

  /** Makes a decision refundable if it let its call pass. */
  withReceipt<T extends Decision>(
    decision: T,
    { key, homes, shape }: Entry,
    reply: readonly number[],
    at: number,
  ): T {
    if (decision.allowed) {
      attachReceipt(decision, { issuer: this, key, homes, shape, reply, at, refunded: false });
    }
    return decision;
  }

  /** The decision of a call that the store did not answer. */
  degraded(error: StoreError, { shape }: Entry): Decision {
    return makeDegradedDecision(this.#settings.failStrategy === 'open', error, shape.cost);
  }
}

export function readDecision(
  { shape }: Entry,
  reply: readonly number[],
  at: number,
  source?: 'deny_cache',
): Decision {
  const verdicts = readVerdicts(shape, reply, at);
  const granted = readGranted(shape, reply, at);
  return makeDecision(shape, shape.cost, verdicts, reply[0]!, granted, source);
}
