import type { Limit } from '../algorithms/limit.ts';
import type {
  BlockedDecision,
  Decision,
  GivenCost,
  GivenUnits,
  GrantDecision,
  LimitedDecision,
  PassedDecision,
} from '../base/decision.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption } from '../base/errors.ts';
import type { AnyIdentity, CounterOf, IdentityOf } from '../base/identity.ts';
import { liveLimiters } from '../observe/stats-registry.ts';
import type { LimiterStats } from '../observe/stats.ts';
import { readable } from '../options/read-options.ts';
import { readWaitOptions } from './call-options.ts';
import type {
  AcquireOptions,
  AnyCallOptions,
  CallOptions,
  ReserveOptions,
  WaitOptions,
} from './call-options.ts';
import { rememberLocation } from './charged-keys.ts';
import { Decider } from './decider.ts';
import { makeParts } from './parts.ts';
import type { Parts } from './parts.ts';
import { Reservations } from './reservations.ts';
import { StateChanges } from './state-changes.ts';
import { warmUp } from './warm-up.ts';
import { HookCaller } from './hooks.ts';
import type { Lease } from './lease.ts';
import { blockShape } from './limit-set.ts';
import { rememberClock } from './limiter-clock.ts';
import { readLimiterOptions } from './limiter-options.ts';
import type { RateLimiterOptions, Settings } from './limiter-options.ts';
import type { ObservedResponse, ObserveOptions } from './observed-response.ts';
import { RateLimitExceeded } from './rate-limit-exceeded.ts';
import type { RefusedDecision } from './rate-limit-exceeded.ts';
import type { Reservation, ReservationHandle } from './reservation.ts';
import { warnOfSharedKeys } from './shared-keys-warning.ts';
import { WaitQueue } from './wait-queue.ts';
import type { AnsweredTurn, MakeCall } from './wait-queue.ts';

const LONGEST_BLOCK_MS = 10 * 366 * 86_400_000;

/**
 * Limits calls by identity, under one or several limits, with state in Redis or in memory.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`, once for all options that are misspelt, wrong or missing;
 * `ERR_RUNTIME_UNSUPPORTED` on Cloudflare Workers for a URL, or for a client that was made in another request.
 * @example
 * const limiter = new RateLimiter({ redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 });
 * const { allowed, remaining, retryAfterMs } = await limiter.allow('user:12345');
 */
export class RateLimiter<By extends string = never, Unit extends string = never> {
  readonly #settings: Settings;
  readonly #parts: Parts;
  readonly #decider: Decider;
  readonly #reservations: Reservations;
  readonly #changes: StateChanges;
  readonly #hooks: HookCaller;
  readonly #waiting: WaitQueue;
  readonly #endStats: () => void;
  readonly #leaveKeySpace: () => void;
  #closing: Promise<void> | undefined;

  constructor(options: RateLimiterOptions<By, Unit>) {
    this.#settings = readLimiterOptions(options);
    this.#hooks = new HookCaller(this.#settings.hooks, this.#settings.store.time);
    this.#parts = makeParts(this.#settings, (error) => this.#hooks.report(error));
    this.#decider = new Decider(this.#parts);
    this.#reservations = new Reservations(this.#parts, (located, cost) =>
      this.#decider.decideLocated(located, cost),
    );
    this.#changes = new StateChanges(this.#parts);
    this.#waiting = new WaitQueue({
      clock: this.#settings.store.time,
      isShared: this.#settings.store.isShared,
      giveBack: (decision) => this.#changes.giveBack(decision),
    });
    this.#leaveKeySpace = warnOfSharedKeys(this, this.#settings);
    const { counts, namespace, store, storeId, limits, hashSecret } = this.#settings;
    rememberLocation(this, { storeId, formOf: (limit) => limits.formOf(limit), hashSecret });
    rememberClock(this, store.time);
    store.prepare?.();
    this.#endStats = liveLimiters.register(this, namespace, counts);
  }

  /**
   * The limiter's own limits, in the order given. They govern every call that passes no `limits`.
   *
   * @example
   * limiter.limits.map(({ name, capacity, windowMs }) => `${name}: ${capacity} in ${windowMs} ms`);
   */
  get limits(): readonly Limit<string, By, Unit>[] {
    return this.#settings.limits.limits;
  }

  /** Whether `observe` can be called: the option `observes`. */
  get observes(): boolean {
    return this.#settings.observes;
  }

  /**
   * Returns what this limiter has counted in this process since it was made. Counting is always on, and an exporter
   * reads the counts on demand.
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
   * `timeoutMs`. If the store gives no answer, the failure strategy makes a degraded decision.
   *
   * @throws (rejects) `ERR_INVALID_IDENTITY`, `ERR_INVALID_COST` or `ERR_INVALID_OPTION` for a wrong argument;
   * `ERR_LEASE_REQUIRED` under a concurrency limit; `ERR_TOO_MANY_LIMITS` if the identity has 32 other states that
   * still count; `ERR_LIMITER_CLOSED` after `close()`; `ERR_CLIENT_MISSING` if a
   * URL is given and no client library is installed; `ERR_RUNTIME_UNSUPPORTED` in another request on Cloudflare
   * Workers; a `StoreError` only under `failStrategy: 'throw'`.
   * @example
   * const decision = await limiter.allow('user:12345', { cost: 3 });
   * if (!decision.allowed) respond(decision.degraded ? 503 : 429);
   */
  allow(identity: IdentityOf<By>, options?: CallOptions<By, Unit>): Promise<Decision<Unit>> {
    return this.#hooks.after(identity, this.#decider.decide('allow', identity, options)) as Promise<
      Decision<Unit>
    >;
  }

  /**
   * Returns what `allow` would answer now. Charges nothing, and calls neither `onAllow` nor `onBlock`. `remaining` is
   * what could pass at once, this call's own cost included.
   *
   * @throws (rejects) like `allow`.
   * @example
   * const { remaining } = await limiter.peek('user:12345');
   */
  peek(identity: IdentityOf<By>, options?: CallOptions<By, Unit>): Promise<Decision<Unit>> {
    return this.#decider.decide('peek', identity, options) as Promise<Decision<Unit>>;
  }

  /**
   * Charges as many of `units` as pass all limits now, and returns that number as `granted`. If none passes, the call
   * is refused, and `retryAfterMs` is the wait for one unit. If the store gives no answer, `granted` is `units` under
   * `failStrategy: 'open'` and 0 under `'closed'`.
   *
   * @throws (rejects) like `allow`.
   * @example
   * const { granted } = await limiter.allowUpTo('importer', 500);
   * await send(rows.splice(0, granted));
   */
  async allowUpTo(
    identity: IdentityOf<By>,
    units: GivenUnits<Unit>,
    options?: Pick<CallOptions<By, Unit>, 'limits'>,
  ): Promise<GrantDecision<Unit>> {
    const granted = this.#decider.grant(identity, units, options);
    return this.#hooks.after(identity, granted) as Promise<GrantDecision<Unit>>;
  }

  /**
   * Waits until the call passes: first come, first served for each identity within this process. Asks again at the
   * instant that a refusal announces, without polling. Waits for a block as for a limit. Waits on the store's clock:
   * in real time on Redis, on its `clock` for a `MemoryStore`.
   *
   * Resolves with a decision that lets the call pass, which may be a degraded one under `failStrategy: 'open'`. Under
   * `'closed'`, a call with a finite `timeoutMs` keeps waiting while the store gives no answer, and asks again at
   * intervals of up to 1 second. A caller that has stopped waiting is not charged: a late answer is refunded.
   *
   * @throws (rejects) `RateLimitExceeded` if waiting does not help: the cost is impossible, or the store gave no
   * answer under `'closed'` and there is no `timeoutMs`. `ERR_WAIT_TIMEOUT` as soon as it is known that the call will
   * not pass in time; `ERR_WAIT_QUEUE_FULL`; the signal's reason; otherwise like `allow`. `close()` ends all waiting.
   * @example
   * await limiter.wait('api.example.com', { timeoutMs: 30_000, signal: AbortSignal.timeout(60_000) });
   */
  async wait(
    identity: IdentityOf<By>,
    options?: WaitOptions<By, Unit>,
  ): Promise<PassedDecision<Unit>> {
    const { bounds, call } = readable('options', () => readWaitOptions(options));
    const key = this.#decider.queueKey(identity, call);
    const decision = await this.#hooks.after(
      identity,
      this.#waiting.wait(key, this.#callOf(identity, call), bounds),
    );
    if (!decision.allowed) {
      throw new RateLimitExceeded(decision as RefusedDecision);
    }
    return decision as PassedDecision<Unit>;
  }

  /**
   * Answers like `allow`, but a call that a limit or a block refuses waits for its turn first, as `wait` does. A call
   * is decided at once if no other one of its identity waits. A full queue refuses without asking the store.
   *
   * @internal for the guard of HTTP adapters
   */
  async allowInTurn(identity: IdentityOf<By>, options: unknown): Promise<AnsweredTurn> {
    const { bounds, call } = readWaitOptions(options);
    const key = this.#decider.queueKey(identity, call);
    const ask = (polls: boolean): Promise<Decision> =>
      this.#decider.decide('allow', identity, call, { polls });
    let refusal: LimitedDecision | BlockedDecision | undefined;
    if (!this.#waiting.isWaitedFor(key)) {
      const decision = await ask(true);
      if (!canWait(decision) || decision.retryAfterMs > bounds.timeoutMs) {
        this.#hooks.decided(identity, decision);
        return { decision, isQueueFull: false };
      }
      refusal = decision;
    }
    const makeCall = this.#callOf(identity, call);
    const turn = await this.#waiting.waitOrRefuse(key, makeCall, bounds, refusal);
    const decision = turn.decision ?? (await ask(false));
    this.#hooks.decided(identity, decision);
    return { decision, isQueueFull: turn.isQueueFull };
  }

  /**
   * Takes a place under every concurrency limit and charges every rate limit beside them, all or nothing, in one
   * script call. Answers like `allow`; the answer is also the handle of the place. Free the place with `release` or
   * `await using`. If this process ends first, the lease expires.
   *
   * If the answer comes after the deadline, the caller already has a degraded one, and the place is freed at once.
   *
   * @throws (rejects) `ERR_INVALID_OPTION` if there is no concurrency limit; otherwise like `allow`.
   * @example
   * await using lease = await limiter.acquire('user:12345');
   * if (!lease.allowed) return respond(lease.degraded ? 503 : 429);
   * await work();                                       // the place is free when this block is left
   */
  async acquire(
    identity: IdentityOf<By>,
    options?: AcquireOptions<By, Unit>,
  ): Promise<Lease<Unit>> {
    return this.#hooks.after(identity, this.#decider.acquire(identity, options)) as Promise<
      Lease<Unit>
    >;
  }

  /**
   * Refunds what a decision of this limiter charged, once per decision, for a call that did no work after all. Never
   * refunds more than was charged, nor into a window that has begun since. Returns what a call of cost 1 would now be
   * answered.
   *
   * @throws (rejects) `ERR_NOT_REFUNDABLE` for a value that is no decision of this limiter, and for a decision that
   * charged nothing or was refunded before. A `StoreError` if the store gives no answer, under any failure strategy:
   * whether the units are back is then unknown, and the limiter does not try again.
   * @example
   * const decision = await limiter.allow('user:12345', { cost: 10 });
   * if (decision.allowed && !(await charge(card))) await limiter.refund(decision);
   */
  async refund(decision: Decision): Promise<Decision<Unit>> {
    return this.#changes.refund(decision) as Promise<Decision<Unit>>;
  }

  /**
   * Charges an estimate, as `allow` charges a cost, for work whose cost is known only afterwards. `settle` then
   * replaces the estimate by the actual cost. An unsettled reservation expires after `ttl`, and its estimate stays
   * charged. Under `failStrategy: 'open'`, a reservation made without the store can be settled too, which charges the
   * actual cost.
   *
   * @throws (rejects) like `allow`.
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
  async reserve(
    identity: IdentityOf<By>,
    options: ReserveOptions<By, Unit>,
  ): Promise<Reservation<Unit>> {
    const decided = (decision: Decision): void => this.#hooks.decided(identity, decision);
    const reserving: Promise<unknown> = this.#reservations.reserve(identity, options, decided);
    return reserving as Promise<Reservation<Unit>>;
  }

  /**
   * Goes on with a reservation that another process made: an API reserves and puts `reservation.token` into a queue, a
   * worker settles. Sends nothing: the first call of the handle reads the reservation's record. Needs neither the
   * identity nor the same limits, but the same store, `namespace` and `hashSecret`. A reservation is settled once, however
   * many processes resume it: each `settle` and `cancel` is answered the first one's result until the reservation's `ttl`.
   *
   * Each `add` counts in `stats()`, and calls neither `onAllow` nor `onBlock`, for want of an identity. An expired
   * reservation settles as `{ charged: 0, uncharged, expired: true }`; so does one that was made without the store, until
   * its own process settles it.
   *
   * @throws `ERR_INVALID_OPTION` for a value that is no token; `ERR_UNKNOWN_TOKEN` for one of another namespace or
   * `hashSecret`, or that was changed; `ERR_LIMITER_CLOSED`.
   * @example
   * const { expired } = await limiter.resume(job.data.token).settle(usage.total_tokens);
   */
  resume(token: string): ReservationHandle<Unit> {
    const handle: unknown = this.#reservations.resume(token);
    return handle as ReservationHandle<Unit>;
  }

  /**
   * Charges a cost whatever is left, into debt up to each limit's `maxDebt`. The debt must be made up for before a
   * call passes again. If no limit has `maxDebt`, an identity with nothing left is not penalized, and one process
   * warning says so. Returns what a call of cost 1 would now be answered.
   *
   * @throws (rejects) like `allow`.
   * @example
   * await limiter.penalize('user:12345', 20);      // after a failed login
   */
  async penalize(
    identity: CounterOf<By>,
    cost: GivenCost<Unit>,
    options?: Pick<CallOptions<By, Unit>, 'limits'>,
  ): Promise<Decision<Unit>> {
    const answer = this.#changes.penalize(identity as AnyIdentity, cost, options);
    return answer as Promise<Decision<Unit>>;
  }

  /**
   * Gives units to an identity, as compensation or a bonus: they count as if they had not been charged. Gives at most
   * what is charged, debt included, so an identity never has more than its full limit. Units of a log limit, and places
   * of a concurrency limit, stay as they are. Under several limits each gets the units. Returns what a call of cost 1
   * would now be answered.
   *
   * A later `refund` or `settle` of a call that was charged before gives back at most what is still charged.
   *
   * @throws (rejects) `ERR_INVALID_OPTION` if all limits are logs and concurrency limits; otherwise like `allow`.
   * @example
   * await limiter.credit('user:12345', 50);        // the job failed through our own fault
   */
  async credit(
    identity: CounterOf<By>,
    cost: GivenCost<Unit>,
    options?: Pick<CallOptions<By, Unit>, 'limits'>,
  ): Promise<Decision<Unit>> {
    const answer = this.#changes.credit(identity as AnyIdentity, cost, options);
    return answer as Promise<Decision<Unit>>;
  }

  /**
   * Aligns the limits with what a provider says is left, in its answer to a call that they let pass: until the
   * provider's reset no more units pass than that, in any process. Only ever lowers what may pass, because responses
   * arrive out of order. The limits' own numbers count as well. A refusal (429, 503, 529) with `Retry-After` holds back
   * all calls until then. Needs `observes: true`. Resolves with the names of the limits that were aligned, `[]` if the
   * response says nothing about them.
   *
   * Where a provider reports several limits, each goes to a limit of its unit: `requests` to `calls`, `input-tokens`
   * to `input_tokens`, and so on; among these to the one of its name, else of its window, else of its size.
   *
   * @throws (rejects) `ERR_INVALID_OPTION` without `observes: true`, and if all limits are concurrency limits; a
   * `StoreError` if the store gives no answer, under any failure strategy; otherwise like `allow`.
   * @example
   * await limiter.wait('api.github.com');
   * const response = await fetch('https://api.github.com/user');
   * await limiter.observe('api.github.com', response);
   */
  observe(
    identity: IdentityOf<By>,
    response: ObservedResponse,
    options?: ObserveOptions,
  ): Promise<readonly string[]> {
    return this.#changes.observe(identity, response, options);
  }

  /**
   * Refuses every call of the identity for a time, in all limiters with `blocks: true` and the same namespace and
   * key. A new block replaces the previous one.
   *
   * @throws (rejects) `ERR_INVALID_OPTION` if this limiter does not have `blocks: true`; a `StoreError` if the store
   * gives no answer, under any failure strategy.
   * @example
   * await limiter.block('user:12345', '15m');
   */
  async block(identity: CounterOf<By>, duration: Duration): Promise<void> {
    this.#checkBlocks();
    const ms = readDurationString('duration', duration, 1, LONGEST_BLOCK_MS, '15m');
    await this.#changes.setBlock(identity as AnyIdentity, blockShape('penalize', ms));
  }

  /**
   * Lifts the identity's block, if it has one.
   *
   * @throws (rejects) like `block`.
   * @example
   * await limiter.unblock('user:12345');
   */
  async unblock(identity: CounterOf<By>): Promise<void> {
    this.#checkBlocks();
    await this.#changes.setBlock(identity as AnyIdentity, blockShape('reset', 0));
  }

  /**
   * Deletes the identity's usage under every limit, as if it had never called; its block stays. Also repairs a key
   * whose value this library did not write.
   *
   * @throws (rejects) a `StoreError` if the store gives no answer, under any failure strategy, because there is no
   * decision to degrade. Otherwise like `allow`.
   * @example
   * await limiter.reset('user:12345');
   */
  async reset(
    identity: CounterOf<By>,
    options?: Pick<CallOptions<By, Unit>, 'limits'>,
  ): Promise<void> {
    await this.#changes.reset(identity as AnyIdentity, options);
  }

  /**
   * Connects, and runs the decision script once on a reserved identity, to show problems before traffic arrives.
   * Optional: the first calls also wait for the first connection, for ten times `timeoutMs`, but at least 1 and at
   * most 5 seconds. Does not wait for a connection that is known to be away. Warns with `DRL_SHARDED` if several
   * servers share the keys and the option `sharding` is missing.
   *
   * @throws (rejects) `ERR_CLIENT_MISSING`, or a `StoreError`: no connection, `NOAUTH`, `NOPERM`, …
   * @example
   * await limiter.ready();
   */
  async ready(): Promise<void> {
    this.#parts.callReader.checkOpen();
    await warmUp(this.#parts.calls, this.#settings);
  }

  /**
   * Ends all waiting, lets pending calls settle, then closes the connection if it was opened from a URL and no other
   * limiter uses it. Later calls reject with `ERR_LIMITER_CLOSED`. May be called more than once.
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
    this.#waiting.close(this.#parts.callReader.close());
    await this.#parts.calls.idle();
    try {
      this.#endStats();
    } finally {
      // Runs even if the clock passed to a MemoryStore throws.
      await this.#settings.store.close();
    }
  }

  /** The call of a caller that waits for its turn. */
  #callOf(identity: IdentityOf<By>, call: AnyCallOptions): MakeCall {
    return (listener) => {
      this.#decider.decide('allow', identity, call, { listener }).catch(listener.failed);
    };
  }

  #checkBlocks(): void {
    this.#parts.callReader.checkOpen();
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

/**
 * The limiter of limits like these, for a field or a parameter.
 *
 * @example
 * const limits = [tokenBucket({ by: 'org', rate: 600, period: '1m' })];
 * class Api { constructor(readonly limiter: LimiterOf<typeof limits>) {} }
 */
export type LimiterOf<Limits extends readonly Limit<string, string, string>[]> =
  Limits[number] extends Limit<string, infer By, infer Unit> ? RateLimiter<By, Unit> : never;

function canWait(decision: Decision): decision is LimitedDecision | BlockedDecision {
  return decision.reason === 'limited' || decision.reason === 'blocked';
}
