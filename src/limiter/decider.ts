import { randomUUID } from 'node:crypto';
import type { Decision, GrantDecision } from '../base/decision.ts';
import { invalidOption } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import { checks } from '../observe/channels.ts';
import type { CheckMessage } from '../observe/messages.ts';
import { readable } from '../options/read-options.ts';
import type { Entry } from '../script/call-shape.ts';
import { readGranted, readHeld } from '../script/read-answer.ts';
import { readAcquireOptions } from './call-options.ts';
import { checkLeaseless } from './call-reader.ts';
import type { CallReader } from './call-reader.ts';
import { costOf, invalidCost, NamedCost } from './cost.ts';
import type { Asked } from './cost.ts';
import { decideAlone } from './decide-alone.ts';
import { readDecision } from './decision-reader.ts';
import type { DecisionReader } from './decision-reader.ts';
import { makeLease } from './lease.ts';
import type { Lease } from './lease.ts';
import type { LimitSet, Located } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import type { Parts } from './parts.ts';
import type { PendingCalls } from './pending-calls.ts';
import { PrepaidCalls } from './prepaid-calls.ts';
import { sliceCostOf } from './slice-cost.ts';
import type { SliceCost } from './slice-cost.ts';
import type { Listener } from './wait-queue.ts';

type Verb = 'allow' | 'peek' | 'acquire';

/** The lease id that a call brings, or the listener of a waiting caller. */
interface Caller {
  readonly lease?: string;
  /** Whether a refusal only makes the caller wait. */
  readonly polls?: boolean;
  readonly listener?: Listener;
  /** Present if the store may be asked for a slice as well. */
  readonly prepaid?: Prepaid;
}

interface Prepaid {
  /** The identity's within this process, and what kind of calls it is for. */
  readonly name: string;
  /** Of a slice that the cost is. */
  readonly units: number;
  readonly cost: Asked;
}

const ORDINARY: Caller = {};

/** Decides calls: by the store, by a slice, or alone. Calls no hook. */
export class Decider {
  readonly #settings: Settings;
  readonly #callReader: CallReader;
  readonly #calls: PendingCalls;
  readonly #decisionReader: DecisionReader;
  #prepaid: PrepaidCalls | undefined;

  constructor({ settings, callReader, calls, decisionReader }: Parts) {
    this.#settings = settings;
    this.#callReader = callReader;
    this.#calls = calls;
    this.#decisionReader = decisionReader;
  }

  /** Decides a call, under a span if the channel has subscribers. Its errors are rejections. */
  decide(
    verb: Verb,
    identity: AnyIdentity,
    options: unknown,
    caller: Caller = ORDINARY,
  ): Promise<Decision> {
    try {
      const { limits, cost } = this.#callReader.readCall(options);
      if (verb === 'allow') {
        checkLeaseless(limits);
        if (this.#mayPrepay(limits, caller)) {
          const slice = sliceCostOf(limits.limits, cost);
          if (slice.units > 0) {
            return this.#decidePrepaid(limits, identity, cost, slice);
          }
        }
      }
      const located = this.#callReader.locate(limits, cost, identity);
      return this.#decideTraced(verb, located, cost, caller);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Decides an ordinary call whose identity is located. */
  decideLocated(located: Located, cost: Asked): Promise<Decision> {
    return this.#decide('allow', located, cost, ORDINARY);
  }

  #decideTraced(verb: Verb, located: Located, cost: Asked, caller: Caller): Promise<Decision> {
    return checks.hasSubscribers
      ? this.#traced(verb, cost, () => this.#decide(verb, located, cost, caller))
      : this.#decide(verb, located, cost, caller);
  }

  #traced(verb: Verb, cost: Asked, decide: () => Promise<Decision>): Promise<Decision> {
    const { namespace } = this.#settings;
    const message: CheckMessage = { operation: verb, namespace, cost: costOf(cost) };
    return checks.tracePromise(decide, message);
  }

  /** Whether units that this process has paid for may decide the call: an ordinary one under the limiter's own limits. */
  #mayPrepay(limits: LimitSet, caller: Caller): boolean {
    const { prepay, store, limits: own } = this.#settings;
    return prepay !== undefined && store.isShared && caller === ORDINARY && limits === own;
  }

  /** Decides a call from a slice, or asks the store: for a slice as well, if the identity is busy. */
  #decidePrepaid(
    limits: LimitSet,
    identity: AnyIdentity,
    cost: Asked,
    { units, kind }: SliceCost,
  ): Promise<Decision> {
    const prepaid = (this.#prepaid ??= new PrepaidCalls(this.#settings, this.#decisionReader));
    const name = prepaid.nameOf(identity, kind);
    const local = name === undefined ? undefined : prepaid.decide(name, units, cost);
    if (local !== undefined) {
      return checks.hasSubscribers ? this.#traced('allow', cost, () => local) : local;
    }
    const located = this.#callReader.locate(limits, cost, identity);
    const caller = name === undefined ? ORDINARY : { prepaid: { name, units, cost } };
    return this.#decideTraced('allow', located, cost, caller);
  }

  #askPrepaid({ name, units, cost }: Prepaid, plain: Entry): Promise<Decision> {
    const { refundable } = this.#decisionReader;
    const refused = this.#calls.refused(plain, refundable);
    if (refused !== undefined) {
      return refused;
    }
    const prepaid = this.#prepaid!;
    const entry = prepaid.entryOf(name, units, cost, plain);
    return this.#calls.ask(entry, prepaid.handlerOf(name, entry, refundable));
  }

  #decide(
    verb: Verb,
    located: Located,
    cost: Asked,
    { lease, listener, prepaid, polls = listener !== undefined }: Caller,
  ): Promise<Decision> {
    const { limits, key, homes } = located;
    const known = decideAlone(limits, cost, this.#settings.counts, verb !== 'peek');
    if (known !== undefined) {
      listener?.decided(known);
      return Promise.resolve(known);
    }
    const entry = { key, homes, shape: limits.shape(verb, cost, polls) };
    if (listener !== undefined) {
      return this.#calls.submit(entry, this.#decisionReader.refundableFor(listener));
    }
    if (prepaid !== undefined) {
      return this.#askPrepaid(prepaid, entry);
    }
    const { plain, refundable } = this.#decisionReader;
    if (lease === undefined) {
      return this.#calls.submit(entry, verb === 'peek' ? plain : refundable);
    }
    return this.#calls.submit(
      { ...entry, details: [lease] },
      {
        ...refundable,
        late: (sent, reply, at) => {
          if (readDecision(sent, reply, at).allowed) {
            // No caller waits for it, and `onError` is called for a failure.
            this.#sendLease('release', located, lease).catch(() => {});
          }
        },
      },
    );
  }

  /** The key of the queue in which callers of `wait` stand. */
  queueKey(identity: AnyIdentity, options: unknown): string {
    const { limits } = this.#callReader.readCall(options);
    checkLeaseless(limits);
    const { key, homes } = limits.locate(identity, this.#settings.hashSecret);
    return homes === undefined ? key : homes.join(' ');
  }

  async grant(identity: AnyIdentity, amount: unknown, options: unknown): Promise<GrantDecision> {
    const given = this.#callReader.readLimits(options);
    checkLeaseless(given);
    const asked = given.ask('units', amount, { calls: 0 });
    const [unit, units] = oneOf(asked);
    const located = this.#callReader.locate(given, asked, identity);
    const { limits, key, homes } = located;
    // Under a limit of nothing not even one unit passes; no units at all are a call of cost 0.
    const one =
      unit === undefined ? Math.min(units, 1) : new NamedCost({ [unit]: Math.min(units, 1) });
    const known = decideAlone(limits, units === 0 ? asked : one, this.#settings.counts);
    if (known !== undefined) {
      return { ...known, cost: costOf(asked), granted: known.allowed ? units : 0 };
    }
    if (units === 0) {
      const decision = await this.#decide('allow', located, asked, ORDINARY);
      return Object.assign(decision, { granted: 0 });
    }
    return this.#calls.submit<GrantDecision>(
      { key, homes, shape: limits.shape('up_to', asked) },
      {
        decides: true,
        read: (entry, reply, at, source) => {
          const granted = readGranted(entry.shape, reply, at);
          const decision = this.#decisionReader.count(
            readDecision(entry, reply, at, source),
            entry,
          );
          return this.#decisionReader.withReceipt({ ...decision, granted }, entry, reply, at);
        },
        degrade: (error, entry) => ({
          ...this.#decisionReader.degraded(error, entry),
          granted: this.#settings.failStrategy === 'open' ? units : 0,
        }),
      },
    );
  }

  async acquire(identity: AnyIdentity, options: unknown): Promise<Lease> {
    const { heartbeat, call } = readable('options', () => readAcquireOptions(options));
    const { limits: given, cost } = this.#callReader.readCall(call);
    if (!given.isPlanWithoutLimit && given.ttlsMs.length === 0) {
      throw invalidOption(
        'limits',
        'with a concurrency limit among them, for `acquire`',
        given.limits,
        'Add concurrency({ max, ttl }), or call `allow`.',
      );
    }
    const located = this.#callReader.locate(given, cost, identity);
    const { limits } = located;
    if (limits.ttlsMs.length === 0) {
      return makeLease(await this.#decideTraced('allow', located, cost, ORDINARY), undefined);
    }
    const id = randomUUID();
    const clock = this.#settings.store.time;
    const sentAt = clock.nowMicros();
    const decision = await this.#decideTraced('acquire', located, cost, { lease: id });
    if (!decision.allowed || decision.degraded) {
      return makeLease(decision, undefined);
    }
    const ttlMs = Math.min(...limits.enforcedTtlsMs);
    return makeLease(decision, {
      id,
      ttlMs,
      heartbeatMs: heartbeat ? Math.min(...limits.ttlsMs) / 3 : undefined,
      clock,
      sentAt,
      counted:
        limits.leaseCounts.length === 0
          ? undefined
          : this.#settings.counts.heldLeases.take(sentAt + ttlMs * 1_000, limits.leaseCounts),
      send: async (leaseVerb, onReply) => {
        this.#callReader.checkOpen();
        return this.#sendLease(leaseVerb, located, id, onReply);
      },
    });
  }

  #sendLease(
    verb: 'renew' | 'release',
    { limits, key, homes }: Located,
    lease: string,
    onReply?: (held: boolean) => void,
  ): Promise<boolean> {
    return this.#calls.submit(
      { key, homes, shape: limits.shape(verb, 1), details: [lease] },
      {
        read: (_, reply, at) => {
          const held = readHeld(reply, at);
          onReply?.(held);
          return held;
        },
      },
    );
  }
}

/** The only unit that a cost by name asks for, and how many of it; undefined for a plain number. */
function oneOf(asked: Asked): readonly [unit: string | undefined, units: number] {
  if (typeof asked === 'number') {
    return [undefined, asked];
  }
  const named = Object.entries(asked.byName);
  if (named.length === 1) {
    return named[0]!;
  }
  if (named.length > 1 && asked.isNothing) {
    return [undefined, 0];
  }
  throw invalidCost(
    'units',
    'name exactly one unit',
    `got ${named.length}`,
    'Write { tokens: 500 }: as many of one unit as fit.',
  );
}
