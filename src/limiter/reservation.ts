import { randomBytes } from 'node:crypto';
import { readSettled } from '../script/read-answer.ts';
import { settleDetails } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import { MAX_UNITS } from '../algorithms/limit.ts';
import type { Decision } from '../base/decision.ts';
import { optionError, show } from '../base/errors.ts';

/** The result of settling a reservation. */
export interface Settlement {
  /** Units charged in the end: the actual cost less `uncharged`; the whole estimate if the reservation had expired. */
  readonly charged: number;
  /**
   * Units of the actual cost that were not charged: they did not fit even into debt, or the reservation had expired.
   */
  readonly uncharged: number;
  /** Whether the reservation had expired before it was settled. Its estimate stays charged, and nothing is refunded. */
  readonly expired: boolean;
}

/** The methods of a reservation. After a refusal both do nothing, and charge nothing. */
export interface ReservationHandle {
  /**
   * Replaces the estimate by the actual cost, a whole number of units from 0 to 1,000,000,000. Refunds an excess,
   * except into windows that have passed; charges a shortfall, into debt up to each limit's `maxDebt`. Only the first
   * call counts, and later ones get the same result. May be called again after a rejection: it takes effect once, and
   * its result is kept for ten times `timeoutMs`.
   *
   * @throws (rejects) `ERR_INVALID_COST`; `ERR_LIMITER_CLOSED`; a `StoreError` if the store gives no answer, under
   * any failure strategy.
   * @example
   * const { charged, uncharged } = await reservation.settle(response.usage.total_tokens);
   */
  settle(actual: number): Promise<Settlement>;
  /**
   * Refunds the whole estimate: `settle(0)`.
   *
   * @throws (rejects) like `settle`.
   * @example
   * await reservation.cancel();
   */
  cancel(): Promise<Settlement>;
}

/**
 * The answer to `reserve`: a decision, and the methods that settle its estimate.
 *
 * @example
 * const reservation = await limiter.reserve('user:12345', { cost: 4_000, ttl: '2m' });
 * if (reservation.allowed) await reservation.settle(await complete(prompt));
 */
export type Reservation = Decision & ReservationHandle;

/** Keeps a settlement's result for this many times `timeoutMs`, so that a lost answer can be fetched again. */
const KEPT_DEADLINES = 10;

/** The parts of a limiter that a pending reservation needs. */
export interface Settler {
  readonly timeoutMs: number;
  /** The store's clock, by which records expire. */
  readonly clock: Clock;
  /** Whether the call was made without a limit: its settlement is not sent. */
  readonly chargesNothing: boolean;
  /** Throws if the limiter is closed. */
  checkOpen(): void;
  /** Sends `settle` for the record with these details, and resolves with the result of `read`. */
  send<T>(
    record: string,
    details: readonly string[],
    read: (reply: readonly number[], at: number) => T,
  ): Promise<T>;
}

/** One reservation, from before it is sent until it is settled. */
export class PendingReservation {
  /** The suffix of its record's key, after the identity's key. */
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

  /** Makes the answer to the caller. */
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
   * Called if the store let the call pass after the caller had been answered. A caller that was refused will not
   * settle the reservation, so it is cancelled. A caller that was told to go ahead will settle it, and finds the
   * record.
   */
  late(): void {
    if (!this.#granted) {
      this.#send(0).catch(() => {
        // The record expires, and the limiter has reported the store's failure.
      });
    }
  }

  async #settle(actual: number): Promise<Settlement> {
    this.#settler.checkOpen();
    if (!Number.isInteger(actual) || actual < 0 || actual > MAX_UNITS) {
      throw optionError(
        'actual',
        `be a whole number from 0 to ${MAX_UNITS}`,
        `got ${show(actual)}`,
        'Count as for `cost`.',
        { code: 'ERR_INVALID_COST' },
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
    if (this.#settler.chargesNothing) {
      return Promise.resolve({ charged: actual, uncharged: 0, expired: false });
    }
    const nowMs = this.#settler.clock.nowMicros() / 1_000;
    const keptMs = KEPT_DEADLINES * this.#settler.timeoutMs;
    this.#firstTriedAtMs ??= nowMs;
    // An estimate that was never reserved is charged directly, and only the kept result prevents charging it twice.
    // So it is charged no longer than that result is surely kept.
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
