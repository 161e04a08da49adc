import type { Decision, UnlimitedDecision } from '../base/decision.ts';
import { invalidOption } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import type { Shape } from '../script/call-shape.ts';
import type { CallReader } from './call-reader.ts';
import { askedOfOne, costOf } from './cost.ts';
import { readDecision } from './decision-reader.ts';
import type { DecisionReader } from './decision-reader.ts';
import { heedsProviders } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import { makeUnlimitedDecision } from './make-decision.ts';
import { readObserved } from './observed-response.ts';
import type { Parts } from './parts.ts';
import { IGNORE_REPLY } from './pending-calls.ts';
import type { PendingCalls } from './pending-calls.ts';
import { redeem, redeemSpent } from './refund-receipt.ts';

/** Sends the calls that change an identity's state without deciding a call of it. */
export class StateChanges {
  readonly #settings: Settings;
  readonly #callReader: CallReader;
  readonly #calls: PendingCalls;
  readonly #decisionReader: DecisionReader;
  #warnedOfPenalty = false;

  constructor({ settings, callReader, calls, decisionReader }: Parts) {
    this.#settings = settings;
    this.#callReader = callReader;
    this.#calls = calls;
    this.#decisionReader = decisionReader;
  }

  async refund(decision: Decision): Promise<Decision> {
    this.#callReader.checkOpen();
    const spent = redeemSpent(decision, this.#decisionReader);
    if (spent !== undefined) {
      return this.#calls.submit(
        { key: spent.key, shape: this.#settings.limits.shape('peek', askedOfOne(spent.cost)) },
        { read: readDecision },
      );
    }
    return isUnlimited(decision)
      ? makeUnlimitedDecision(decision.cost)
      : this.#calls.submit(redeem(decision, this.#decisionReader), { read: readDecision });
  }

  /** Refunds a charge whose caller has gone. If the store gives no answer, the charge stays. */
  giveBack(decision: Decision): void {
    if (isUnlimited(decision) || redeemSpent(decision, this.#decisionReader) !== undefined) {
      return;
    }
    this.#calls.submit(redeem(decision, this.#decisionReader), IGNORE_REPLY).catch(() => {
      // `onError` was called.
    });
  }

  async penalize(identity: AnyIdentity, amount: unknown, options: unknown): Promise<Decision> {
    const { limits, key, cost } = this.#callReader.locateUnits(identity, amount, options);
    if (limits.isPlanWithoutLimit) {
      return makeUnlimitedDecision(costOf(cost));
    }
    const shape = limits.shape('penalize', cost);
    if (!this.#warnedOfPenalty && !limits.limits.some(({ maxDebt }) => maxDebt > 0)) {
      this.#warnedOfPenalty = true;
      process.emitWarning(
        '`penalize` was called where no limit has `maxDebt`: it charges only the units left, and nothing if none is left. Give a limit `maxDebt`, the most units that may be owed.',
        { type: 'RateLimiterWarning', code: 'DRL_PENALTY_WITHOUT_DEBT' },
      );
    }
    return this.#calls.submit({ key, shape }, this.#decisionReader.plain);
  }

  async credit(identity: AnyIdentity, amount: unknown, options: unknown): Promise<Decision> {
    const { limits, key, cost } = this.#callReader.locateUnits(identity, amount, options);
    if (limits.isPlanWithoutLimit) {
      return makeUnlimitedDecision(costOf(cost));
    }
    const shape = limits.shape('credit', cost);
    if (shape.rules.every(({ limit }) => limit.twin.credit === undefined)) {
      throw invalidOption(
        'limits',
        'with a token bucket or a window among them, for `credit`',
        limits.limits,
        'Refund single decisions under a log, and release leases under a concurrency limit.',
      );
    }
    return this.#calls.submit({ key, shape }, this.#decisionReader.plain);
  }

  /** Returns the names of the limits that were aligned. */
  async observe(
    identity: AnyIdentity,
    response: unknown,
    options: unknown,
  ): Promise<readonly string[]> {
    this.#callReader.checkOpen();
    const { observes, limits: own, hashSecret, store } = this.#settings;
    if (!observes) {
      throw invalidOption(
        'observes',
        'true for a limiter that observes its provider',
        undefined,
        'Make it with `observes: true`, or it would not heed what it was told.',
      );
    }
    if (!own.limits.some(heedsProviders)) {
      throw invalidOption(
        'limits',
        'with a limit of a rate among them, for `observe`',
        own.limits,
        'A provider does not report the places of a concurrency limit.',
      );
    }
    const { limits, key, homes } = own.locate(identity, hashSecret);
    const nowMs = Math.floor(store.time.nowMicros() / 1_000);
    const quotas = readObserved(response, options, limits, nowMs);
    if (quotas.length > 0) {
      await this.#calls.submit({ key, homes, shape: limits.observeShape(quotas) }, IGNORE_REPLY);
    }
    return quotas.map(({ limit: { name } }) => name);
  }

  async reset(identity: AnyIdentity, options: unknown): Promise<void> {
    const given = this.#callReader.readLimits(options);
    const { limits, key } = given.locateHome(identity, this.#settings.hashSecret);
    if (!limits.isPlanWithoutLimit) {
      await this.#calls.submit({ key, shape: limits.shape('reset', 1) }, IGNORE_REPLY);
    }
  }

  /** Sets or lifts the block of an identity, by the given shape. */
  async setBlock(identity: AnyIdentity, shape: Shape): Promise<void> {
    const { limits, hashSecret } = this.#settings;
    const { key } = limits.locateHome(identity, hashSecret);
    await this.#calls.submit({ key, shape }, IGNORE_REPLY);
  }
}

/** Whether nothing was charged because the call had no limit. */
function isUnlimited(decision: unknown): decision is UnlimitedDecision {
  try {
    return (decision as Partial<Decision> | null | undefined)?.reason === 'unlimited';
  } catch {
    return false; // not a decision: its getter throws
  }
}
