import type { Entry, Shape } from '../script/call-shape.ts';
import { StoreError } from '../base/errors.ts';
import { answerInTurn } from '../base/same-turn.ts';
import { denyCacheOf } from './deny-cache.ts';
import type { DenyCache } from './deny-cache.ts';
import type { RateLimiterError } from '../base/errors.ts';
import type { Settings } from './limiter-options.ts';
import { shardOf } from './sharding.ts';
import type { Call } from '../stores/store.ts';
import { ON_A_CLUSTER, slotsApart } from './homes.ts';

/** Reads a call's reply, and makes the answer if the store gives none. */
export interface ReplyHandler<T> {
  /** Whether the call makes a decision that is counted if the store gave no answer. `read` counts all others. */
  readonly decides?: boolean;
  /** `source`: where the reply was made, if not by the store. */
  read(entry: Entry, reply: readonly number[], at: number, source?: 'deny_cache'): T;
  /** Without it, or under `failStrategy: 'throw'`, a call that the store does not answer rejects. */
  degrade?(error: StoreError, entry: Entry): T;
  /** Called before the call is answered without a reply, or rejects. */
  failed?(): void;
  /** Handles a reply that comes after the caller has been given another answer. */
  late?(entry: Entry, reply: readonly number[], at: number): void;
}

/** Ignores the reply, for calls of which only the end matters. */
export const IGNORE_REPLY: ReplyHandler<void> = { read: () => undefined };

/** Sends one limiter's calls to its store, and counts those that are pending. */
export class PendingCalls {
  readonly settings: Settings;
  readonly #report: (error: StoreError) => void;
  #denyCache: DenyCache | undefined;
  #pending = 0;
  #onIdle: (() => void) | undefined;

  /** `report` is called for every call that the store did not answer. */
  constructor(settings: Settings, report: (error: StoreError) => void) {
    this.settings = settings;
    this.#report = report;
  }

  /** Answers a call by a remembered refusal, or by the store. */
  submit<T>(entry: Entry, handler: ReplyHandler<T>): Promise<T> {
    return this.#submit(entry, handler, this.#refusal(entry));
  }

  /** Answers a call by a remembered refusal; undefined if the store has to be asked. */
  refused<T>(entry: Entry, handler: ReplyHandler<T>): Promise<T> | undefined {
    const refusal = this.#refusal(entry);
    return refusal && this.#submit(entry, handler, refusal);
  }

  /** Answers a call by the store, whatever is remembered. */
  ask<T>(entry: Entry, handler: ReplyHandler<T>): Promise<T> {
    return this.#submit(entry, handler, undefined);
  }

  #submit<T>(
    entry: Entry,
    handler: ReplyHandler<T>,
    refusal: readonly number[] | undefined,
  ): Promise<T> {
    this.#pending += 1;
    return new Promise((resolve, reject) => {
      const call = new PendingCall(this, entry, handler, resolve, reject);
      try {
        if (refusal === undefined) {
          this.settings.store.submit(call);
        } else {
          answerInTurn(() => call.settle(refusal, 1, 'deny_cache'));
        }
      } catch (error) {
        // The application's own client failed: end the call, so that `close()` does not wait for it.
        reject(error);
        call.ended?.(undefined, 0);
        this.ended(undefined);
      }
    });
  }

  #refusal(entry: Entry): readonly number[] | undefined {
    const { denyCache, store } = this.settings;
    if (denyCache === undefined) {
      return undefined;
    }
    this.#denyCache ??= denyCacheOf(store.local(), denyCache);
    return this.#denyCache.refusal(entry, denyCache.holdMs);
  }

  /** Resolves once no call is pending. */
  async idle(): Promise<void> {
    if (this.#pending > 0) {
      await new Promise<void>((resolve) => (this.#onIdle = resolve));
    }
  }

  /** Called by each call when it ends. */
  ended(error: StoreError | undefined): void {
    if (error !== undefined) {
      this.#report(error);
    }
    this.#pending -= 1;
    if (this.#pending === 0) {
      this.#onIdle?.();
    }
  }
}

/** One pending call. A class rather than closures, because every decision makes one. */
class PendingCall<T> implements Call {
  readonly key: Call['key'];
  readonly homes: Call['homes'];
  shape: Call['shape'];
  readonly record: Call['record'];
  readonly details: Call['details'];
  timeoutMs: number;
  readonly isApart: boolean;
  readonly maxInFlight: number;
  readonly shard: Call['shard'];
  readonly late: Call['late'];
  submission: Call['submission'] = undefined;
  server: Call['server'] = undefined;
  replans = 0;
  ended: Call['ended'] = undefined;
  readonly #calls: PendingCalls;
  readonly #handler: ReplyHandler<T>;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: RateLimiterError) => void;

  constructor(
    calls: PendingCalls,
    entry: Entry,
    handler: ReplyHandler<T>,
    resolve: (value: T) => void,
    reject: (error: RateLimiterError) => void,
  ) {
    this.key = entry.key;
    this.homes = entry.homes;
    this.shape = entry.shape;
    this.record = entry.record;
    this.details = entry.details;
    this.timeoutMs = calls.settings.timeoutMs;
    this.isApart = entry.shape.verb === 'grant'; // takes the driver
    this.maxInFlight = calls.settings.maxInFlight;
    const { sharding } = calls.settings;
    this.shard = sharding === undefined ? entry.shard : shardOf(sharding, entry);
    this.late =
      handler.late === undefined ? undefined : (reply, at) => handler.late?.(this, reply, at);
    this.#calls = calls;
    this.#handler = handler;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  slotsApart(): RateLimiterError | undefined {
    return this.homes === undefined ? undefined : whyApart(this.shape, this.#calls.settings);
  }

  settle(reply: readonly number[], at: number, source?: 'deny_cache'): void {
    this.ended?.(reply, at);
    this.#resolve(this.#handler.read(this, reply, at, source));
    this.#calls.ended(undefined);
  }

  fail(error: RateLimiterError): void {
    this.#handler.failed?.();
    this.ended?.(undefined, 0);
    if (!(error instanceof StoreError)) {
      this.#reject(error);
      this.#calls.ended(undefined);
      return;
    }
    if (this.#handler.decides === true) {
      this.#calls.settings.counts.degraded(error);
    }
    if (this.#calls.settings.failStrategy === 'throw' || this.#handler.degrade === undefined) {
      this.#reject(error);
    } else {
      this.#resolve(this.#handler.degrade(error, this));
    }
    this.#calls.ended(error);
  }
}

/** Why the homes of a shape are in slots of their own; undefined if they are in one. */
function whyApart({ rules, keys }: Shape, { limits }: Settings): RateLimiterError | undefined {
  return keys.every(({ home }) => home === keys[0]!.home)
    ? undefined
    : slotsApart(
        [...rules.map(({ limit }) => limit), ...limits.limits],
        limits.space?.tag,
        ON_A_CLUSTER,
      );
}
