import { randomUUID } from 'node:crypto';
import { readGranted, readHeld, readVerdicts } from '../script/read-answer.ts';
import { reserveDetails } from '../script/call-shape.ts';
import type { Entry, Shape } from '../script/call-shape.ts';
import type { Limit } from '../algorithms/limit.ts';
import {
  readAcquireOptions,
  readCallOptions,
  readCost,
  readReserveOptions,
  readWaitOptions,
} from './call-options.ts';
import type { AcquireOptions, CallOptions, ReserveOptions, WaitOptions } from './call-options.ts';
import { Calls, NOTHING } from './sent-calls.ts';
import type { Outcome } from './sent-calls.ts';
import { noteKeeping } from './charged-keys.ts';
import { decisionOf, degraded, impossible } from './make-decision.ts';
import type { Decision, Grant, PassedDecision } from '../base/decision.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption, RateLimiterError } from '../base/errors.ts';
import type { StoreError } from '../base/errors.ts';
import { checks } from '../observe/channels.ts';
import { liveLimiters } from '../observe/stats-registry.ts';
import type { CheckMessage } from '../observe/messages.ts';
import { HookCaller } from './hooks.ts';
import { digestIdentity } from '../base/identity.ts';
import type { Identity } from '../base/identity.ts';
import { noteKeySpace } from './shared-keys-warning.ts';
import { leaseOf } from './lease.ts';
import type { Lease } from './lease.ts';
import { blockShape, LimitSet } from './limit-set.ts';
import { LimitSets } from './call-limits.ts';
import { readLimiterOptions } from './limiter-options.ts';
import type { LimiterOptions, Settings } from './limiter-options.ts';
import { readable } from '../options/read-options.ts';
import { RateLimitExceeded } from './rate-limit-exceeded.ts';
import type { Refusal } from './rate-limit-exceeded.ts';
import { attachReceipt, redeem } from './refund-receipt.ts';
import { PendingReservation } from './reservation.ts';
import type { Reservation } from './reservation.ts';
import { seesShards } from './shard-probe.ts';
import { checkSharding } from './sharding.ts';
import type { LimiterStats } from '../observe/stats.ts';
import { Waiting } from './wait-queue.ts';
import type { Ask, Listener } from './wait-queue.ts';

/** Two parts, so that no caller's own identity is ever this one. */
const PROBE: Identity = ['distributed-rate-limiter', 'ready'];
const LONGEST_BLOCK_MS = 10 * 366 * 86_400_000;

/** What is particular about a caller: the lease it asks for, or that it waits. */
interface Caller {
  readonly lease?: string;
  readonly listener?: Listener;
}

const ORDINARY: Caller = {};

/**
 * One or several limits, where their state lives, and what happens when that place is away.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for every misspelt, nonsensical or missing option;
 * `ERR_RUNTIME_UNSUPPORTED` on Cloudflare Workers for a URL, or a client that was not made in this request.
 * @example
 * const limiter = new RateLimiter({ redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 });
 * const { allowed, remaining, retryAfterMs } = await limiter.allow('user:12345');
 */
export class RateLimiter {
  readonly #settings: Settings;
  readonly #limitsOfCalls: LimitSets;
  readonly #hooks: HookCaller;
  readonly #calls: Calls;
  readonly #waiting: Waiting;
  readonly #endStats: () => void;
  readonly #leaveKeySpace: () => void;
  #warnedOfPenalty = false;
  #closing: Promise<void> | undefined;

  constructor(options: LimiterOptions) {
    this.#settings = readLimiterOptions(options);
    this.#hooks = new HookCaller(this.#settings.hooks);
    this.#calls = new Calls(this.#settings, (error) => this.#hooks.report(error));
    this.#waiting = new Waiting({
      clock: this.#settings.store.time,
      isShared: this.#settings.store.isShared,
      giveBack: (decision) => this.#giveBack(decision),
    });
    this.#limitsOfCalls = new LimitSets((limits) => this.#makeLimits(limits));
    this.#leaveKeySpace = noteKeySpace(this, this.#settings);
    noteKeeping(this, this.#settings);
    const { counts, namespace, store } = this.#settings;
    store.prepare?.();
    this.#endStats = liveLimiters.announce(this, namespace, counts);
  }

  /**
   * The limits that govern a call which brings none of its own, in the order in which they were given.
   *
   * @example
   * limiter.limits.map(({ name, capacity, windowMs }) => `${name}: ${capacity} in ${windowMs} ms`);
   */
  get limits(): readonly Limit[] {
    return this.#settings.limits.limits;
  }

  /**
   * What this limiter has counted since it was made, in this process: plain numbers, as they are now. They are counted
   * always; an exporter reads them when it is asked.
   *
   * @example
   * const { decisions, limits } = limiter.stats();
   * console.log(decisions.allowed.within_limit, decisions.refused.limited, limits['default']?.nearLimit);
   */
  stats(): LimiterStats {
    return this.#settings.counts.stats();
  }

  /**
   * Decides one call and charges it if it passes: under all limits, or under none. Never waits longer than
   * `timeoutMs`. A store that gives no answer makes a degraded decision, by the failure strategy.
   *
   * @throws (rejects) `ERR_INVALID_IDENTITY`, `ERR_INVALID_COST`, `ERR_INVALID_OPTION` for what is never right,
   * `ERR_LEASE_REQUIRED` under a concurrency limit, `ERR_LIMITER_CLOSED` after `close()`, `ERR_CLIENT_MISSING` where a URL finds no client library,
   * `ERR_RUNTIME_UNSUPPORTED` in another request on Cloudflare Workers; a `StoreError` only under `failStrategy: 'throw'`.
   * @example
   * const decision = await limiter.allow('user:12345', { cost: 3 });
   * if (!decision.allowed) respond(decision.degraded ? 503 : 429);
   */
  allow(identity: Identity, options?: CallOptions): Promise<Decision> {
    return this.#hooks.after(identity, this.#check('allow', identity, options));
  }

  /**
   * What `allow` would answer right now. Charges nothing and calls neither `onAllow` nor `onBlock`. `remaining`
   * is what could pass at once, this call's own cost included.
   *
   * @throws (rejects) as `allow` does.
   * @example
   * const { remaining } = await limiter.peek('user:12345');
   */
  peek(identity: Identity, options?: CallOptions): Promise<Decision> {
    return this.#check('peek', identity, options);
  }

  /**
   * Charges as many of `units` as pass all limits right now, and says how many that were: `granted`. None is a
   * refusal, whose `retryAfterMs` is the wait for one. Without an answer of the store `granted` is `units` under
   * `failStrategy: 'open'` and 0 under `'closed'`.
   *
   * @throws (rejects) as `allow` does.
   * @example
   * const { granted } = await limiter.allowUpTo('importer', 500);
   * await send(rows.splice(0, granted));
   */
  async allowUpTo(
    identity: Identity,
    units: number,
    options?: Pick<CallOptions, 'limits'>,
  ): Promise<Grant> {
    const { limits } = this.#readCall(options);
    checkLeaseless(limits);
    const shape = limits.shape('up_to', readCost('units', units));
    const call = { key: this.#keyOf(limits, identity), shape };
    const grant = this.#calls.submit<Grant>(call, {
      decides: true,
      read: (asked, reply, at) => {
        const granted = readGranted(asked.shape, reply, at);
        const decision = this.#counted(readDecision(asked, reply, at), asked);
        return this.#withReceipt({ ...decision, granted }, asked, reply, at);
      },
      degrade: (error) => ({
        ...this.#degraded(error),
        granted: this.#settings.failStrategy === 'open' ? units : 0,
      }),
    });
    return this.#hooks.after(identity, grant);
  }

  /**
   * Waits until the call passes: first come, first served for each identity within this process. Asks at the instants
   * that refusals announce, so nothing is polled. A block is waited for like a limit. Waits on the store's clock: in
   * real time on Redis, on its `clock` for a `MemoryStore`.
   *
   * Resolves with a decision that lets the call pass; that is a degraded one under `failStrategy: 'open'`. Under
   * `'closed'` a call with a finite `timeoutMs` goes on waiting while the store gives no answer, and asks again at
   * intervals of up to a second. A caller that no longer waits is not charged: what came too late is given back.
   *
   * @throws (rejects) `RateLimitExceeded` where waiting does not help: the cost is impossible, or the store gave no
   * answer under `'closed'` and there is no `timeoutMs`. `ERR_WAIT_TIMEOUT` as soon as it is known that the call will
   * not pass in time, `ERR_WAIT_QUEUE_FULL`, the signal's reason; otherwise as `allow` does. Ended by `close()`.
   * @example
   * await limiter.wait('api.example.com', { timeoutMs: 30_000, signal: AbortSignal.timeout(60_000) });
   */
  async wait(identity: Identity, options?: WaitOptions): Promise<PassedDecision> {
    const { bounds, call } = readable('options', () => readWaitOptions(options));
    const { limits } = this.#readCall(call);
    checkLeaseless(limits);
    const key = this.#keyOf(limits, identity);
    const ask: Ask = (listener) => {
      this.#check('allow', identity, call, { listener }).catch(listener.failed);
    };
    const decision = await this.#hooks.after(identity, this.#waiting.wait(key, ask, bounds));
    if (!decision.allowed) {
      throw new RateLimitExceeded(decision as Refusal);
    }
    return decision as PassedDecision;
  }

  /**
   * Takes a place under every concurrency limit, and is charged under every rate limit beside them: all or nothing,
   * in one script call. Answers as `allow` does; the answer is also the handle of the place. Free the place with
   * `release` or `await using`; if this process ends before, the lease ends by itself.
   *
   * An answer that comes after its deadline, when the caller has been given a degraded one, frees its place at once.
   *
   * @throws (rejects) `ERR_INVALID_OPTION` where no limit is a concurrency limit; otherwise as `allow` does.
   * @example
   * await using lease = await limiter.acquire('user:12345');
   * if (!lease.allowed) return respond(lease.degraded ? 503 : 429);
   * await work();                                       // the place is free when this block is left
   */
  async acquire(identity: Identity, options?: AcquireOptions): Promise<Lease> {
    const { heartbeat, call } = readable('options', () => readAcquireOptions(options));
    const { limits } = this.#readCall(call);
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
    const decision = await this.#check('acquire', identity, call, { lease: id });
    const lease = leaseOf(
      decision,
      decision.allowed && !decision.degraded
        ? {
            id,
            ttlMs: Math.min(...limits.enforcedTtlsMs),
            heartbeatMs: heartbeat ? Math.min(...limits.ttlsMs) / 3 : undefined,
            clock,
            sentAt,
            counted:
              limits.leaseCounts.length === 0
                ? undefined
                : this.#settings.counts.heldLeases.take(
                    sentAt + Math.min(...limits.enforcedTtlsMs) * 1_000,
                    limits.leaseCounts,
                  ),
            ask: async (leaseVerb, heard) => {
              this.#checkOpen();
              return this.#askLease(leaseVerb, limits, key, id, heard);
            },
          }
        : undefined,
    );
    return this.#hooks.after(identity, Promise.resolve(lease));
  }

  /**
   * Gives back what a decision of this limiter charged, for a call that did not do its work after all: never more
   * than was charged, and never into a window that has begun since. Answers what a call of cost 1 would now be
   * answered. Once per decision.
   *
   * @throws (rejects) `ERR_NOT_REFUNDABLE` for what is not a decision of this limiter, charged nothing, or was
   * refunded before; a `StoreError` when the store gives no answer, whatever the failure strategy: then it is not
   * known whether the units are back, and it is not tried again.
   * @example
   * const decision = await limiter.allow('user:12345', { cost: 10 });
   * if (decision.allowed && !(await charge(card))) await limiter.refund(decision);
   */
  async refund(decision: Decision): Promise<Decision> {
    this.#checkOpen();
    return this.#calls.submit(redeem(decision, this), { read: readDecision });
  }

  /**
   * Charges an estimate as `allow` charges a cost, for work whose cost is known only afterwards; `settle` then makes
   * the actual cost of it. Left unsettled it ends by itself after `ttl`, and the estimate stays charged. Under
   * `failStrategy: 'open'` a reservation made without the store may be settled too: that charges the actual cost.
   *
   * @throws (rejects) as `allow` does.
   * @example
   * const reservation = await limiter.reserve('user:12345', { cost: 4_000, ttl: '2m' });
   * if (!reservation.allowed) return respond(429);
   * try {
   *   const { usage } = await complete(prompt);
   *   await reservation.settle(usage.total_tokens);
   * } catch (error) {
   *   await reservation.cancel();
   *   throw error;
   * }
   */
  async reserve(identity: Identity, options: ReserveOptions): Promise<Reservation> {
    const { ttlMs, call } = readable('options', () => readReserveOptions(options));
    const { limits, cost } = this.#readCall(call);
    checkLeaseless(limits);
    checkSharding(this.#settings.sharding, 'reserve', limits.limits.length + 1);
    const key = this.#keyOf(limits, identity);
    const pending = new PendingReservation(cost, {
      timeoutMs: this.#settings.timeoutMs,
      clock: this.#settings.store.time,
      checkOpen: () => this.#checkOpen(),
      send: (record, details, read) =>
        this.#calls.submit(
          { key, shape: limits.shape('settle', 1), record, details },
          { read: (_, reply, at) => read(reply, at) },
        ),
    });
    const decision = await this.#reserve(limits, key, cost, ttlMs, pending);
    return this.#hooks.after(identity, Promise.resolve(pending.answer(decision)));
  }

  /**
   * Charges a cost whatever is left, for what turned out worse than it looked: into debt up to each limit's
   * `maxDebt`, which has to be made up for before anything passes again. Where no limit has `maxDebt`, an identity that
   * has nothing left is not penalized; one process warning says so. Answers what a call of cost 1 would now
   * be answered.
   *
   * @throws (rejects) as `allow` does.
   * @example
   * await limiter.penalize('user:12345', 20);      // after a failed login
   */
  async penalize(
    identity: Identity,
    cost: number,
    options?: Pick<CallOptions, 'limits'>,
  ): Promise<Decision> {
    const { limits } = this.#readCall(options);
    const shape = limits.shape('penalize', readCost('cost', cost));
    if (!this.#warnedOfPenalty && !limits.limits.some(({ maxDebt }) => maxDebt > 0)) {
      this.#warnedOfPenalty = true;
      process.emitWarning(
        '`penalize` was called where no limit has `maxDebt`: it takes what is left, and does nothing where nothing is left. Give a limit `maxDebt`, the units that may be owed.',
        { type: 'RateLimiterWarning', code: 'DRL_PENALTY_WITHOUT_DEBT' },
      );
    }
    return this.#calls.submit({ key: this.#keyOf(limits, identity), shape }, this.#looked);
  }

  /**
   * Refuses every call of the identity for a time, under all limiters of this namespace that say `blocks: true`
   * and share this one's key. A new block replaces the one before.
   *
   * @throws (rejects) `ERR_INVALID_OPTION` where this limiter does not say `blocks: true`; a `StoreError` when the
   * store gives no answer, whatever the failure strategy.
   * @example
   * await limiter.block('user:12345', '15m');
   */
  async block(identity: Identity, duration: Duration): Promise<void> {
    this.#checkBlocks();
    const ms = readDurationString('duration', duration, 1, LONGEST_BLOCK_MS, '15m');
    await this.#setBlock(identity, blockShape('penalize', ms));
  }

  /**
   * Lifts the identity's block, if there is one.
   *
   * @throws (rejects) as `block` does.
   * @example
   * await limiter.unblock('user:12345');
   */
  async unblock(identity: Identity): Promise<void> {
    this.#checkBlocks();
    await this.#setBlock(identity, blockShape('reset', 0));
  }

  /**
   * Forgets what the identity has used, under every limit, as if it had never called; not its block. Also the
   * cure for a key that holds what this library did not write.
   *
   * @throws (rejects) a `StoreError` when the store gives no answer, whatever the failure strategy: there is no
   * decision to degrade. Otherwise as `allow` does.
   * @example
   * await limiter.reset('user:12345');
   */
  async reset(identity: Identity, options?: Pick<CallOptions, 'limits'>): Promise<void> {
    const { limits } = this.#readCall(options);
    await this.#calls.submit(
      { key: this.#keyOf(limits, identity), shape: limits.shape('reset', 1) },
      NOTHING,
    );
  }

  /**
   * Connects, and runs the decision script once on an identity of its own, so that what is wrong shows before
   * traffic does. Optional: the first calls wait for the first connection as well, for ten times `timeoutMs`, but not less
   * than a second nor more than five. A connection that is known to be away is not waited for. Warns with
   * `DRL_SHARDED` where it sees that several servers share the keys out and the option `sharding` does not say so.
   *
   * @throws (rejects) `ERR_CLIENT_MISSING`, or a `StoreError`: no connection, `NOAUTH`, `NOPERM`, …
   * @example
   * await limiter.ready();
   */
  async ready(): Promise<void> {
    this.#checkOpen();
    const { limits } = this.#settings;
    const key = this.#keyOf(limits, PROBE);
    const probe = (verb: 'allow' | 'peek' | 'reset') =>
      this.#calls.submit(
        verb === 'allow' && limits.ttlsMs.length > 0
          ? { key, shape: limits.shape('acquire', 1), details: [randomUUID()] }
          : { key, shape: limits.shape(verb, 1) },
        NOTHING,
      );
    // Every command of the script: a key that occurs twice is read and written by the driver (GET, PSETEX), a fresh
    // one alone by lone.lua (SET), and a reset deletes.
    await probe('reset');
    await Promise.all([probe('allow'), probe('peek')]);
    await probe('reset');
    await probe('allow');
    await probe('reset');
    await this.#warnOfShards();
  }

  async #warnOfShards(): Promise<void> {
    const { store, sharding, namespace, hashSecret } = this.#settings;
    if (store.warn === undefined || sharding === 'key') {
      return;
    }
    const keyOf = (identity: string): string =>
      `${namespace}:token_bucket:${digestIdentity(identity, hashSecret)}`;
    if (await seesShards(this.#calls, keyOf, sharding === 'hash_tag')) {
      store.warn(
        'DRL_SHARDED',
        sharding === undefined
          ? "Several servers behind `redis` share the keys out (a proxy such as Twemproxy?), so calls that share a script call are counted on the wrong server and limits do not hold. Set `sharding: 'key'`, or 'hash_tag'."
          : "`sharding` is 'hash_tag', but keys with one hash tag are on different servers, so limits do not hold. Let the proxy hash what stands between braces only (Twemproxy: `hash_tag: \"{}\"`; Envoy: `enable_hashtagging: true`), or set `sharding: 'key'`.",
      );
    }
  }

  /**
   * Ends all waiting, lets pending calls settle, then ends the connection if it was opened from a URL and no other
   * limiter uses it. From here on calls reject with `ERR_LIMITER_CLOSED`. May be called again.
   *
   * @example
   * await limiter.close();
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#leaveKeySpace();
    this.#waiting.close(closed());
    await this.#calls.idle();
    this.#endStats();
    await this.#settings.store.close();
  }

  #check(
    verb: 'allow' | 'peek' | 'acquire',
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
    verb: 'allow' | 'peek' | 'acquire',
    limits: LimitSet,
    key: string,
    cost: number,
    { lease, listener }: Caller,
  ): Promise<Decision> {
    if (cost > limits.maxCost) {
      if (verb !== 'peek') {
        this.#settings.counts.impossible += 1;
      }
      const decision = impossible(limits.limits, cost, limits.maxCost);
      listener?.decided(decision);
      return Promise.resolve(decision);
    }
    const asked = { key, shape: limits.shape(verb, cost) };
    if (listener !== undefined) {
      return this.#calls.submit(asked, this.#heard(listener));
    }
    if (lease === undefined) {
      return this.#calls.submit(asked, verb === 'peek' ? this.#looked : this.#charged);
    }
    return this.#calls.submit(
      { ...asked, details: [lease] },
      {
        ...this.#charged,
        late: (late, reply, at) => {
          if (readDecision(late, reply, at).allowed) {
            // Nobody waits for it, and `onError` is told of a failure.
            this.#askLease('release', limits, key, lease).catch(() => {});
          }
        },
      },
    );
  }

  #askLease(
    verb: 'renew' | 'release',
    limits: LimitSet,
    key: string,
    lease: string,
    heard?: (held: boolean) => void,
  ): Promise<boolean> {
    return this.#calls.submit(
      { key, shape: limits.shape(verb, 1), details: [lease] },
      {
        read: (_, reply, at) => {
          const held = readHeld(reply, at);
          heard?.(held);
          return held;
        },
      },
    );
  }

  #reserve(
    limits: LimitSet,
    key: string,
    cost: number,
    ttlMs: number,
    pending: PendingReservation,
  ): Promise<Decision> {
    if (cost > limits.maxCost) {
      this.#settings.counts.impossible += 1;
      return Promise.resolve(impossible(limits.limits, cost, limits.maxCost));
    }
    return this.#calls.submit(
      {
        key,
        shape: limits.shape('reserve', cost),
        record: pending.record,
        details: reserveDetails(ttlMs),
      },
      {
        ...this.#looked,
        decides: true,
        read: (asked, reply, at) => this.#counted(readDecision(asked, reply, at), asked),
        late: (late, reply, at) => {
          if (readDecision(late, reply, at).allowed) {
            pending.late();
          }
        },
      },
    );
  }

  /** A decision that charges nothing, or what it charged can be had back in another way. */
  readonly #looked: Outcome<Decision> = {
    read: readDecision,
    degrade: (error) => this.#degraded(error),
  };

  /** A decision that can be refunded. */
  readonly #charged: Outcome<Decision> = {
    decides: true,
    read: (asked, reply, at) =>
      this.#withReceipt(this.#counted(readDecision(asked, reply, at), asked), asked, reply, at),
    degrade: (error) => this.#degraded(error),
  };

  /** A decision that can be refunded, for one who has to know of it in the turn in which it is made. */
  #heard({ decided, chargedLate }: Listener): Outcome<Decision> {
    const tell = (decision: Decision): Decision => {
      decided(decision);
      return decision;
    };
    return {
      decides: true,
      read: (asked, reply, at) => tell(this.#charged.read(asked, reply, at)),
      degrade: (error) => tell(this.#degraded(error)),
      late: (late, reply, at) => {
        const decision = readDecision(late, reply, at);
        if (decision.allowed) {
          chargedLate(this.#withReceipt(decision, late, reply, at));
        }
      },
    };
  }

  /** Refunds a charge that nobody wanted any more; where the store gives no answer it stays. */
  #giveBack(decision: Decision): void {
    this.#calls.submit(redeem(decision, this), NOTHING).catch(() => {
      // `onError` was told.
    });
  }

  #counted(decision: Decision, { shape }: Entry): Decision {
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
    return degraded(this.#settings.failStrategy === 'open', error);
  }

  #keyOf(limits: LimitSet, identity: Identity): string {
    return limits.keyPrefix + digestIdentity(identity, this.#settings.hashSecret);
  }

  async #setBlock(identity: Identity, shape: Shape): Promise<void> {
    await this.#calls.submit({ key: this.#keyOf(this.#settings.limits, identity), shape }, NOTHING);
  }

  #checkBlocks(): void {
    this.#checkOpen();
    if (!this.#settings.blocks) {
      throw invalidOption(
        'blocks',
        'true for a limiter that sets blocks',
        undefined,
        'Make it with `blocks: true`, or it would not heed them.',
      );
    }
  }

  #readCall(options: CallOptions | undefined): { limits: LimitSet; cost: number } {
    this.#checkOpen();
    if (options === undefined) {
      return { limits: this.#settings.limits, cost: 1 };
    }
    const { cost, limits } = readable('options', () => readCallOptions(options));
    return {
      limits: limits === undefined ? this.#settings.limits : this.#limitsOfCall(limits),
      cost,
    };
  }

  #limitsOfCall(limits: unknown): LimitSet {
    return readable('limits', () => this.#limitsOfCalls.of(limits));
  }

  #makeLimits(limits: unknown): LimitSet {
    const { namespace, blocks, counts, store, sharding } = this.#settings;
    const set = new LimitSet(namespace, limits, blocks, counts, store.clock);
    checkSharding(sharding, 'limits', set.limits.length);
    return set;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) {
      throw closed();
    }
  }
}

function readDecision({ shape }: Entry, reply: readonly number[], at: number): Decision {
  const verdicts = readVerdicts(shape, reply, at);
  return decisionOf(shape, verdicts, reply[0]!, readGranted(shape, reply, at));
}

function checkLeaseless({ ttlsMs }: LimitSet): void {
  if (ttlsMs.length > 0) {
    throw new RateLimiterError(
      'ERR_LEASE_REQUIRED',
      'A limiter with a concurrency limit gives leases, which have to be released. Call `acquire`.',
    );
  }
}

function closed(): RateLimiterError {
  return new RateLimiterError(
    'ERR_LIMITER_CLOSED',
    'The limiter was closed. Make calls before `close()`.',
  );
}
