import { makeDegradedDecision } from '../limiter/make-decision.ts';
import type { Cost, Decision } from '../base/decision.ts';
import { RateLimiterError, StoreError } from '../base/errors.ts';
import { realTime } from '../base/timers.ts';
import { HookCaller } from '../limiter/hooks.ts';
import type { AnyIdentity, CounterOf, IdentityOf, IdentityParts } from '../base/identity.ts';
import { warnOfSharedKeys } from '../limiter/shared-keys-warning.ts';
import { costOf, readGivenCost } from '../limiter/cost.ts';
import type { CallOptions } from '../limiter/call-options.ts';
import type { Settings } from '../limiter/limiter-options.ts';
import { CALL } from '../options/option-sets.ts';
import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { Bridge } from './bridge.ts';
import type { Answer, Question } from './exchange.ts';
import { readSyncOptions } from './options.ts';
import type { PlainOptions, RateLimiterSyncOptions } from './options.ts';

const SYNC_CALL: OptionSet = { ...CALL, names: ['cost'] };

/** Options of one call. */
type SyncCallOptions<Unit extends string> = Pick<CallOptions<never, Unit>, 'cost'>;

/**
 * A `RateLimiter` whose calls block: each stops this thread and its event loop until Redis has answered, or
 * `timeoutMs` has passed. For scripts, command lines and build tools that do nothing else meanwhile; never for a
 * server. It makes the same decisions on the same keys, in its own worker thread, which ends with the process. The
 * first call also waits for that thread and its connection, at most as long as `ready` would: ten times `timeoutMs`.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` like `RateLimiter`; `ERR_WORKER_MISSING` if the thread's file is
 * missing, as in a bundle; the first call throws it if that file cannot start.
 * @example
 * const limiter = new RateLimiterSync({ redis: 'redis://localhost:6379', rate: 5, period: '1h', namespace: 'deploy' });
 * const decision = limiter.allow('production');
 * if (!decision.allowed) throw new Error(`Too many deployments. Again in ${decision.retryAfterMs} ms.`);
 */
export class RateLimiterSync<By extends string = never, Unit extends string = never> {
  readonly #settings: Settings;
  readonly #plain: PlainOptions;
  readonly #hooks: HookCaller;
  readonly #leaveKeySpace: () => void;
  #bridge: Bridge;
  #closed = false;

  constructor(options: RateLimiterSyncOptions<By, Unit>) {
    const { settings, plain } = readSyncOptions(options);
    this.#settings = settings;
    this.#plain = plain;
    this.#hooks = new HookCaller(settings.hooks, realTime);
    this.#bridge = new Bridge(plain);
    this.#leaveKeySpace = warnOfSharedKeys(this, settings);
  }

  /**
   * Decides one call and charges it if it passes: under all limits, or under none. `onAllow` or `onBlock` is called
   * before it returns.
   *
   * @throws {RateLimiterError} the rejections of `RateLimiter`'s `allow`; `ERR_WORKER_MISSING` if the thread cannot
   * start.
   * @example
   * const { allowed } = limiter.allow('user:12345', { cost: 3 });
   */
  allow(identity: IdentityOf<By>, options?: SyncCallOptions<Unit>): Decision<Unit> {
    const decision = this.#decide('allow', identity, options);
    this.#hooks.decided(identity, decision);
    return decision as Decision<Unit>;
  }

  /**
   * Returns what `allow` would answer now. Charges nothing, and calls neither `onAllow` nor `onBlock`.
   *
   * @throws {RateLimiterError} like `allow`.
   * @example
   * const { remaining } = limiter.peek('user:12345');
   */
  peek(identity: IdentityOf<By>, options?: SyncCallOptions<Unit>): Decision<Unit> {
    return this.#decide('peek', identity, options) as Decision<Unit>;
  }

  /**
   * Deletes the identity's usage under every limit. Where limits say `by`, under those that count by exactly the parts
   * given: `reset({ org: 'acme' })`.
   *
   * @throws {RateLimiterError} a `StoreError` if the store gives no answer, under any failure strategy; otherwise
   * like `allow`.
   * @example
   * limiter.reset('user:12345');
   */
  reset(identity: CounterOf<By>): void {
    this.#checkOpen();
    const given = identity as AnyIdentity;
    const { limits, hashSecret } = this.#settings;
    limits.locateHome(given, hashSecret);
    const answer = this.#ask({ verb: 'reset', identity: toPlain(given), cost: undefined });
    if (answer.error !== undefined) {
      throw answer.error as Error;
    }
  }

  /**
   * Ends the connection and the thread. Later calls throw `ERR_LIMITER_CLOSED`. Optional, because the thread keeps no
   * process alive. May be called more than once.
   *
   * @example
   * limiter.close();
   */
  close(): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#leaveKeySpace();
      try {
        this.#bridge.ask(
          { verb: 'close', identity: '', cost: undefined },
          this.#settings.timeoutMs,
        );
      } catch {
        // The thread has already ended, as intended.
      }
      this.#bridge.end();
    }
  }

  /** Calls `close` at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #decide(verb: 'allow' | 'peek', identity: AnyIdentity, options: object | undefined): Decision {
    this.#checkOpen();
    const cost = this.#readCost(identity, options);
    const { decision, error } = this.#ask({ verb, identity: toPlain(identity), cost });
    if (decision !== undefined) {
      return decision;
    }
    throw error as Error;
  }

  /**
   * Checks a call as the other thread does, before anything is sent there: only what is valid is sure to be cloneable.
   */
  #readCost(identity: AnyIdentity, options: object | undefined): Cost {
    const given = new GivenOptions(SYNC_CALL, options ?? {});
    const cost = given.optional('cost', readGivenCost, undefined);
    given.end();
    const { limits, hashSecret } = this.#settings;
    const asked = limits.ask('cost', cost);
    limits.locate(identity, hashSecret).limits.requireAsked(asked, limits);
    return costOf(asked);
  }

  #checkOpen(): void {
    if (this.#closed) {
      throw new RateLimiterError(
        'ERR_LIMITER_CLOSED',
        'The limiter was closed. Make calls before `close()`.',
      );
    }
  }

  #ask(question: Question): Answer {
    const answer = this.#answer(question);
    for (const error of answer.reported) {
      this.#hooks.report(error as StoreError);
    }
    return answer;
  }

  /** A thread that gives no answer counts as a store that gives none; the next call starts another thread. */
  #answer(question: Question): Answer {
    try {
      if (this.#bridge.replaceable) {
        this.#bridge = new Bridge(this.#plain);
      }
      return this.#bridge.ask(question, this.#settings.timeoutMs);
    } catch (error) {
      if (!(error instanceof StoreError)) {
        throw error;
      }
      const { failStrategy } = this.#settings;
      const unanswered = { id: 0, error, reported: [error] };
      return failStrategy === 'throw' || question.verb === 'reset'
        ? unanswered
        : {
            ...unanswered,
            decision: makeDegradedDecision(failStrategy === 'open', error, question.cost ?? 1),
          };
    }
  }
}

/** Own properties and entries alone: a checked identity may be of a class, whose other members cannot be cloned. */
function toPlain(identity: AnyIdentity): AnyIdentity {
  if (typeof identity !== 'object') {
    return identity;
  }
  return Array.isArray(identity) ? [...identity] : { ...(identity as IdentityParts) };
}
