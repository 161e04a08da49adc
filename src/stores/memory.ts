import { mark } from '../base/copies.ts';
import { decide } from '../script/decide.ts';
import type { Table } from '../script/decide.ts';
import { isCrowded } from '../script/home.ts';
import type { Saved } from '../algorithms/limit.ts';
import { currentShape, keysOf } from '../script/call-shape.ts';
import type { Verb } from '../script/call-shape.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { RateLimiterError, StoreError, tooManyLimits } from '../base/errors.ts';
import { MEMORY_STORE } from '../options/option-sets.ts';
import { GivenOptions, readClock, readInteger } from '../options/read-options.ts';
import { answerInTurn } from '../base/same-turn.ts';
import { LocalView } from './local-view.ts';
import { ExpiryQueue } from './expiry-queue.ts';
import type { Kept } from './expiry-queue.ts';
import type { Call } from './store.ts';

/** The bounds of a `MemoryStore`. */
export interface MemoryStoreOptions {
  /** Default: this process's own clock. Tests pass a `ManualClock`. */
  clock?: Clock;
  /**
   * Most keys held at once, from 1 to 10,000,000. An identity has one for its buckets and windows together, and one
   * each per log, concurrency limit, block and reservation. Default 100,000.
   */
  maxKeys?: number;
}

/** Verbs that can add a key. */
const ADDING: ReadonlySet<Verb> = new Set([
  'allow',
  'up_to',
  'penalize',
  'acquire',
  'reserve',
  'settle',
]);

/** Most expired states that each write removes: two for each state that it can add. */
const REMOVED_PER_WRITE = 2;

/**
 * State in this process's memory, decided by the same algorithms as on Redis: for tests, demos and a single process. It
 * shares nothing with other processes. It never drops a state that still counts. Expired states are removed as new ones
 * are added, without a timer. Beyond `maxKeys` live states a call is answered `overloaded`.
 *
 * @example
 * const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '10s' });
 */
export class MemoryStore {
  /** @internal */
  readonly clock: Clock;
  /** @internal */
  readonly isShared: boolean = false;
  readonly #maxKeys: number;
  readonly #kept = new Map<string, Kept>();
  readonly #expiries = new ExpiryQueue();
  #local: LocalView<Call> | undefined;

  constructor(options: MemoryStoreOptions = {}) {
    const given = new GivenOptions(MEMORY_STORE, options);
    this.clock = given.optional('clock', readClock, systemClock);
    this.#maxKeys = given.optional(
      'maxKeys',
      (option, value) => readInteger(option, value, 1, 10_000_000),
      100_000,
    );
    given.end();
  }

  /** @internal */
  get time(): Clock {
    return this.clock;
  }

  /** Keys held, including expired ones that have not been removed yet. */
  get size(): number {
    return this.#kept.size;
  }

  /** Deletes all states, for use between tests. */
  clear(): void {
    this.#kept.clear();
    this.#expiries.clear();
  }

  /** @internal */
  submit(call: Call): void {
    this.#local?.submitted(call);
    answerInTurn(() => this.#decide(call));
  }

  /** @internal The clock that decides is this process's own. */
  local(): LocalView<Call> {
    return (this.#local ??= new LocalView(this.clock, () => 0, false));
  }

  #decide(call: Call): void {
    let now: number;
    try {
      now = this.clock.nowMicros();
    } catch (cause) {
      call.fail(
        new RateLimiterError('ERR_INVALID_OPTION', '`clock`.nowMicros() failed: see `cause`', {
          cause,
        }),
      );
      return;
    }
    call.shape = currentShape(call.shape, this.clock);
    const most = call.shape.keys.length + (call.record === undefined ? 0 : 1);
    if (this.#kept.size + most > this.#maxKeys && this.#isFull(call, now)) {
      call.fail(
        new StoreError(
          'overloaded',
          `The memory store holds ${this.#kept.size} states that still count, of ${this.#maxKeys} at most. Raise \`maxKeys\`, or use Redis.`,
        ),
      );
      return;
    }
    const table: Table = {
      read: (key) => {
        const kept = this.#kept.get(key);
        return kept === undefined || kept.expiresAt <= now ? undefined : kept.value;
      },
      write: (key, saved) => {
        this.#write(key, saved, now);
      },
    };
    const reply = decide([call], now, table);
    if (typeof reply[1] !== 'string') {
      this.#local?.anchors.heard('', now, now);
      call.settle(reply as readonly number[], 1);
    } else {
      const message = reply[1];
      call.fail(
        isCrowded(message)
          ? tooManyLimits()
          : new StoreError('store_error', `The memory store refused: ${message}`),
      );
    }
  }

  /** @internal */
  close(): Promise<void> {
    return Promise.resolve();
  }

  #write(key: string, saved: Saved | undefined, now: number): void {
    const known = this.#kept.get(key);
    if (saved !== undefined) {
      const expiresAt = now + saved.ttlMs * 1_000;
      if (known !== undefined && expiresAt >= known.queuedFor) {
        known.value = saved.value;
        known.expiresAt = expiresAt;
        return;
      }
      const state = { key, value: saved.value, expiresAt, gone: false, queuedFor: expiresAt };
      this.#kept.set(key, state);
      this.#expiries.add(state);
      this.#dropExpired(now, REMOVED_PER_WRITE);
    } else {
      this.#kept.delete(key);
    }
    if (known !== undefined) {
      this.#expiries.remove(known);
    }
  }

  #dropExpired(now: number, most: number): void {
    for (let i = 0; i < most; i++) {
      const ended = this.#expiries.takeEnded(now);
      if (ended === undefined) {
        return;
      }
      this.#kept.delete(ended.key);
    }
  }

  #isFull(call: Call, now: number): boolean {
    this.#dropExpired(now, Number.POSITIVE_INFINITY);
    if (!ADDING.has(call.shape.verb)) {
      return false;
    }
    const added = keysOf(call).filter((key) => !this.#kept.has(key)).length;
    return added > 0 && this.#kept.size + added > this.#maxKeys;
  }
}

/** Marks the memory stores of every copy of the package. */
export const MEMORY_STORE_BRAND: unique symbol = Symbol.for('distributed-rate-limiter.MemoryStore');
mark(MemoryStore.prototype, MEMORY_STORE_BRAND);
