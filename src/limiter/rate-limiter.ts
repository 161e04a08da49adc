import type { Limit } from '../algorithms/limit.ts';
import type { Decision, GrantDecision, PassedDecision } from '../base/decision.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption } from '../base/errors.ts';
import type { Identity } from '../base/identity.ts';
import { liveLimiters } from '../observe/stats-registry.ts';
import type { LimiterStats } from '../observe/stats.ts';
import { readable } from '../options/read-options.ts';
import { readWaitOptions } from './call-options.ts';
import type { AcquireOptions, CallOptions, ReserveOptions, WaitOptions } from './call-options.ts';
import { rememberLocation } from './charged-keys.ts';
import { Decider } from './decider.ts';
import { HookCaller } from './hooks.ts';
import type { Lease } from './lease.ts';
import { blockShape } from './limit-set.ts';
import { readLimiterOptions } from './limiter-options.ts';
import type { RateLimiterOptions, Settings } from './limiter-options.ts';
import { RateLimitExceeded } from './rate-limit-exceeded.ts';
import type { RefusedDecision } from './rate-limit-exceeded.ts';
import type { Reservation } from './reservation.ts';
import { warnOfSharedKeys } from './shared-keys-warning.ts';
import { WaitQueue } from './wait-queue.ts';
import type { Ask } from './wait-queue.ts';

const LONGEST_BLOCK_MS = 10 * 366 * 86_400_000;

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
  readonly #decider: Decider;
  readonly #hooks: HookCaller;
  readonly #waiting: WaitQueue;
  readonly #endStats: () => void;
  readonly #leaveKeySpace: () => void;
  #closing: Promise<void> | undefined;

  constructor(options: RateLimiterOptions) {
    this.#settings = readLimiterOptions(options);
    this.#hooks = new HookCaller(this.#settings.hooks);
    this.#decider = new Decider(this.#settings, (error) => this.#hooks.report(error));
    this.#waiting = new WaitQueue({
      clock: this.#settings.store.time,
      isShared: this.#settings.store.isShared,
      giveBack: (decision) => this.#decider.giveBack(decision),
    });
    this.#leaveKeySpace = warnOfSharedKeys(this, this.#settings);
    rememberLocation(this, this.#settings);
    const { counts, namespace, store } = this.#settings;
    store.prepare?.();
    this.#endStats = liveLimiters.register(this, namespace, counts);
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
    return this.#hooks.after(identity, this.#decider.decide('allow', identity, options));
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
    return this.#decider.decide('peek', identity, options);
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
  ): Promise<GrantDecision> {
    return this.#hooks.after(identity, this.#decider.grant(identity, units, options));
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
    const key = this.#decider.queueKey(identity, call);
    const ask: Ask = (listener) => {
      this.#decider.decide('allow', identity, call, { listener }).catch(listener.failed);
    };
    const decision = await this.#hooks.after(identity, this.#waiting.wait(key, ask, bounds));
    if (!decision.allowed) {
      throw new RateLimitExceeded(decision as RefusedDecision);
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
    return this.#hooks.after(identity, this.#decider.acquire(identity, options));
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
    return this.#decider.refund(decision);
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
    return this.#hooks.after(identity, this.#decider.reserve(identity, options));
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
    return this.#decider.penalize(identity, cost, options);
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
    await this.#decider.setBlock(identity, blockShape('penalize', ms));
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
    await this.#decider.setBlock(identity, blockShape('reset', 0));
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
    await this.#decider.reset(identity, options);
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
    await this.#decider.warmUp();
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
    this.#waiting.close(this.#decider.close());
    await this.#decider.idle();
    try {
      this.#endStats();
    } finally {
      // Also where the clock that a MemoryStore was given throws.
      await this.#settings.store.close();
    }
  }

  #checkBlocks(): void {
    this.#decider.checkOpen();
    if (!this.#settings.blocks) {
      throw invalidOption(
        'blocks',
        'true for a limiter that sets blocks',
        undefined,
        'Make it with `blocks: true`, or it would not heed them.',
      );
    }
  }
}
