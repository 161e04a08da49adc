import type { AllowedDecision, Cost, Decision, UnlimitedDecision } from '../base/decision.ts';
import { carries, RateLimiterError } from '../base/errors.ts';

/** A decision that does not let its call pass. */
export type RefusedDecision = Exclude<Decision, AllowedDecision | UnlimitedDecision> & {
  readonly allowed: false;
};

const RATE_LIMIT_EXCEEDED = Symbol.for('distributed-rate-limiter.RateLimitExceeded');

/**
 * The error of a refused call, which a limited function rejects with instead of running. Holds the decision. If
 * `decision.degraded` is true, no limit was reached: the store gave no answer and `failStrategy` is `'closed'`; the
 * store's error is then in `cause`.
 *
 * @example
 * try {
 *   await send('user:12345', text);
 * } catch (error) {
 *   if (!(error instanceof RateLimitExceeded)) throw error;
 *   respond(error.decision.degraded ? 503 : 429, error.retryAfterMs);
 * }
 */
export class RateLimitExceeded extends RateLimiterError {
  readonly decision: RefusedDecision;
  /** Milliseconds until the same cost could pass if no other call spends; undefined if that is unknown, or never. */
  readonly retryAfterMs: number | undefined;
  /**
   * The HTTP status, only if an HTTP guard throws the error because `onRefused` is or returned `'throw'`: 429, 503 if
   * `decision.degraded` is true, or 403 if no cost can ever pass. `statusCode` is the same.
   */
  declare readonly status?: 429 | 503 | 403;
  declare readonly statusCode?: 429 | 503 | 403;
  /** The response's header fields by name, `Retry-After` among them; only if an HTTP guard throws the error. */
  declare readonly headers?: Readonly<Record<string, string>>;

  constructor(decision: RefusedDecision) {
    super(
      'ERR_RATE_LIMIT_EXCEEDED',
      explain(decision),
      decision.degraded ? { cause: decision.error } : {},
    );
    this.decision = decision;
    this.retryAfterMs = decision.retryAfterMs;
    Object.defineProperty(this, RATE_LIMIT_EXCEEDED, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return carries(value, RATE_LIMIT_EXCEEDED);
  }
}
Object.defineProperty(RateLimitExceeded.prototype, 'name', { value: 'RateLimitExceeded' });

/** Whether no call of this identity can ever pass, whatever it costs: a limit's `rate` is 0. */
export function isForbidden(decision: Decision): boolean {
  if (decision.degraded || decision.reason !== 'impossible') {
    return false;
  }
  const { maxCost, limits } = decision;
  return typeof maxCost === 'number'
    ? maxCost === 0
    : limits.some(({ refused, shadow, limit }) => refused && !shadow && limit === 0);
}

function shownCost(cost: Cost): string {
  return typeof cost === 'number'
    ? String(cost)
    : Object.entries(cost)
        .map(([unit, units]) => `${units} ${unit}`)
        .join(', ');
}

function explain(decision: RefusedDecision): string {
  if (decision.degraded) {
    return `Refused without an answer from the store (${decision.reason}), because \`failStrategy\` is 'closed'. Try again later.`;
  }
  if (decision.reason === 'impossible' && isForbidden(decision)) {
    return `Refused by the ${quoted('limit', decision.limitedBy)}, under which nothing ever passes: its \`rate\` is 0.`;
  }
  if (decision.reason === 'impossible') {
    return `Refused because the cost is more than can ever pass at once, which is ${shownCost(decision.maxCost)}. Ask for less.`;
  }
  const by =
    decision.reason === 'blocked'
      ? 'because the identity is blocked'
      : `by the ${quoted('limit', decision.limitedBy)}`;
  return `Refused ${by}. Try again in ${decision.retryAfterMs} ms.`;
}

function quoted(noun: string, names: readonly string[]): string {
  const all = names.map((name) => `'${name}'`);
  return all.length === 1
    ? `${noun} ${all[0]}`
    : `${noun}s ${all.slice(0, -1).join(', ')} and ${all.at(-1)}`;
}
