import { randomBytes } from 'node:crypto';
import { settleDetails } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import { MAX_UNITS } from '../algorithms/limit.ts';
import type { Cost, Decision, DegradedDecision, GivenCost } from '../base/decision.ts';
import { costOf } from './cost.ts';
import type { Asked } from './cost.ts';
import type { StoreError } from '../base/errors.ts';
import type { LimitSet } from './limit-set.ts';
import { Once } from './once.ts';
import { makeDegradedDecision, makeUnlimitedDecision } from './make-decision.ts';
import { expired, merge, nothingOf, sum } from './settlement.ts';
import type { Settlement } from './settlement.ts';

/** The answer to `add` where no reservation is held: it was refused, has expired, or was settled. Nothing was charged. */
export interface NotHeldDecision<Unit extends string = string> {
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'not_held';
  /** `store` if the store was asked. */
  readonly source: 'store' | 'none';
  readonly cost: Cost<Unit>;
  readonly limits: readonly [];
  readonly remaining?: undefined;
  readonly retryAfterMs?: undefined;
}

/** The methods of a reservation. After a refusal they do nothing, and charge nothing. */
export interface ReservationHandle<Unit extends string = never> {
  /**
   * The text by which another process goes on with the reservation: `limiter.resume(token)`. It is a secret: its holder
   * may settle the reservation. It tells no identity and no amount. It is not enumerable, so that it gets into no log.
   *
   * @example
   * await queue.add('answer', { prompt, token: reservation.token });
   */
  readonly token: string;
  /**
   * Charges more to the reservation, as `allow` charges a cost: for a stream that goes on. A refusal charges nothing: stop
   * the work, and settle. A cost by name charges only the units that it names, and no call. Calls of one reservation
   * are sent one after another. Each calls `onAllow` or `onBlock`, but for an answer that no reservation is held. Under `failStrategy: 'open'`, if the reservation itself was made without the store,
   * nothing is sent, and `settle` charges the actual cost.
   *
   * @throws (rejects) like `allow`.
   * @example
   * const { allowed } = await reservation.add(512);
   * if (!allowed) stream.destroy();
   */
  add(cost: GivenCost<Unit>): Promise<Decision<Unit> | NotHeldDecision<Unit>>;
  /**
   * Replaces what was reserved by the actual cost, a whole number of units from 0 to 1,000,000,000. Refunds an excess,
   * except into windows that have passed; charges a shortfall, into debt up to each limit's `maxDebt`. A cost by name
   * replaces what it names; units that it leaves out stay as reserved. Only the first
   * call counts, and later ones get the same result, in other processes too. May be called again after a rejection: it
   * takes effect once, and its result is kept until the reservation's `ttl`, but at least for ten times `timeoutMs`.
   *
   * @throws (rejects) `ERR_INVALID_COST`; `ERR_LIMITER_CLOSED`; a `StoreError` if the store gives no answer, under
   * any failure strategy.
   * @example
   * const { charged, uncharged } = await reservation.settle(response.usage.total_tokens);
   */
  settle(actual: GivenCost<Unit>): Promise<Settlement<Unit>>;
  /**
   * Refunds all that was reserved: `settle(0)`.
   *
   * @throws (rejects) like `settle`.
   * @example
   * await reservation.cancel();
   */
  cancel(): Promise<Settlement<Unit>>;
}

/**
 * The answer to `reserve`: a decision, and the methods that settle its estimate.
 *
 * @example
 * const reservation = await limiter.reserve('user:12345', { cost: 4_000, ttl: '2m' });
 * if (reservation.allowed) await reservation.settle(await complete(prompt));
 */
export type Reservation<Unit extends string = never> = Decision<Unit> & ReservationHandle<Unit>;

/** Keeps a settlement's result for this many times `timeoutMs` at least, so that a lost answer can be fetched again. */
const KEPT_DEADLINES = 10;

/** The parts of a limiter that a pending reservation needs. */
export interface Settler {
  readonly timeoutMs: number;
  /** The store's clock, by which records expire. */
  readonly clock: Clock;
  /** The limits of the call. */
  readonly limits: LimitSet;
  /** Throws if the limiter is closed. */
  checkOpen(): void;
  /** Called with each decision that an `add` makes, in its caller's async context. */
  decided(decision: Decision): void;
  /** Counts a decision that an `add` makes without the store: because of this error, or under no limit. */
  countAlone(error: StoreError | undefined): void;
  /** Sends the `add` of this name for the record; its answer is undefined if the record was not held. */
  add(record: string, cost: Asked, name: string): Promise<Decision | undefined>;
  /** Sends `settle` for the record with these details, and resolves with the result of `read`. */
  send<T>(
    record: string,
    details: readonly string[],
    read: (reply: readonly number[], at: number) => T,
  ): Promise<T>;
}

/** The suffix of a new reservation's record, after the key of its first home. */
export function nameRecord(): string {
  return `#r:${randomBytes(16).toString('hex')}`;
}

/** One reservation, from before it is sent, or since it was resumed, until it is settled. */
export class PendingReservation {
  readonly #record: string;
  readonly #settler: Settler;
  /** The estimate, and what `add` charged beside it; undefined if it was resumed, since another process made it. */
  #reserved: Asked | undefined;
  /** Before the number of each `add`: tells this handle from others of the same reservation. */
  readonly #handle: string;
  #adds = 0;
  /** Ends when the last `add` is answered: the store tells a resent one by its number. */
  #adding: Promise<unknown> = Promise.resolve();
  /** Whether the caller was told to go ahead; and the decision, if that was without the store. */
  #granted: boolean;
  #degraded: DegradedDecision | undefined;
  readonly #settlement = new Once<Settlement<string>>();
  #firstTriedAtMs: number | undefined;

  /** `cost`: the estimate; undefined to resume a reservation that is held. */
  constructor(record: string, cost: Asked | undefined, settler: Settler) {
    this.#record = record;
    this.#reserved = cost;
    this.#settler = settler;
    this.#granted = cost === undefined;
    this.#handle = cost === undefined ? `${randomBytes(4).toString('hex')}:` : '';
  }

  /** Makes the answer to the caller. */
  answer(decision: Decision, token: () => string): Reservation<string> {
    this.#granted = decision.allowed;
    this.#degraded = decision.degraded ? decision : undefined;
    return withToken<Reservation<string>>(
      {
        ...decision,
        add: (cost) => this.add(cost),
        settle: (actual) => this.settle(actual),
        cancel: () => this.settle(0),
      },
      token,
    );
  }

  /**
   * Called if the store let the call pass after the caller had been answered. A caller that was refused will not
   * settle the reservation, so it is cancelled. A caller that was told to go ahead will settle it, and finds the
   * record.
   */
  late(): void {
    if (!this.#granted) {
      this.#send(this.#settler.limits.ask('actual', 0)).catch(() => {
        // The record expires, and the limiter has reported the store's failure.
      });
    }
  }

  async add(given: unknown): Promise<Decision | NotHeldDecision> {
    const { limits } = this.#settler;
    this.#settler.checkOpen();
    const cost = limits.ask('cost', given, { calls: 0 });
    const turn = this.#adding.then(() => this.#addNow(cost));
    this.#adding = turn.catch(() => undefined);
    const decision = await turn;
    if (decision.reason !== 'not_held') {
      this.#settler.decided(decision);
    }
    return decision;
  }

  async #addNow(cost: Asked): Promise<Decision | NotHeldDecision> {
    if (!this.#granted || this.#settlement.hasBegun) {
      return makeNotHeld(costOf(cost), 'none');
    }
    if (this.#settler.limits.isPlanWithoutLimit) {
      this.#settler.countAlone(undefined);
      return makeUnlimitedDecision(costOf(cost));
    }
    if (this.#degraded !== undefined) {
      this.#settler.countAlone(this.#degraded.error);
      this.#charge(cost);
      return makeDegradedDecision(true, this.#degraded.error, costOf(cost));
    }
    this.#adds += 1;
    const name = `${this.#handle}${this.#adds}`;
    const decision = await this.#settler.add(this.#record, cost, name);
    if (decision?.allowed === true && !decision.degraded) {
      this.#charge(cost);
    }
    return decision ?? makeNotHeld(costOf(cost), 'store');
  }

  #charge(cost: Asked): void {
    this.#reserved = this.#reserved === undefined ? undefined : sum(this.#reserved, cost);
  }

  async settle(given: unknown): Promise<Settlement<string>> {
    this.#settler.checkOpen();
    const actual = this.#settler.limits.ask('actual', given, {
      calls: 0,
      mayAskNothing: true,
      most: MAX_UNITS,
    });
    if (!this.#granted) {
      return { charged: nothingOf(actual), uncharged: costOf(actual), expired: false };
    }
    return this.#settlement.get(() => this.#send(actual));
  }

  #send(actual: Asked): Promise<Settlement<string>> {
    const { limits, clock, timeoutMs } = this.#settler;
    if (limits.isPlanWithoutLimit) {
      return Promise.resolve({
        charged: costOf(actual),
        uncharged: nothingOf(actual),
        expired: false,
      });
    }
    const nowMs = clock.nowMicros() / 1_000;
    const keptMs = KEPT_DEADLINES * timeoutMs;
    this.#firstTriedAtMs ??= nowMs;
    // An estimate that was never reserved is charged directly, and only the kept result prevents charging it twice.
    // So it is charged no longer than that result is surely kept.
    const degraded = this.#degraded !== undefined;
    const unreserved = degraded && nowMs - this.#firstTriedAtMs < keptMs;
    const details = settleDetails(
      // What a record holds of units that are left out is known there; without a record, here.
      limits.unitsOf(degraded ? merge(this.#reserved!, actual) : actual),
      degraded ? 2 * keptMs : keptMs,
      unreserved,
    );
    return this.#settler.send(this.#record, details, (reply, at) => {
      const settled = limits.readSettled(reply, at);
      if (settled !== undefined) {
        return { ...settled, expired: false };
      }
      return { ...expired(degraded ? undefined : this.#reserved, actual), expired: true };
    });
  }
}

/** Adds a token that is made when it is read, and that neither JSON nor `console.log` shows. */
export function withToken<T extends ReservationHandle<string>>(
  handle: Omit<T, 'token'>,
  token: () => string,
): T {
  return Object.defineProperty(handle, 'token', { get: token }) as T;
}

export function makeNotHeld(cost: Cost, source: NotHeldDecision['source']): NotHeldDecision {
  return { allowed: false, degraded: false, reason: 'not_held', source, cost, limits: [] };
}
