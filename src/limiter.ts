import type { Limit } from './algorithms/limit.ts';
import { decisionOf, degraded, impossible } from './decision.ts';
import type { Decision } from './decision.ts';
import { RateLimiterError, StoreError } from './errors.ts';
import { checks } from './events.ts';
import { digestIdentity } from './identity.ts';
import type { Identity } from './identity.ts';
import { noteKeySpace } from './key-space.ts';
import { LimitSet } from './limit-set.ts';
import type { Operation } from './limit-set.ts';
import { readable } from './options.ts';
import { readCallOptions, readLimiterOptions } from './limiter-options.ts';
import type {
  CallOptions,
  FailStrategy,
  Hooks,
  LimiterOptions,
  Settings,
} from './limiter-options.ts';

/** Two parts, so that no caller's own identity is ever this one. */
const PROBE: Identity = ['distributed-rate-limiter', 'ready'];

/**
 * One or several limits, where their state lives, and what happens when that place is away.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for every misspelt, nonsensical or missing option.
 * @example
 * const limiter = new RateLimiter({ redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 });
 * const { allowed, remaining, retryAfterMs } = await limiter.allow('user:12345');
 */
export class RateLimiter {
  readonly #settings: Settings;
  readonly #limitsOfCalls = new WeakMap<readonly Limit[], LimitSet>();
  readonly #reported = new WeakSet<StoreError>();
  readonly #hookFailed = new Set<string>();
  #pending = 0;
  #closing: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  constructor(options: LimiterOptions) {
    this.#settings = readLimiterOptions(options);
    noteKeySpace(this.#settings);
  }

  /**
   * Decides one call and charges it if it passes: under all limits, or under none. Never waits longer than
   * `timeoutMs`. A store that gives no answer makes a degraded decision, by the failure strategy.
   *
   * @throws (rejects) `ERR_INVALID_IDENTITY`, `ERR_INVALID_COST`, `ERR_INVALID_OPTION` for what is never right,
   * `ERR_LIMITER_CLOSED` after `close()`, `ERR_CLIENT_MISSING` where a URL finds no client library; a
   * `StoreError` only under `failStrategy: 'throw'`.
   * @example
   * const decision = await limiter.allow('user:12345', { cost: 3 });
   * if (!decision.allowed) respond(decision.degraded ? 503 : 429);
   */
  allow(identity: Identity, options?: CallOptions): Promise<Decision> {
    const decision = this.#check('allow', identity, options);
    const { onAllow, onBlock } = this.#settings.hooks;
    if (onAllow === undefined && onBlock === undefined) {
      return decision;
    }
    return decision.then((made) => {
      if (made.allowed) {
        this.#callHook('onAllow', onAllow, identity, made);
      } else {
        this.#callHook('onBlock', onBlock, identity, made);
      }
      return made;
    });
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
   * Forgets what the identity has used, under every limit, as if it had never called. Also the cure for a key
   * that holds what this library did not write.
   *
   * @throws (rejects) a `StoreError` when the store gives no answer, whatever the failure strategy: there is no
   * decision to degrade. Otherwise as `allow` does.
   * @example
   * await limiter.reset('user:12345');
   */
  async reset(identity: Identity, options?: Pick<CallOptions, 'limits'>): Promise<void> {
    const { limits } = this.#readCall(options);
    const digest = digestIdentity(identity, this.#settings.hashSecret);
    await this.#submit('reset', limits, digest, 1, 'throw');
  }

  /**
   * Connects, and runs the decision script once on an identity of its own, so that what is wrong shows before
   * traffic does. Optional. Waits for a first connection up to ten times `timeoutMs`.
   *
   * @throws (rejects) `ERR_CLIENT_MISSING`, or a `StoreError`: no connection, `NOAUTH`, `NOPERM`, …
   * @example
   * await limiter.ready();
   */
  async ready(): Promise<void> {
    this.#checkOpen();
    const { store, limits, hashSecret } = this.#settings;
    const digest = digestIdentity(PROBE, hashSecret);
    await store.ready(async () => {
      // Every command of the script: a key that occurs twice is read and written by the general path (GET, PSETEX),
      // a fresh one alone by the fast path (SET), and a reset deletes.
      const probe = (operation: Operation) => this.#submit(operation, limits, digest, 1, 'throw');
      await probe('reset');
      await Promise.all([probe('allow'), probe('peek')]);
      await probe('reset');
      await probe('allow');
      await probe('reset');
    });
  }

  /**
   * Lets pending calls settle, then ends the connection if it was opened from a URL and no other limiter uses
   * it. From here on calls reject with `ERR_LIMITER_CLOSED`. May be called again.
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
    if (this.#pending > 0) {
      await new Promise<void>((resolve) => (this.#onIdle = resolve));
    }
    await this.#settings.store.close();
  }

  #check(
    operation: 'allow' | 'peek',
    identity: Identity,
    options: CallOptions | undefined,
  ): Promise<Decision> {
    try {
      const { limits, cost } = this.#readCall(options);
      const digest = digestIdentity(identity, this.#settings.hashSecret);
      if (!checks.hasSubscribers) {
        return this.#decide(operation, limits, digest, cost);
      }
      return checks.tracePromise(() => this.#decide(operation, limits, digest, cost), {
        operation,
        namespace: this.#settings.namespace,
        cost,
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #decide(
    operation: 'allow' | 'peek',
    limits: LimitSet,
    digest: string,
    cost: number,
  ): Promise<Decision> {
    if (cost > limits.maxCost) {
      return Promise.resolve(impossible(limits.maxCost));
    }
    return this.#submit(operation, limits, digest, cost, this.#settings.failStrategy);
  }

  #submit(
    operation: Operation,
    limits: LimitSet,
    digest: string,
    cost: number,
    failStrategy: FailStrategy,
  ): Promise<Decision> {
    const { store, timeoutMs, maxInFlight } = this.#settings;
    const shape = limits.shape(operation, cost);
    const key = limits.keyPrefix + digest;
    this.#pending += 1;
    return new Promise((resolve, reject) => {
      store.submit({
        key,
        shape,
        timeoutMs,
        maxInFlight,
        settle: (verdicts, now) => {
          resolve(decisionOf(shape, verdicts, now));
          this.#settled();
        },
        fail: (error) => {
          if (error instanceof StoreError) {
            if (failStrategy === 'throw') {
              reject(error);
            } else {
              resolve(degraded(failStrategy === 'open', error));
            }
            this.#report(error);
          } else {
            reject(error);
          }
          this.#settled();
        },
      });
    });
  }

  #settled(): void {
    this.#pending -= 1;
    if (this.#pending === 0) {
      this.#onIdle?.();
    }
  }

  /** One error stands for one failed store call, or for the whole time in which calls are answered without one. */
  #report(error: StoreError): void {
    if (!this.#reported.has(error)) {
      this.#reported.add(error);
      this.#callHook('onError', this.#settings.hooks.onError, error);
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
    const known = this.#limitsOfCalls.get(limits as readonly Limit[]);
    if (known !== undefined) {
      return known;
    }
    const set = readable('limits', () => new LimitSet(this.#settings.namespace, limits));
    this.#limitsOfCalls.set(limits as readonly Limit[], set);
    return set;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) {
      throw new RateLimiterError(
        'ERR_LIMITER_CLOSED',
        'The limiter was closed. Make calls before `close()`.',
      );
    }
  }

  /** A hook's own failure never reaches a caller; the first one of each hook is a process warning. */
  #callHook<A extends unknown[]>(
    name: keyof Hooks,
    hook: ((...args: A) => unknown) | undefined,
    ...args: A
  ): void {
    if (hook === undefined) {
      return;
    }
    try {
      const result = hook(...args);
      if (typeof (result as Partial<PromiseLike<unknown>> | undefined)?.then === 'function') {
        (result as PromiseLike<unknown>).then(undefined, () => this.#warnOfHook(name));
      }
    } catch {
      this.#warnOfHook(name);
    }
  }

  #warnOfHook(name: keyof Hooks): void {
    if (!this.#hookFailed.has(name)) {
      this.#hookFailed.add(name);
      process.emitWarning(
        `The hook \`${name}\` failed. Decisions are not affected; further failures are not reported.`,
        {
          type: 'RateLimiterWarning',
          code: 'DRL_HOOK_FAILED',
        },
      );
    }
  }
}
