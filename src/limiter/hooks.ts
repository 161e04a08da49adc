import type { Decision } from '../base/decision.ts';
import type { StoreError } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import type { Clock } from '../base/clock.ts';
import type { HeardRefusal, Hooks } from './limiter-options.ts';
import { ToldRefusals } from './told-refusals.ts';
import { storeStates } from '../observe/channels.ts';
import { warnOf } from '../observe/store-warnings.ts';

/**
 * Calls a limiter's hooks. Their exceptions and rejections never reach a caller; the first of each hook is a warning.
 */
export class HookCaller {
  readonly #hooks: Hooks<string>;
  readonly #failed = new Set<string>();
  readonly #reported = new WeakSet<StoreError>();
  readonly #told: ToldRefusals;

  /** @param clock the clock on which a refusal is repeated within a minute */
  constructor(hooks: Hooks<string>, clock: Clock) {
    this.#hooks = hooks;
    this.#told = new ToldRefusals(clock);
  }

  /** Calls exactly one of `onAllow` and `onBlock`, in the caller's own async context. */
  after<T extends Decision>(identity: AnyIdentity, decision: Promise<T>): Promise<T> {
    const { onAllow, onBlock } = this.#hooks;
    if (onAllow === undefined && onBlock === undefined) {
      return decision;
    }
    return decision.then((made) => {
      this.decided(identity, made);
      return made;
    });
  }

  /** Calls the hook for a decision that is already made. */
  decided(identity: AnyIdentity, decision: Decision): void {
    const { onAllow, onBlock } = this.#hooks;
    if (decision.allowed) {
      this.#call('onAllow', onAllow, identity, decision);
    } else if (onBlock !== undefined) {
      const repeated = this.#told.isRepeated(identity, decision);
      // Not enumerable: the caller gets the same object, and its fields are those of every refusal.
      Object.defineProperty(decision, 'repeated', { value: repeated, configurable: true });
      this.#call('onBlock', onBlock, identity, decision as HeardRefusal);
    }
  }

  /**
   * Reports each error once. One error stands for one failed store call, or for a whole time of calls answered
   * without the store.
   */
  report(error: StoreError): void {
    if (!this.#reported.has(error)) {
      this.#reported.add(error);
      if (this.#hooks.onError === undefined) {
        warnOf(error, storeStates.hasSubscribers);
      }
      this.#call('onError', this.#hooks.onError, error);
    }
  }

  #call<A extends unknown[]>(
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
        (result as PromiseLike<unknown>).then(undefined, () => this.#warnOf(name));
      }
    } catch {
      this.#warnOf(name);
    }
  }

  #warnOf(name: keyof Hooks): void {
    if (!this.#failed.has(name)) {
      this.#failed.add(name);
      process.emitWarning(
        `The hook \`${name}\` failed. Decisions are not affected; further failures are not reported.`,
        { type: 'RateLimiterWarning', code: 'DRL_HOOK_FAILED' },
      );
    }
  }
}
