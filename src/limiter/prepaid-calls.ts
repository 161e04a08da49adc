import type { Decision } from '../base/decision.ts';
import { nameOfIdentity, nameOfNamedParts } from '../base/identity.ts';
import type { AnyIdentity } from '../base/identity.ts';
import type { StoreError } from '../base/errors.ts';
import { resolveInTurn } from '../base/same-turn.ts';
import type { Entry } from '../script/call-shape.ts';
import type { ClockAnchors } from '../stores/clock-anchor.ts';
import type { Asked } from './cost.ts';
import type { Settings } from './limiter-options.ts';
import type { ReplyHandler } from './pending-calls.ts';
import { Prepay } from './prepay.ts';
import { attachSpent } from './refund-receipt.ts';

/** Decides one limiter's ordinary calls by `Prepay`, on the clocks of its connection. Made at the first call. */
export class PrepaidCalls {
  readonly #settings: Settings;
  readonly #issuer: object;
  readonly #prepay: Prepay;
  readonly #anchors: ClockAnchors;
  readonly #units = { charged: 0, spent: 0 };
  #own = 0;

  /** `issuer` is the only one that can refund what it decides. */
  constructor(settings: Settings, issuer: object) {
    const { store, limits, prepay } = settings;
    const view = store.local();
    this.#settings = settings;
    this.#issuer = issuer;
    this.#prepay = new Prepay(limits, prepay!);
    this.#anchors = view.anchors;
    settings.counts.prepaid = this.#units;
    view.anchors.onDrop(() => this.#prepay.forget());
    view.watch(this.#prepay);
  }

  /**
   * Names the identity within this process, with the kind of calls where limits have units: a slice is for one kind.
   * Undefined if the store has to be asked.
   */
  nameOf(identity: AnyIdentity, kind: string | undefined): string | undefined {
    const by = this.#settings.limits.homes[0];
    const name = by === undefined ? nameOfIdentity(identity) : nameOfNamedParts(identity, by);
    return kind === undefined || name === undefined ? name : `${name}\0${kind}`;
  }

  /** Decides a call from a slice, and counts it; undefined if the store has to be asked. */
  decide(name: string, units: number, cost: Asked): Promise<Decision> | undefined {
    this.#own = this.#anchors.check();
    const local = this.#prepay.decide(name, units, this.#own, cost);
    if (local === undefined) {
      return undefined;
    }
    const { decision, spent, shape } = local;
    const { counts } = this.#settings;
    counts.slice += 1;
    counts.decided(decision, shape.asked);
    if (spent !== undefined) {
      this.#units.spent += units;
      attachSpent(decision, this.#issuer, spent);
    }
    return resolveInTurn(decision);
  }

  /** The call by which the store is asked, after `decide` in the same turn: for a slice as well if that is worth it. */
  entryOf(name: string, units: number, cost: Asked, plain: Entry): Entry {
    return this.#prepay.ask(name, units, plain, this.#own, cost);
  }

  /** Reads the answer as `reader` does, and takes the slice. */
  handlerOf(name: string, entry: Entry, reader: ReplyHandler<Decision>): ReplyHandler<Decision> {
    return new PrepaidReply(this, name, entry, reader);
  }

  answered(
    name: string,
    sent: Entry,
    decision: Decision,
    reply: readonly number[],
    at: number,
  ): void {
    const { current } = this.#anchors;
    this.#units.charged += this.#prepay.answered(name, sent, decision, reply, at, current);
  }

  failed(name: string, entry: Entry): void {
    this.#prepay.failed(name, entry);
  }
}

/** Reads one answer. A class rather than closures, because every call that asks the store makes one. */
class PrepaidReply implements ReplyHandler<Decision> {
  readonly decides = true;
  readonly #calls: PrepaidCalls;
  readonly #name: string;
  readonly #entry: Entry;
  readonly #reader: ReplyHandler<Decision>;

  constructor(calls: PrepaidCalls, name: string, entry: Entry, reader: ReplyHandler<Decision>) {
    this.#calls = calls;
    this.#name = name;
    this.#entry = entry;
    this.#reader = reader;
  }

  read(sent: Entry, reply: readonly number[], at: number): Decision {
    const decision = this.#reader.read(sent, reply, at);
    this.#calls.answered(this.#name, sent, decision, reply, at);
    return decision;
  }

  degrade(error: StoreError, entry: Entry): Decision {
    return this.#reader.degrade!(error, entry);
  }

  failed(): void {
    this.#calls.failed(this.#name, this.#entry);
  }
}
