// @ts-check
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { openingMs } from './opening.mjs';
import { RateLimiter, StoreError, tokenBucket } from 'distributed-rate-limiter';

/**
 * @typedef {import('distributed-rate-limiter').Decision} Decision
 * @typedef {import('distributed-rate-limiter').StoreFailure} StoreFailure
 * @typedef {import('distributed-rate-limiter').CallOptions} CallOptions
 * @typedef {import('distributed-rate-limiter').RedisClient} RedisClient
 * @typedef {'open' | 'closed' | 'throw'} FailStrategy
 * @typedef {Decision | StoreError} Outcome under `throw` an error takes the place of a degraded decision
 */

/** How late a timer may fire on a busy machine. A call that hangs is late by seconds. */
export const MARGIN_MS = 500;
export const NAMESPACE = 'faults';

const RATE = { rate: 1_000, period: /** @type {const} */ ('1d') };
/** Microseconds by which each charge moves the server's state: so many that no unit recovers during a test. */
export const UNIT_US = 86_400_000;
/** A limit higher than any scenario reaches. */
const BURST = 1_000_000;
const SMALL_BURST = 3;
/** A limit on the same state, with a bucket that is soon empty. */
const SMALL = { limits: [tokenBucket({ ...RATE, burst: SMALL_BURST })] };

/** Measures every call of a limiter. At the end it checks that the calls and those that the hooks reported agree. */
export class Caller {
  limiter;
  namespace;
  timeoutMs;
  failStrategy;
  /** How long the event loop was blocked, on purpose or as measured: no call can settle meanwhile. */
  blockedMs = 0;
  /** How long calls may wait for the first connection. */
  openingMs = 0;
  calls = 0;
  /** Decisions of the store that let a call pass. */
  granted = 0;
  /** Every error that `onError` received, in order. @type {StoreError[]} */
  errors = [];

  /** @type {Outcome[]} */
  #outcomes = [];
  /** @type {number[]} */
  #settleMs = [];
  #told = { onAllow: 0, onBlock: 0 };
  #identities = 0;
  #stopWatching = () => {};

  /**
   * @param {string | RedisClient} redis
   * @param {FailStrategy} failStrategy
   * @param {{ timeoutMs?: number, maxInFlight?: number, namespace?: string, cluster?: true }} [options]
   */
  constructor(redis, failStrategy, options = {}) {
    const { timeoutMs = 250, maxInFlight = 10_000, namespace = NAMESPACE, cluster } = options;
    this.timeoutMs = timeoutMs;
    this.namespace = namespace;
    this.failStrategy = failStrategy;
    this.limiter = new RateLimiter({
      redis,
      ...(cluster && { cluster }),
      ...RATE,
      burst: BURST,
      namespace,
      failStrategy,
      timeoutMs,
      maxInFlight,
      onAllow: () => (this.#told.onAllow += 1),
      onBlock: () => (this.#told.onBlock += 1),
      onError: (error) => this.errors.push(error),
    });
  }

  /**
   * @param {string} [identity] default: one that was never seen
   * @param {CallOptions} [options]
   * @returns {Promise<Outcome>}
   */
  call(identity = this.fresh(), options) {
    this.calls += 1;
    const started = performance.now();
    return this.limiter
      .allow(identity, options)
      .catch((/** @type {unknown} */ error) => {
        if (error instanceof StoreError) return error;
        throw error;
      })
      .then((outcome) => {
        this.#settleMs.push(performance.now() - started);
        this.#stopWatching();
        this.#outcomes.push(outcome);
        if (isReal(outcome) && outcome.allowed) this.granted += 1;
        return outcome;
      });
  }

  /**
   * Makes many calls in one turn of the event loop, each for its own identity.
   *
   * @param {number} count
   */
  burst(count) {
    return Promise.all(Array.from({ length: count }, () => this.call()));
  }

  /**
   * Like `burst`, and checks that all calls are answered before the event loop does anything else.
   *
   * @param {number} count
   */
  async answeredAtOnce(count) {
    /** @type {Outcome[]} */
    const answered = [];
    for (let i = 0; i < count; i++) {
      void this.call().then((outcome) => answered.push(outcome));
    }
    // Microtasks only: no socket is read and no timer fires in between.
    for (let hop = 0; hop < 10; hop++) await Promise.resolve();
    assert.equal(
      answered.length,
      count,
      `${answered.length} of ${count} answered in the same turn`,
    );
    return answered;
  }

  /** Allows calls to wait for the first connection as well. */
  allowForOpening() {
    this.openingMs = openingMs(this.timeoutMs);
  }

  /** Counts the loop delay measured from here to the end of the first call as `blockedMs`. */
  allowForTheFirstCall() {
    let last = performance.now();
    const note = () => {
      const gap = performance.now() - last;
      if (gap > 20) this.blockedMs += gap;
      last += gap;
    };
    const pulse = setInterval(note, 5).unref();
    this.#stopWatching = () => {
      clearInterval(pulse);
      note();
      this.#stopWatching = () => {};
    };
  }

  allowForNothing() {
    this.#stopWatching();
    this.blockedMs = 0;
    this.openingMs = 0;
  }

  /** Number of units that `spend` uses up. */
  get smallBurst() {
    return SMALL_BURST;
  }

  /** @param {string} identity */
  keyOf(identity) {
    return keyOf(identity, this.namespace);
  }

  fresh() {
    this.#identities += 1;
    return `identity-${this.#identities}`;
  }

  /** Uses up an identity's units under `callSpent`. @param {string} [identity] */
  async spend(identity = this.fresh()) {
    for (let i = 0; i < SMALL_BURST; i++) expectReal(await this.call(identity, SMALL));
    const refused = await this.callSpent(identity);
    assert.equal(isReal(refused) && refused.reason, 'limited');
    return identity;
  }

  /** @param {string} identity */
  callSpent(identity) {
    return this.call(identity, SMALL);
  }

  /**
   * Calls repeatedly until the store decides.
   *
   * @param {number} since
   * @param {number} [withinMs]
   * @returns {Promise<number>} milliseconds from `since` to the first real decision
   */
  async recovered(since, withinMs = 10_000) {
    for (;;) {
      const outcome = await this.call();
      const elapsed = performance.now() - since;
      if (isReal(outcome)) {
        assert.ok(
          elapsed <= withinMs,
          `real again after ${Math.round(elapsed)} ms, of ${withinMs}`,
        );
        return elapsed;
      }
      assert.ok(
        elapsed <= withinMs,
        `not real after ${Math.round(elapsed)} ms: ${describe(outcome)}`,
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Checks the invariants of every call in every scenario; throws if one fails. */
  verify() {
    assert.equal(this.#outcomes.length, this.calls, 'every call has settled');
    const bound = this.boundMs;
    assert.ok(this.maxMs <= bound, `settled after ${Math.round(this.maxMs)} ms, of ${bound}`);

    const decisions = this.#outcomes.filter(isDecision);
    const allowed = decisions.filter((decision) => decision.allowed).length;
    assert.deepEqual(
      this.#told,
      { onAllow: allowed, onBlock: decisions.length - allowed },
      'one hook per decision',
    );

    /** @type {Set<StoreError>} */
    const failures = new Set();
    for (const outcome of this.#outcomes) {
      const error = isReal(outcome) ? undefined : this.#checkDegraded(outcome);
      if (error !== undefined) failures.add(error);
      else checkReal(outcome);
    }
    assert.deepEqual(new Set(this.errors), failures, 'onError hears of every failed store call');
    assert.equal(this.errors.length, failures.size, 'onError hears of no store call twice');
  }

  /** The longest time that a call may take. */
  get boundMs() {
    return this.openingMs + this.timeoutMs + this.blockedMs + MARGIN_MS;
  }

  get maxMs() {
    return Math.max(0, ...this.#settleMs);
  }

  get lateMs() {
    return Math.max(0, this.maxMs - this.openingMs - this.timeoutMs - this.blockedMs);
  }

  get p99Ms() {
    const sorted = this.#settleMs.toSorted((a, b) => a - b);
    return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0;
  }

  /** @param {Outcome} outcome */
  #checkDegraded(outcome) {
    if (this.failStrategy === 'throw') {
      assert.ok(outcome instanceof StoreError, describe(outcome));
      return outcome;
    }
    assert.ok(!(outcome instanceof StoreError) && outcome.degraded, describe(outcome));
    const { error, ...rest } = outcome;
    // Has no number but the cost that was asked, not even properties that are undefined.
    assert.deepEqual(rest, {
      allowed: this.failStrategy === 'open',
      degraded: true,
      source: 'none',
      reason: error.reason,
      cost: 1,
      limits: [],
    });
    assert.ok(error instanceof StoreError);
    assert.ok(!/identity-|[0-9a-f]{64}/.test(error.message), `private: ${error.message}`);
    return error;
  }
}

/**
 * @param {Outcome} outcome
 * @returns {outcome is Decision}
 */
function isDecision(outcome) {
  return !(outcome instanceof StoreError);
}

/**
 * @param {Outcome} outcome
 * @returns {outcome is Exclude<Decision, { degraded: true }>}
 */
export function isReal(outcome) {
  return !(outcome instanceof StoreError) && !outcome.degraded;
}

/** @param {Outcome} outcome */
export function expectReal(outcome) {
  assert.ok(isReal(outcome), `expected a real decision, got ${describe(outcome)}`);
  return outcome;
}

/**
 * @param {Outcome | readonly Outcome[]} outcomes
 * @param {StoreFailure} reason
 * @param {string} [kind] first word of what the server said
 * @returns {StoreError} that of the first
 */
export function expectDegraded(outcomes, reason, kind) {
  const errors = [outcomes].flat().map((outcome) => {
    assert.ok(!isReal(outcome), `expected ${reason}, got ${describe(outcome)}`);
    const error = outcome instanceof StoreError ? outcome : outcome.error;
    assert.equal(error.reason, reason, describe(outcome));
    if (kind !== undefined) {
      const said = error.cause instanceof Error ? error.cause.message : String(error.cause);
      assert.equal(said.split(' ', 1)[0], kind, describe(outcome));
      assert.ok(error.message.includes(kind), error.message);
    }
    return error;
  });
  const [first] = errors;
  assert.ok(first);
  return first;
}

/**
 * @param {string} identity
 * @param {string} [namespace]
 * @returns {string} the key of its state
 */
export function keyOf(identity, namespace = NAMESPACE) {
  return `${namespace}:token_bucket:${createHash('sha256').update(identity).digest('hex')}`;
}

/** @param {Outcome} outcome */
function checkReal(outcome) {
  assert.ok(isReal(outcome) && outcome.reason !== 'impossible');
  assert.ok(outcome.reason !== 'unlimited');
  const [limit] = outcome.limits;
  assert.equal(outcome.limits.length, 1);
  assert.ok(limit);
  assert.equal(outcome.remaining, limit.remaining);
  for (const number of [outcome.remaining, outcome.resetAfterMs, outcome.resetAtMs]) {
    assert.ok(Number.isSafeInteger(number) && number >= 0, `${number}`);
  }
}

/** @param {Outcome} outcome */
function describe(outcome) {
  const error =
    outcome instanceof StoreError ? outcome : outcome.degraded ? outcome.error : undefined;
  if (error === undefined) return JSON.stringify(outcome);
  return `${error.reason}: ${error.message} (cause: ${String(error.cause)})`;
}
