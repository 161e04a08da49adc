import type { Allowed, Decision } from '../decision.ts';
import { carries, RateLimiterError } from '../errors.ts';

/** A decision that does not let its call pass. */
export type Refusal = Exclude<Decision, Allowed> & { readonly allowed: false };

const RATE_LIMIT_EXCEEDED = Symbol.for('distributed-rate-limiter.RateLimitExceeded');

/**
 * What a limited function throws in place of being called. `decision.degraded` tells a limit that was reached from a
 * store that gave no answer under `failStrategy: 'closed'`; the store's error is then in `cause`.
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
  readonly decision: Refusal;
  /** Milliseconds until this same cost could pass if nobody else spends; undefined where that is not known, or never. */
  readonly retryAfterMs: number | undefined;

  constructor(decision: Refusal) {
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

function explain(decision: Refusal): string {
  if (decision.degraded) {
    return `The call was refused without an answer of the store (${decision.reason}), as \`failStrategy\` says. Try again later.`;
  }
  if (decision.reason === 'impossible') {
    return `The call was refused because it asks for more than can ever pass at once, which is ${decision.maxCost}. Ask for less.`;
  }
  return decision.reason === 'blocked'
    ? `The call was refused because its identity is blocked. Try again in ${decision.retryAfterMs} ms.`
    : `The call was refused by ${decision.limitedBy.join(', ')}. Try again in ${decision.retryAfterMs} ms.`;
}
