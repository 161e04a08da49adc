import { makeDegradedDecision } from '../limiter/make-decision.ts';
import type { Decision } from '../base/decision.ts';
import { RateLimiterError, StoreError } from '../base/errors.ts';
import { HookCaller } from '../limiter/hooks.ts';
import { digestIdentity } from '../base/identity.ts';
import type { Identity } from '../base/identity.ts';
import { warnOfSharedKeys } from '../limiter/shared-keys-warning.ts';
import { costOf, readCost } from '../limiter/cost.ts';
import type { AnyCallOptions } from '../limiter/call-options.ts';
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
type SyncCallOptions = Pick<AnyCallOptions, 'cost'>;

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
export class RateLimiterSync {
  readonly #settings: Settings;
  readonly #plain: PlainOptions;
  readonly #hooks: HookCaller;
  readonly #leaveKeySpace: () => void;
  #bridge: Bridge;
  #closed = false;

  constructor(options: RateLimiterSyncOptions) {
    const { settings, plain } = readSyncOptions(options);
    this.#settings = settings;
    this.#plain = plain;
    this.#hooks = new HookCaller(settings.hooks);
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
  allow(identity: Identity, options?: SyncCallOptions): Decision {
    const decision = this.#decide('allow', identity, options);
    this.#hooks.decided(identity, decision);
    return decision;
  }

  /**
   * Returns what `allow` would answer now. Charges nothing, and calls neither `onAllow` nor `onBlock`.
   *
   * @throws {RateLimiterError} like `allow`.
   * @example
   * const { remaining } = limiter.peek('user:12345');
   */
  peek(identity: Identity, options?: SyncCallOptions): Decision {
    return this.#decide('peek', identity, options);
  }

  /**
   * Deletes the identity's usage under every limit.
   *
   * @throws {RateLimiterError} a `StoreError` if the store gives no answer, under any failure strategy; otherwise
   * like `allow`.
   * @example
   * limiter.reset('user:12345');
   */
  reset(identity: Identity): void {
    const answer = this.#ask({ verb: 'reset', identity: this.#read(identity), cost: undefined });
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

  #decide(
    verb: 'allow' | 'peek',
    identity: Identity,
    options: SyncCallOptions | undefined,
  ): Decision {
    const given = new GivenOptions(SYNC_CALL, options ?? {});
    const named = given.optional('cost', readCost, undefined);
    given.end();
    const read = this.#read(identity);
    const cost = costOf(this.#settings.limits.ask('cost', named));
    const question = { verb, identity: read, cost };
    const { decision, error } = this.#ask(question);
    if (decision !== undefined) {
      return decision;
    }
    throw error as Error;
  }

  /** Only a cloneable identity can be sent to the other thread. */
  #read(identity: Identity): Identity {
    if (this.#closed) {
      throw new RateLimiterError(
        'ERR_LIMITER_CLOSED',
        'The limiter was closed. Make calls before `close()`.',
      );
    }
    digestIdentity(identity, undefined);
    return identity;
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
