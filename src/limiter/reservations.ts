import type { Decision } from '../base/decision.ts';
import type { AnyIdentity } from '../base/identity.ts';
import { readable } from '../options/read-options.ts';
import { reserveDetails } from '../script/call-shape.ts';
import { readHeld } from '../script/read-answer.ts';
import { checkLeaseless } from './call-reader.ts';
import type { CallReader } from './call-reader.ts';
import { readReserveOptions } from './call-options.ts';
import type { Asked } from './cost.ts';
import { decideImpossible } from './decide-alone.ts';
import { readDecision } from './decision-reader.ts';
import type { DecisionReader } from './decision-reader.ts';
import { keyCountOf } from './limit-set.ts';
import type { LimitSet, Located } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import type { Parts } from './parts.ts';
import type { PendingCalls } from './pending-calls.ts';
import { nameRecord, PendingReservation } from './reservation.ts';
import type { Reservation, ReservationHandle, Settler } from './reservation.ts';
import { writeToken } from './reservation-token.ts';
import { resume } from './resume.ts';
import { checkSharding } from './sharding.ts';

/** Sends the calls of one limiter's reservations. Calls no hook. */
export class Reservations {
  readonly #settings: Settings;
  readonly #callReader: CallReader;
  readonly #calls: PendingCalls;
  readonly #decisionReader: DecisionReader;
  readonly #decide: (located: Located, cost: Asked) => Promise<Decision>;
  readonly #toldLimits = new Map<string, LimitSet>();

  /** `decide` decides an ordinary call. */
  constructor(
    { settings, callReader, calls, decisionReader }: Parts,
    decide: (located: Located, cost: Asked) => Promise<Decision>,
  ) {
    this.#settings = settings;
    this.#callReader = callReader;
    this.#calls = calls;
    this.#decisionReader = decisionReader;
    this.#decide = decide;
  }

  /** `decided` is called with each decision that an `add` of the reservation makes. */
  async reserve(
    identity: AnyIdentity,
    options: unknown,
    decided: (decision: Decision) => void,
  ): Promise<Reservation<string>> {
    const { ttlMs, call } = readable('options', () => readReserveOptions(options));
    const { limits: given, cost } = this.#callReader.readCall(call);
    checkLeaseless(given);
    const located = this.#callReader.locate(given, cost, identity);
    const { limits, key, homes } = located;
    if (!limits.isPlanWithoutLimit) {
      checkSharding(
        this.#settings.sharding,
        'reserve',
        keyCountOf(limits.limits, this.#settings.observes) + 1,
      );
    }
    const record = nameRecord();
    const pending = new PendingReservation(record, cost, this.#settler(located, decided));
    const decision = await this.#reserve(located, cost, ttlMs, record, pending);
    // Hooks get the decision alone: the handle has the token, which is secret.
    decided(decision);
    const place = { record, homes: limits.isPlanWithoutLimit ? [] : (homes ?? [key]) };
    return pending.answer(decision, () => writeToken(place, this.#settings));
  }

  /** The handle of a reservation that was made elsewhere. Sends nothing. */
  resume(token: unknown): ReservationHandle<string> {
    this.#callReader.checkOpen();
    return resume(token, {
      settings: this.#settings,
      calls: this.#calls,
      known: this.#toldLimits,
      checkOpen: () => this.#callReader.checkOpen(),
      // There is no identity to call hooks with.
      settler: (located) => this.#settler(located, () => {}),
    });
  }

  #settler(located: Located, decided: (decision: Decision) => void): Settler {
    const { limits, key, homes } = located;
    return {
      timeoutMs: this.#settings.timeoutMs,
      clock: this.#settings.store.time,
      limits,
      checkOpen: () => this.#callReader.checkOpen(),
      decided,
      countAlone: (error) => this.#settings.counts.alone(error),
      add: (record, units, name) => this.#addTo(located, units, record, name),
      send: (record, details, read) =>
        this.#calls.submit(
          { key, homes, shape: limits.shape('settle', 1), record, details },
          { read: (_, reply, at) => read(reply, at) },
        ),
    };
  }

  #reserve(
    located: Located,
    cost: Asked,
    ttlMs: number,
    record: string,
    pending: PendingReservation,
  ): Promise<Decision> {
    const { limits, key, homes } = located;
    if (limits.isPlanWithoutLimit) {
      return this.#decide(located, cost);
    }
    const known = decideImpossible(limits, cost, this.#settings.counts);
    if (known !== undefined) {
      return Promise.resolve(known);
    }
    return this.#calls.submit(
      {
        key,
        homes,
        shape: limits.shape('reserve', cost),
        record,
        details: reserveDetails(ttlMs),
      },
      {
        ...this.#decisionReader.plain,
        decides: true,
        read: (entry, reply, at, source) =>
          this.#decisionReader.count(readDecision(entry, reply, at, source), entry),
        late: (entry, reply, at) => {
          if (readDecision(entry, reply, at).allowed) {
            pending.late();
          }
        },
      },
    );
  }

  async #addTo(
    { limits, key, homes }: Located,
    cost: Asked,
    record: string,
    name: string,
  ): Promise<Decision | undefined> {
    this.#callReader.checkOpen();
    const known = decideImpossible(limits, cost, this.#settings.counts);
    if (known !== undefined) {
      return known;
    }
    return this.#calls.submit<Decision | undefined>(
      { key, homes, shape: limits.shape('add', cost), record, details: [name] },
      {
        decides: true,
        read: (entry, reply, at) =>
          readHeld(reply, at)
            ? this.#decisionReader.count(readDecision(entry, reply, at), entry)
            : undefined,
        degrade: (error, entry) => this.#decisionReader.degraded(error, entry),
      },
    );
  }
}
