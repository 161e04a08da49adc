import { randomUUID } from 'node:crypto';
import type { Decision, GrantDecision } from '../base/decision.ts';
import { invalidOption, RateLimiterError } from '../base/errors.ts';
import type { StoreError } from '../base/errors.ts';
import { digestIdentity } from '../base/identity.ts';
import type { Identity } from '../base/identity.ts';
import { checks } from '../observe/channels.ts';
import type { CheckMessage } from '../observe/messages.ts';
import { readable } from '../options/read-options.ts';
import { reserveDetails } from '../script/call-shape.ts';
import type { Entry, Shape } from '../script/call-shape.ts';
import { readGranted, readHeld, readVerdicts } from '../script/read-answer.ts';
import { CallLimits } from './call-limits.ts';
import {
  readAcquireOptions,
  readCallOptions,
  readCost,
  readReserveOptions,
} from './call-options.ts';
import type { AcquireOptions, CallOptions, ReserveOptions } from './call-options.ts';
import { makeLease } from './lease.ts';
import type { Lease } from './lease.ts';
import { keyCountOf, LimitSet } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import {
  makeDecision,
  makeDegradedDecision,
  makeImpossibleDecision,
  makeUnlimitedDecision,
} from './make-decision.ts';
import { attachReceipt, redeem } from './refund-receipt.ts';
import { PendingReservation } from './reservation.ts';
import type { Reservation } from './reservation.ts';
import { IGNORE_REPLY, PendingCalls } from './pending-calls.ts';
import type { ReplyHandler } from './pending-calls.ts';
import { checkSharding } from './sharding.ts';
import type { Listener } from './wait-queue.ts';
import { warmUp } from './warm-up.ts';

type Verb = 'allow' | 'peek' | 'acquire';
type OtherLimits = Pick<CallOptions, 'limits'>;

/** The lease id that a call brings, or the listener of a waiting caller. */
interface Caller {
  readonly lease?: string;
  readonly listener?: Listener;
}

const ORDINARY: Caller = {};

/** Sends each verb's call to the store, and makes the answer from its reply. Calls no hook. */
export class Decider {
  readonly #settings: Settings;
  readonly #calls: PendingCalls;
  readonly #callLimits: CallLimits;
  #closed = false;
  #warnedOfPenalty = false;

  /** `report` is called for every call that the store did not answer. */
  constructor(settings: Settings, report: (error: StoreError) => void) {
    this.#settings = settings;
    this.#calls = new PendingCalls(settings, report);
    this.#callLimits = new CallLimits((limits) => this.#makeLimits(limits));
  }

  /** Refuses calls from here on. Returns the error that refuses them. */
  close(): RateLimiterError {
    this.#closed = true;
    return makeClosedError();
  }

  /** Resolves once no call is pending. */
  idle(): Promise<void> {
    return this.#calls.idle();
  }

  checkOpen(): void {
    if (this.#closed) {
      throw makeClosedError();
    }
  }

  /** Decides a call, under a span if the channel has subscribers. Its errors are rejections. */
  decide(
    verb: Verb,
    identity: Identity,
    options: CallOptions | undefined,
    caller: Caller = ORDINARY,
  ): Promise<Decision> {
    try {
      const { limits, cost } = this.#readCall(options);
      if (verb === 'allow') {
        checkLeaseless(limits);
      }
      const key = this.#keyOf(limits, identity);
      if (!checks.hasSubscribers) {
        return this.#decide(verb, limits, key, cost, caller);
      }
      const message: CheckMessage = { operation: verb, namespace: this.#settings.namespace, cost };
      return checks.tracePromise(() => this.#decide(verb, limits, key, cost, caller), message);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #decide(
    verb: Verb,
    limits: LimitSet,
    key: string,
    cost: number,
    { lease, listener }: Caller,
  ): Promise<Decision> {
    const known = this.#decideAlone(limits, cost, verb !== 'peek');
    if (known !== undefined) {
      listener?.decided(known);
      return Promise.resolve(known);
    }
    const entry = { key, shape: limits.shape(verb, cost) };
    if (listener !== undefined) {
      return this.#calls.submit(entry, this.#handlerFor(listener));
    }
    if (lease === undefined) {
      return this.#calls.submit(entry, verb === 'peek' ? this.#plainReply : this.#refundableReply);
    }
    return this.#calls.submit(
      { ...entry, details: [lease] },
      {
        ...this.#refundableReply,
        late: (sent, reply, at) => {
          if (readDecision(sent, reply, at).allowed) {
            // No caller waits for it, and `onError` is called for a failure.
            this.#sendLease('release', limits, key, lease).catch(() => {});
          }
        },
      },
    );
  }

  /** Makes the decisions for which the store need not be asked; undefined for all others. */
  #decideAlone(limits: LimitSet, cost: number, counted: boolean): Decision | undefined {
    const { counts } = this.#settings;
    if (limits.asksNothing) {
      counts.unlimited += counted ? 1 : 0;
      return makeUnlimitedDecision();
    }
    if (cost > limits.maxCost) {
      counts.impossible += counted ? 1 : 0;
      return makeImpossibleDecision(limits.limits, cost, limits.maxCost);
    }
    return undefined;
  }

  /** The key of the queue in which callers of `wait` stand. */
  queueKey(identity: Identity, options: CallOptions | undefined): string {
    const { limits } = this.#readCall(options);
    checkLeaseless(limits);
    return this.#keyOf(limits, identity);
  }

  async grant(
    identity: Identity,
    units: number,
    options: OtherLimits | undefined,
  ): Promise<GrantDecision> {
    const { limits } = this.#readCall(options);
    checkLeaseless(limits);
    readCost('units', units);
    const key = this.#keyOf(limits, identity);
    // Under a limit of nothing not even one unit passes; no units at all are a call of cost 0.
    const known = this.#decideAlone(limits, Math.min(units, 1), true);
    if (known !== undefined) {
      return Object.assign(known, { granted: known.allowed ? units : 0 });
    }
    if (units === 0) {
      return Object.assign(await this.#decide('allow', limits, key, 0, ORDINARY), { granted: 0 });
    }
    return this.#calls.submit<GrantDecision>(
      { key, shape: limits.shape('up_to', units) },
      {
        decides: true,
        read: (entry, reply, at) => {
          const granted = readGranted(entry.shape, reply, at);
          const decision = this.#count(readDecision(entry, reply, at), entry);
          return this.#withReceipt({ ...decision, granted }, entry, reply, at);
        },
        degrade: (error) => ({
          ...this.#degraded(error),
          granted: this.#settings.failStrategy === 'open' ? units : 0,
        }),
      },
    );
  }

  async acquire(identity: Identity, options: AcquireOptions | undefined): Promise<Lease> {
    const { heartbeat, call } = readable('options', () => readAcquireOptions(options));
    const { limits } = this.#readCall(call);
    if (limits.isPlanWithoutLimit) {
      return makeLease(await this.decide('allow', identity, call), undefined);
    }
    if (limits.ttlsMs.length === 0) {
      throw invalidOption(
        'limits',
        'with a concurrency limit among them, for `acquire`',
        limits.limits,
        'Add concurrency({ max, ttl }), or call `allow`.',
      );
    }
    const key = this.#keyOf(limits, identity);
    const id = randomUUID();
    const clock = this.#settings.store.time;
    const sentAt = clock.nowMicros();
    const decision = await this.decide('acquire', identity, call, { lease: id });
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
        this.checkOpen();
        return this.#sendLease(leaseVerb, limits, key, id, onReply);
      },
    });
  }

  #sendLease(
    verb: 'renew' | 'release',
    limits: LimitSet,
    key: string,
    lease: string,
    onReply?: (held: boolean) => void,
  ): Promise<boolean> {
    return this.#calls.submit(
      { key, shape: limits.shape(verb, 1), details: [lease] },
      {
        read: (_, reply, at) => {
          const held = readHeld(reply, at);
          onReply?.(held);
          return held;
        },
      },
    );
  }

  async reserve(identity: Identity, options: ReserveOptions): Promise<Reservation> {
    const { ttlMs, call } = readable('options', () => readReserveOptions(options));
    const { limits, cost } = this.#readCall(call);
    checkLeaseless(limits);
    if (!limits.isPlanWithoutLimit) {
      checkSharding(this.#settings.sharding, 'reserve', keyCountOf(limits.limits) + 1);
    }
    const key = this.#keyOf(limits, identity);
    const pending = new PendingReservation(cost, {
      timeoutMs: this.#settings.timeoutMs,
      clock: this.#settings.store.time,
      checkOpen: () => this.checkOpen(),
      chargesNothing: limits.isPlanWithoutLimit,
      send: (record, details, read) =>
        this.#calls.submit(
          { key, shape: limits.shape('settle', 1), record, details },
          { read: (_, reply, at) => read(reply, at) },
        ),
    });
    return pending.answer(await this.#reserve(limits, key, cost, ttlMs, pending));
  }

  #reserve(
    limits: LimitSet,
    key: string,
    cost: number,
    ttlMs: number,
    pending: PendingReservation,
  ): Promise<Decision> {
    if (limits.isPlanWithoutLimit) {
      return this.#decide('allow', limits, key, cost, ORDINARY);
    }
    const known = this.#decideAlone(limits, cost, true);
    if (known !== undefined) {
      return Promise.resolve(known);
    }
    return this.#calls.submit(
      {
        key,
        shape: limits.shape('reserve', cost),
        record: pending.record,
        details: reserveDetails(ttlMs),
      },
      {
        ...this.#plainReply,
        decides: true,
        read: (entry, reply, at) => this.#count(readDecision(entry, reply, at), entry),
        late: (entry, reply, at) => {
          if (readDecision(entry, reply, at).allowed) {
            pending.late();
          }
        },
      },
    );
  }

  async refund(decision: Decision): Promise<Decision> {
    this.checkOpen();
    return isUnlimited(decision)
      ? makeUnlimitedDecision()
      : this.#calls.submit(redeem(decision, this), { read: readDecision });
  }

  /** Refunds a charge whose caller has gone. If the store gives no answer, the charge stays. */
  giveBack(decision: Decision): void {
    if (isUnlimited(decision)) {
      return;
    }
    this.#calls.submit(redeem(decision, this), IGNORE_REPLY).catch(() => {
      // `onError` was called.
    });
  }

  async penalize(
    identity: Identity,
    cost: number,
    options: OtherLimits | undefined,
  ): Promise<Decision> {
    const { limits } = this.#readCall(options);
    readCost('cost', cost);
    const key = this.#keyOf(limits, identity);
    if (limits.isPlanWithoutLimit) {
      return makeUnlimitedDecision();
    }
    const shape = limits.shape('penalize', cost);
    if (!this.#warnedOfPenalty && !limits.limits.some(({ maxDebt }) => maxDebt > 0)) {
      this.#warnedOfPenalty = true;
      process.emitWarning(
        '`penalize` was called where no limit has `maxDebt`: it charges only the units left, and nothing if none is left. Give a limit `maxDebt`, the most units that may be owed.',
        { type: 'RateLimiterWarning', code: 'DRL_PENALTY_WITHOUT_DEBT' },
      );
    }
    return this.#calls.submit({ key, shape }, this.#plainReply);
  }

  async reset(identity: Identity, options: OtherLimits | undefined): Promise<void> {
    const { limits } = this.#readCall(options);
    const key = this.#keyOf(limits, identity);
    if (!limits.isPlanWithoutLimit) {
      await this.#calls.submit({ key, shape: limits.shape('reset', 1) }, IGNORE_REPLY);
    }
  }

  /** Sets or lifts the block of an identity, by the given shape. */
  async setBlock(identity: Identity, shape: Shape): Promise<void> {
    const key = this.#keyOf(this.#settings.limits, identity);
    await this.#calls.submit({ key, shape }, IGNORE_REPLY);
  }

  async warmUp(): Promise<void> {
    this.checkOpen();
    await warmUp(this.#calls, this.#settings);
  }

  /** Reads a decision that is not refundable: it charges nothing, or is settled in another way. */
  readonly #plainReply: ReplyHandler<Decision> = {
    read: readDecision,
    degrade: (error) => this.#degraded(error),
  };

  /** Reads a decision that is refundable. */
  readonly #refundableReply: ReplyHandler<Decision> = {
    decides: true,
    read: (entry, reply, at) =>
      this.#withReceipt(this.#count(readDecision(entry, reply, at), entry), entry, reply, at),
    degrade: (error) => this.#degraded(error),
  };

  /** Reads a refundable decision, and calls the listener in the turn in which the decision is made. */
  #handlerFor({ decided, chargedLate }: Listener): ReplyHandler<Decision> {
    const notify = (decision: Decision): Decision => {
      decided(decision);
      return decision;
    };
    return {
      decides: true,
      read: (entry, reply, at) => notify(this.#refundableReply.read(entry, reply, at)),
      degrade: (error) => notify(this.#degraded(error)),
      late: (entry, reply, at) => {
        const decision = readDecision(entry, reply, at);
        if (decision.allowed) {
          chargedLate(this.#withReceipt(decision, entry, reply, at));
        }
      },
    };
  }

  #count(decision: Decision, { shape }: Entry): Decision {
    this.#settings.counts.decided(decision, shape.rules);
    return decision;
  }

  #withReceipt<T extends Decision>(
    decision: T,
    { key, shape }: Entry,
    reply: readonly number[],
    at: number,
  ): T {
    if (decision.allowed) {
      attachReceipt(decision, { issuer: this, key, shape, reply, at, refunded: false });
    }
    return decision;
  }

  #degraded(error: StoreError): Decision {
    return makeDegradedDecision(this.#settings.failStrategy === 'open', error);
  }

  #keyOf(limits: LimitSet, identity: Identity): string {
    return limits.keyPrefix + digestIdentity(identity, this.#settings.hashSecret);
  }

  #readCall(options: CallOptions | undefined): { limits: LimitSet; cost: number } {
    this.checkOpen();
    if (options === undefined) {
      return { limits: this.#settings.limits, cost: 1 };
    }
    const { cost, limits } = readable('options', () => readCallOptions(options));
    return {
      limits:
        limits === undefined
          ? this.#settings.limits
          : readable('limits', () => this.#callLimits.get(limits)),
      cost,
    };
  }

  #makeLimits(limits: unknown): LimitSet {
    const { namespace, blocks, counts, store, sharding, limits: own } = this.#settings;
    const set = new LimitSet(namespace, limits, blocks, counts, store.clock, own);
    checkSharding(sharding, 'limits', keyCountOf(set.limits));
    return set;
  }
}

function readDecision({ shape }: Entry, reply: readonly number[], at: number): Decision {
  const verdicts = readVerdicts(shape, reply, at);
  return makeDecision(shape, verdicts, reply[0]!, readGranted(shape, reply, at));
}

/** Whether nothing was charged because the call had no limit. */
function isUnlimited(decision: unknown): boolean {
  try {
    return (decision as Partial<Decision> | null | undefined)?.reason === 'unlimited';
  } catch {
    return false; // not a decision: its getter throws
  }
}

function checkLeaseless({ ttlsMs }: LimitSet): void {
  if (ttlsMs.length > 0) {
    throw new RateLimiterError(
      'ERR_LEASE_REQUIRED',
      'A limiter with a concurrency limit gives leases, which have to be released. Call `acquire`.',
    );
  }
}

function makeClosedError(): RateLimiterError {
  return new RateLimiterError(
    'ERR_LIMITER_CLOSED',
    'The limiter was closed. Make calls before `close()`.',
  );
}
