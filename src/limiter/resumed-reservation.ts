import type { Cost, Decision } from '../base/decision.ts';
import { MAX_UNITS } from '../algorithms/limit.ts';
import { costOf, NamedCost, readCost } from './cost.ts';
import type { Asked } from './cost.ts';
import { makeUnlimitedDecision } from './make-decision.ts';
import { Once } from './once.ts';
import { makeNotHeld, withToken } from './reservation.ts';
import type { NotHeldDecision, PendingReservation, ReservationHandle } from './reservation.ts';
import { nothingOf } from './settlement.ts';
import type { Settlement } from './settlement.ts';

/** What is left of a reservation: undefined if its record is gone. */
export type Recalled =
  | { readonly pending: PendingReservation; readonly units: ReadonlySet<string> | undefined }
  | { readonly settled: Settlement<string> }
  | undefined;

/** The parts of a limiter that a resumed reservation needs. */
export interface Resumer {
  /** What the limiter's own limits count, by name; undefined if none has a unit. */
  readonly ownUnits: ReadonlySet<string> | undefined;
  /** Whether the reservation is without a limit. */
  readonly isUnlimited: boolean;
  /** Throws if the limiter is closed. */
  checkOpen(): void;
  /** Reads the record. */
  recall(): Promise<Recalled>;
  /** Counts an `add` that passes under no limit. */
  countUnlimited(): void;
  /** The answer to an `add` because the store gave none; throws the error under `failStrategy: 'throw'`. */
  degrade(error: unknown, cost: Cost): Decision;
}

/**
 * A reservation that another process made. Its first call reads the record, which tells under which limits it was made;
 * from then on it is settled like any other.
 */
export class ResumedReservation {
  readonly #resumer: Resumer;
  #recalled: Promise<Recalled> | undefined;
  readonly #settlement = new Once<Settlement<string>>();

  constructor(resumer: Resumer) {
    this.#resumer = resumer;
  }

  handle(token: string): ReservationHandle<string> {
    return withToken<ReservationHandle<string>>(
      {
        add: (cost: unknown) => this.#add(cost),
        settle: (actual: unknown) => this.#settle(actual),
        cancel: () => this.#settle(0),
      },
      () => token,
    );
  }

  async #add(given: unknown): Promise<Decision | NotHeldDecision> {
    const resumer = this.#resumer;
    resumer.checkOpen();
    const cost = readUnits('cost', given);
    if (resumer.isUnlimited) {
      resumer.countUnlimited();
      return makeUnlimitedDecision(costOf(cost));
    }
    let recalled: Recalled;
    try {
      recalled = await this.#recall();
    } catch (error) {
      return resumer.degrade(error, costOf(cost));
    }
    return recalled !== undefined && 'pending' in recalled
      ? recalled.pending.add(this.#consulted(cost, recalled.units))
      : makeNotHeld(costOf(cost), 'store');
  }

  async #settle(given: unknown): Promise<Settlement<string>> {
    this.#resumer.checkOpen();
    const actual = readUnits('actual', given, MAX_UNITS);
    if (this.#resumer.isUnlimited) {
      return { charged: costOf(actual), uncharged: nothingOf(actual), expired: false };
    }
    return this.#settlement.get(() => this.#settleNow(actual));
  }

  async #settleNow(actual: Asked): Promise<Settlement<string>> {
    const recalled = await this.#recall();
    if (recalled === undefined) {
      const { ownUnits } = this.#resumer;
      const gone =
        actual === 0 && ownUnits !== undefined
          ? new NamedCost(Object.fromEntries([...ownUnits].map((unit) => [unit, 0])))
          : actual;
      return { charged: nothingOf(gone), uncharged: costOf(gone), expired: true };
    }
    return 'settled' in recalled
      ? recalled.settled
      : recalled.pending.settle(this.#consulted(actual, recalled.units));
  }

  /** Reads the record until it is found held. */
  async #recall(): Promise<Recalled> {
    const reading = (this.#recalled ??= this.#resumer.recall());
    let isHeld = false;
    try {
      const recalled = await reading;
      isHeld = recalled !== undefined && 'pending' in recalled;
      return recalled;
    } finally {
      if (!isHeld) {
        this.#recalled = undefined;
      }
    }
  }

  /** Leaves out units that limits of this limiter count, but none of the reservation's. */
  #consulted(cost: Asked, units: ReadonlySet<string> | undefined): Cost {
    const { ownUnits } = this.#resumer;
    if (typeof cost === 'number' || units === undefined || ownUnits === undefined) {
      return costOf(cost);
    }
    return Object.fromEntries(
      Object.entries(cost.byName).filter(([unit]) => units.has(unit) || !ownUnits.has(unit)),
    );
  }
}

/** Reads units without knowing the limits, which the record tells. */
function readUnits(option: string, given: unknown, most?: number): Asked {
  const cost = readCost(option, given, most);
  return typeof cost === 'number' ? cost : new NamedCost(cost);
}
