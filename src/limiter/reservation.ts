import { randomBytes } from 'node:crypto';
import { readSettled } from '../script/read-answer.ts';
import { settleDetails } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import { MAX_UNITS } from '../algorithms/limit.ts';
import type { Decision } from '../base/decision.ts';
import { RateLimiterError, show } from '../base/errors.ts';

/** What became of a reservation. */
export interface Settlement {
  /**
   * Units that stand charged in the end: the actual ones, without those in `uncharged`; the whole estimate where the
   * reservation had expired.
   */
  readonly charged: number;
  /** Units of the actual cost that were not charged: they did not fit even into debt, or the reservation had expired. */
  readonly uncharged: number;
  /** Whether the reservation had ended before it was settled. Its estimate stays charged, and nothing is given back. */
  readonly expired: boolean;
}

/** What a reservation can do beside being a decision. After a refusal both do nothing, and charge nothing. */
export interface ReservationHandle {
  /**
   * Makes the actual cost of the estimate, a whole number of units from 0 to 1,000,000,000: gives back what was too
   * much, except into windows that have passed, or charges what was too little, into debt up to each limit's
   * `maxDebt`. The first call counts, and later ones are answered the same. May be called again when it rejected: it
   * takes effect once, and its result can be learnt for ten times `timeoutMs`.
   *
   * @throws (rejects) `ERR_INVALID_COST`; `ERR_LIMITER_CLOSED`; a `StoreError` when the store gives no answer, whatever
   * the failure strategy.
   * @example
   * const { charged, uncharged } = await reservation.settle(response.usage.total_tokens);
   */
  settle(actual: number): Promise<Settlement>;
  /**
   * Gives all of the estimate back: `settle(0)`.
   *
   * @throws (rejects) as `settle` does.
   * @example
   * await reservation.cancel();
   */
  cancel(): Promise<Settlement>;
}

/**
 * The answer to `reserve`: a decision, with what makes the actual cost of the estimate.
 *
 * @example
 * const reservation = await limiter.reserve('user:12345', { cost: 4_000, ttl: '2m' });
 * if (reservation.allowed) await reservation.settle(await complete(prompt));
 */
export type Reservation = Decision & ReservationHandle;

/** For so many deadlines a settlement's result is kept, so that one whose answer was lost can be asked for again. */
const KEPT_DEADLINES = 10;

/** What a pending reservation asks of its limiter. */
export interface Settler {
  readonly timeoutMs: number;
  /** The store's time, by which records end. */
  readonly clock: Clock;
  /** Throws where no more calls may be made. */
  checkOpen(): void;
  /** Sends `settle` for the record with these details, and resolves with what `read` makes of the answer. */
  send<T>(
    record: string,
    details: readonly string[],
    read: (reply: readonly number[], at: number) => T,
  ): Promise<T>;
}

/** One reservation from before it is sent until it is settled. */
export class PendingReservation {
  /** What follows the identity's key in the key of its record. */
  readonly record: string = `#r:${randomBytes(16).toString('hex')}`;
  readonly #cost: number;
  readonly #settler: Settler;
  /** Whether the caller was told to go ahead, and whether that was without the store. */
  #granted = false;
  #degraded = false;
  #settlement: Promise<Settlement> | undefined;
  #firstTriedAtMs: number | undefined;

  constructor(cost: number, settler: Settler) {
    this.#cost = cost;
    this.#settler = settler;
  }

  /** The answer to the caller. */
  answer(decision: Decision): Reservation {
    this.#granted = decision.allowed;
    this.#degraded = decision.degraded;
    return {
      ...decision,
      settle: (actual) => this.#settle(actual),
      cancel: () => this.#settle(0),
    };
  }

  /**
   * The store let it pass after all, but the caller had been answered already. One who was refused will not settle it;
   * one who was told to go ahead will, and finds the record.
   */
  late(): void {
    if (!this.#granted) {
      this.#send(0).catch(() => {
        // It expires by itself; the limiter has reported the store's failure.
      });
    }
  }

  async #settle(actual: number): Promise<Settlement> {
    this.#settler.checkOpen();
    if (!Number.isInteger(actual) || actual < 0 || actual > MAX_UNITS) {
      throw new RateLimiterError(
        'ERR_INVALID_COST',
        `\`actual\` must be a whole number from 0 to ${MAX_UNITS}, got ${show(actual)}. Count as for \`cost\`.`,
      );
    }
    if (!this.#granted) {
      return { charged: 0, uncharged: actual, expired: false };
    }
    const settlement = (this.#settlement ??= this.#send(actual));
    try {
      return await settlement;
    } catch (error) {
      if (this.#settlement === settlement) {
        this.#settlement = undefined;
      }
      throw error;
    }
  }

  #send(actual: number): Promise<Settlement> {
    const nowMs = this.#settler.clock.nowMicros() / 1_000;
    const keptMs = KEPT_DEADLINES * this.#settler.timeoutMs;
    this.#firstTriedAtMs ??= nowMs;
    // What was never reserved is charged directly, and the result is what keeps that from happening twice: so
    // no longer than it is surely kept.
    const unreserved = this.#degraded && nowMs - this.#firstTriedAtMs < keptMs;
    const details = settleDetails(actual, this.#degraded ? 2 * keptMs : keptMs, unreserved);
    return this.#settler.send(this.record, details, (reply, at) => {
      const settled = readSettled(reply, at);
      if (settled !== undefined) {
        return { ...settled, expired: false };
      }
      const charged = this.#degraded ? 0 : this.#cost;
      return { charged, uncharged: Math.max(0, actual - charged), expired: true };
    });
  }
}
