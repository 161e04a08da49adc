import { randomUUID } from 'node:crypto';
import type { Decision, GrantDecision, UnlimitedDecision } from '../base/decision.ts';
import { invalidOption, RateLimiterError } from '../base/errors.ts';
import type { StoreError } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import { checks } from '../observe/channels.ts';
import type { CheckMessage } from '../observe/messages.ts';
import { readable } from '../options/read-options.ts';
import { reserveDetails } from '../script/call-shape.ts';
import type { Entry, Shape } from '../script/call-shape.ts';
import { readGranted, readHeld, readVerdicts } from '../script/read-answer.ts';
import { CallLimits } from './call-limits.ts';
import { readAcquireOptions, readCallOptions, readReserveOptions } from './call-options.ts';
import { costOf, invalidCost, NamedCost } from './cost.ts';
import type { Asked } from './cost.ts';
import { makeLease } from './lease.ts';
import type { Lease } from './lease.ts';
import { checkBans } from './bans.ts';
import { checkSlots } from './homes.ts';
import { heedsProviders, keyCountOf, LimitSet } from './limit-set.ts';
import type { Located } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import { makeDecision, makeDegradedDecision, makeUnlimitedDecision } from './make-decision.ts';
import { PrepaidCalls } from './prepaid-calls.ts';
import { attachReceipt, redeem, redeemSpent } from './refund-receipt.ts';
import { nameRecord, PendingReservation } from './reservation.ts';
import type { Reservation, ReservationHandle, Settler } from './reservation.ts';
import { writeToken } from './reservation-token.ts';
import { resume } from './resume.ts';
import { readObserved } from './observed-response.ts';
import { IGNORE_REPLY, PendingCalls } from './pending-calls.ts';
import type { ReplyHandler } from './pending-calls.ts';
import { checkSharding } from './sharding.ts';
import type { Listener } from './wait-queue.ts';
import { warmUp } from './warm-up.ts';

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
  readonly identity: AnyIdentity;
  readonly cost: number;
}

const ORDINARY: Caller = {};

/** Sends each verb's call to the store, and makes the answer from its reply. Calls no hook. */
export class Decider {
  readonly #settings: Settings;
  readonly #calls: PendingCalls;
  readonly #callLimits: CallLimits;
  readonly #toldLimits = new Map<string, LimitSet>();
  #prepaid: PrepaidCalls | undefined;
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
    identity: AnyIdentity,
    options: unknown,
    caller: Caller = ORDINARY,
  ): Promise<Decision> {
    try {
      const { limits, cost } = this.#readCall(options);
      if (verb === 'allow') {
        checkLeaseless(limits);
        if (this.#mayPrepay(limits, cost, caller)) {
          return this.#decidePrepaid(identity, cost);
        }
      }
      const located = this.#locate(limits, cost, identity);
      return this.#decideTraced(verb, located, cost, caller);
    } catch (error) {
      return Promise.reject(error);
    }
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
  #mayPrepay(limits: LimitSet, cost: Asked, caller: Caller): cost is number {
    const { prepay, store, limits: own } = this.#settings;
    return (
      prepay !== undefined &&
      store.isShared &&
      caller === ORDINARY &&
      limits === own &&
      typeof cost === 'number' &&
      cost > 0
    );
  }

  /** Decides a call from a slice, or asks the store: for a slice as well, if the identity is busy. */
  #decidePrepaid(identity: AnyIdentity, cost: number): Promise<Decision> {
    const prepaid = (this.#prepaid ??= new PrepaidCalls(this.#settings, this));
    const local = prepaid.decide(identity, cost);
    if (local !== undefined) {
      return checks.hasSubscribers ? this.#traced('allow', cost, () => local) : local;
    }
    const located = this.#locate(this.#settings.limits, cost, identity);
    return this.#decideTraced('allow', located, cost, { prepaid: { identity, cost } });
  }

  #askPrepaid({ identity, cost }: Prepaid, plain: Entry): Promise<Decision> {
    const refused = this.#calls.refused(plain, this.#refundableReply);
    if (refused !== undefined) {
      return refused;
    }
    const prepaid = this.#prepaid!;
    const entry = prepaid.entryOf(identity, cost, plain);
    return this.#calls.ask(entry, prepaid.handlerOf(identity, entry, this.#refundableReply));
  }

  #decide(
    verb: Verb,
    located: Located,
    cost: Asked,
    { lease, listener, prepaid, polls = listener !== undefined }: Caller,
  ): Promise<Decision> {
    const { limits, key, homes } = located;
    const known = this.#decideAlone(limits, cost, verb !== 'peek');
    if (known !== undefined) {
      listener?.decided(known);
      return Promise.resolve(known);
    }
    const entry = { key, homes, shape: limits.shape(verb, cost, polls) };
    if (listener !== undefined) {
      return this.#calls.submit(entry, this.#handlerFor(listener));
    }
    if (prepaid !== undefined) {
      return this.#askPrepaid(prepaid, entry);
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
            this.#sendLease('release', located, lease).catch(() => {});
          }
        },
      },
    );
  }

  /** Makes the decisions for which the store need not be asked; undefined for all others. */
  #decideAlone(limits: LimitSet, cost: Asked, counted: boolean): Decision | undefined {
    const { counts } = this.#settings;
    if (limits.asksNothingOf(cost)) {
      counts.unlimited += counted ? 1 : 0;
      return makeUnlimitedDecision(costOf(cost));
    }
    return this.#decideImpossible(limits, cost, counted);
  }

  #decideImpossible(limits: LimitSet, cost: Asked, counted: boolean): Decision | undefined {
    if (!limits.isImpossible(cost)) {
      return undefined;
    }
    this.#settings.counts.impossible += counted ? 1 : 0;
    return limits.impossible(cost);
  }

  /** The key of the queue in which callers of `wait` stand. */
  queueKey(identity: AnyIdentity, options: unknown): string {
    const { limits } = this.#readCall(options);
    checkLeaseless(limits);
    const { key, homes } = limits.locate(identity, this.#settings.hashSecret);
    return homes === undefined ? key : homes.join(' ');
  }

  async grant(identity: AnyIdentity, amount: unknown, options: unknown): Promise<GrantDecision> {
    const given = this.#readLimits(options);
    checkLeaseless(given);
    const asked = given.ask('units', amount, { calls: 0 });
    const [unit, units] = oneOf(asked);
    const located = this.#locate(given, asked, identity);
    const { limits, key, homes } = located;
    // Under a limit of nothing not even one unit passes; no units at all are a call of cost 0.
    const one =
      unit === undefined ? Math.min(units, 1) : new NamedCost({ [unit]: Math.min(units, 1) });
    const known = this.#decideAlone(limits, units === 0 ? asked : one, true);
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
          const decision = this.#count(readDecision(entry, reply, at, source), entry);
          return this.#withReceipt({ ...decision, granted }, entry, reply, at);
        },
        degrade: (error, entry) => ({
          ...this.#degraded(error, entry),
          granted: this.#settings.failStrategy === 'open' ? units : 0,
        }),
      },
    );
  }

  async acquire(identity: AnyIdentity, options: unknown): Promise<Lease> {
    const { heartbeat, call } = readable('options', () => readAcquireOptions(options));
    const { limits: given, cost } = this.#readCall(call);
    if (!given.isPlanWithoutLimit && given.ttlsMs.length === 0) {
      throw invalidOption(
        'limits',
        'with a concurrency limit among them, for `acquire`',
        given.limits,
        'Add concurrency({ max, ttl }), or call `allow`.',
      );
    }
    const located = this.#locate(given, cost, identity);
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
        this.checkOpen();
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

  /** `decided` is called with each decision that an `add` of the reservation makes. */
  async reserve(
    identity: AnyIdentity,
    options: unknown,
    decided: (decision: Decision) => void,
  ): Promise<Reservation<string>> {
    const { ttlMs, call } = readable('options', () => readReserveOptions(options));
    const { limits: given, cost } = this.#readCall(call);
    checkLeaseless(given);
    const located = this.#locate(given, cost, identity);
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
    this.checkOpen();
    return resume(token, {
      settings: this.#settings,
      calls: this.#calls,
      known: this.#toldLimits,
      checkOpen: () => this.checkOpen(),
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
      checkOpen: () => this.checkOpen(),
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
      return this.#decide('allow', located, cost, ORDINARY);
    }
    const known = this.#decideImpossible(limits, cost, true);
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
        ...this.#plainReply,
        decides: true,
        read: (entry, reply, at, source) =>
          this.#count(readDecision(entry, reply, at, source), entry),
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
    this.checkOpen();
    const known = this.#decideImpossible(limits, cost, true);
    if (known !== undefined) {
      return known;
    }
    return this.#calls.submit<Decision | undefined>(
      { key, homes, shape: limits.shape('add', cost), record, details: [name] },
      {
        decides: true,
        read: (entry, reply, at) =>
          readHeld(reply, at) ? this.#count(readDecision(entry, reply, at), entry) : undefined,
        degrade: (error, entry) => this.#degraded(error, entry),
      },
    );
  }

  async refund(decision: Decision): Promise<Decision> {
    this.checkOpen();
    const spent = redeemSpent(decision, this);
    if (spent !== undefined) {
      return this.#calls.submit(
        { key: spent.key, shape: this.#settings.limits.shape('peek', 1) },
        { read: readDecision },
      );
    }
    return isUnlimited(decision)
      ? makeUnlimitedDecision(decision.cost)
      : this.#calls.submit(redeem(decision, this), { read: readDecision });
  }

  /** Refunds a charge whose caller has gone. If the store gives no answer, the charge stays. */
  giveBack(decision: Decision): void {
    if (isUnlimited(decision) || redeemSpent(decision, this) !== undefined) {
      return;
    }
    this.#calls.submit(redeem(decision, this), IGNORE_REPLY).catch(() => {
      // `onError` was called.
    });
  }

  async penalize(identity: AnyIdentity, amount: unknown, options: unknown): Promise<Decision> {
    const { limits, key, cost } = this.#locateUnits(identity, amount, options);
    if (limits.isPlanWithoutLimit) {
      return makeUnlimitedDecision(costOf(cost));
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

  async credit(identity: AnyIdentity, amount: unknown, options: unknown): Promise<Decision> {
    const { limits, key, cost } = this.#locateUnits(identity, amount, options);
    if (limits.isPlanWithoutLimit) {
      return makeUnlimitedDecision(costOf(cost));
    }
    const shape = limits.shape('credit', cost);
    if (shape.rules.every(({ limit }) => limit.twin.credit === undefined)) {
      throw invalidOption(
        'limits',
        'with a token bucket or a window among them, for `credit`',
        limits.limits,
        'Refund single decisions under a log, and release leases under a concurrency limit.',
      );
    }
    return this.#calls.submit({ key, shape }, this.#plainReply);
  }

  /** Returns the names of the limits that were aligned. */
  async observe(
    identity: AnyIdentity,
    response: unknown,
    options: unknown,
  ): Promise<readonly string[]> {
    this.checkOpen();
    const { observes, limits: own, hashSecret, store } = this.#settings;
    if (!observes) {
      throw invalidOption(
        'observes',
        'true for a limiter that observes its provider',
        undefined,
        'Make it with `observes: true`, or it would not heed what it was told.',
      );
    }
    if (!own.limits.some(heedsProviders)) {
      throw invalidOption(
        'limits',
        'with a limit of a rate among them, for `observe`',
        own.limits,
        'A provider does not report the places of a concurrency limit.',
      );
    }
    const { limits, key, homes } = own.locate(identity, hashSecret);
    const nowMs = Math.floor(store.time.nowMicros() / 1_000);
    const quotas = readObserved(response, options, limits, nowMs);
    if (quotas.length > 0) {
      await this.#calls.submit({ key, homes, shape: limits.observeShape(quotas) }, IGNORE_REPLY);
    }
    return quotas.map(({ limit: { name } }) => name);
  }

  /** Finds the counters of exactly the given parts, and reads the units by which a call changes them. */
  #locateUnits(
    identity: AnyIdentity,
    amount: unknown,
    options: unknown,
  ): Pick<Located, 'limits' | 'key'> & { readonly cost: Asked } {
    const given = this.#readLimits(options);
    const cost = given.ask('cost', amount, { calls: 0 });
    const { limits, key } = given.locateHome(identity, this.#settings.hashSecret);
    limits.requireAsked(cost, given);
    return { limits, key, cost };
  }

  async reset(identity: AnyIdentity, options: unknown): Promise<void> {
    const given = this.#readLimits(options);
    const { limits, key } = given.locateHome(identity, this.#settings.hashSecret);
    if (!limits.isPlanWithoutLimit) {
      await this.#calls.submit({ key, shape: limits.shape('reset', 1) }, IGNORE_REPLY);
    }
  }

  /** Sets or lifts the block of an identity, by the given shape. */
  async setBlock(identity: AnyIdentity, shape: Shape): Promise<void> {
    const { limits, hashSecret } = this.#settings;
    const { key } = limits.locateHome(identity, hashSecret);
    await this.#calls.submit({ key, shape }, IGNORE_REPLY);
  }

  async warmUp(): Promise<void> {
    this.checkOpen();
    await warmUp(this.#calls, this.#settings);
  }

  /** Reads a decision that is not refundable: it charges nothing, or is settled in another way. */
  readonly #plainReply: ReplyHandler<Decision> = {
    read: (entry, reply, at) => readDecision(entry, reply, at),
    degrade: (error, entry) => this.#degraded(error, entry),
  };

  /** Reads a decision that is refundable. */
  readonly #refundableReply: ReplyHandler<Decision> = {
    decides: true,
    read: (entry, reply, at, source) =>
      this.#withReceipt(
        this.#count(readDecision(entry, reply, at, source), entry),
        entry,
        reply,
        at,
      ),
    degrade: (error, entry) => this.#degraded(error, entry),
  };

  /** Reads a refundable decision, and calls the listener in the turn in which the decision is made. */
  #handlerFor({ decided, chargedLate }: Listener): ReplyHandler<Decision> {
    const notify = (decision: Decision): Decision => {
      decided(decision);
      return decision;
    };
    return {
      decides: true,
      read: (entry, reply, at, source) =>
        notify(this.#refundableReply.read(entry, reply, at, source)),
      degrade: (error, entry) => notify(this.#degraded(error, entry)),
      late: (entry, reply, at) => {
        const decision = readDecision(entry, reply, at);
        if (decision.allowed) {
          chargedLate(this.#withReceipt(decision, entry, reply, at));
        }
      },
    };
  }

  #count(decision: Decision, { shape }: Entry): Decision {
    const { counts } = this.#settings;
    counts.decided(decision, shape.asked);
    if (decision.source === 'deny_cache') {
      counts.denyCache += 1;
    }
    return decision;
  }

  #withReceipt<T extends Decision>(
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

  #degraded(error: StoreError, { shape }: Entry): Decision {
    return makeDegradedDecision(this.#settings.failStrategy === 'open', error, shape.cost);
  }

  /** Finds the keys of a call, whose identity may leave out limits. */
  #locate(limits: LimitSet, cost: Asked, identity: AnyIdentity): Located {
    const located = limits.locate(identity, this.#settings.hashSecret);
    located.limits.requireAsked(cost, limits);
    return located;
  }

  #readCall(options: unknown): { limits: LimitSet; cost: Asked } {
    this.checkOpen();
    if (options === undefined) {
      const { limits } = this.#settings;
      return { limits, cost: limits.ask('cost', undefined) };
    }
    const { cost, limits } = this.#readOptions(options);
    return { limits, cost: limits.ask('cost', cost) };
  }

  /** For verbs that take no cost from the options. */
  #readLimits(options: unknown): LimitSet {
    this.checkOpen();
    return options === undefined ? this.#settings.limits : this.#readOptions(options).limits;
  }

  #readOptions(options: unknown): { limits: LimitSet; cost: unknown } {
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
    const {
      namespace,
      blocks,
      observes,
      counts,
      store,
      sharding,
      oneSlot,
      limits: own,
    } = this.#settings;
    const set = new LimitSet(namespace, limits, blocks, { counts, clock: store.clock, own });
    checkBans(set.limits, blocks, own.blockable);
    checkSharding(sharding, 'limits', keyCountOf(set.limits, observes));
    checkSlots(blocks ? [...set.limits, ...own.limits] : set.limits, own.space?.tag, oneSlot);
    return set;
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

function readDecision(
  { shape }: Entry,
  reply: readonly number[],
  at: number,
  source?: 'deny_cache',
): Decision {
  const verdicts = readVerdicts(shape, reply, at);
  const granted = readGranted(shape, reply, at);
  return makeDecision(shape, shape.cost, verdicts, reply[0]!, granted, source);
}

/** Whether nothing was charged because the call had no limit. */
function isUnlimited(decision: unknown): decision is UnlimitedDecision {
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
