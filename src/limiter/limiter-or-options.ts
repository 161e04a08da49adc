import type { AnyLimit } from '../algorithms/limit.ts';
import type { Decision, PassedDecision } from '../base/decision.ts';
import type { AnyIdentity } from '../base/identity.ts';
import type { LimiterStats } from '../observe/stats.ts';
import type { Lease } from './lease.ts';
import { checkLimiterOptions } from './limiter-options.ts';
import type { RateLimiterOptions } from './limiter-options.ts';
import { RateLimiter } from './rate-limiter.ts';
import type { AnsweredTurn } from './wait-queue.ts';
import { readable } from '../options/read-options.ts';

/** A limiter of whatever parts and units, as adapters call it. */
export interface AnyLimiter {
  readonly limits: readonly AnyLimit[];
  stats(): LimiterStats;
  allow(identity: AnyIdentity, options?: unknown): Promise<Decision>;
  wait(identity: AnyIdentity, options?: unknown): Promise<PassedDecision>;
  /** @internal */
  allowInTurn(identity: AnyIdentity, options: unknown): Promise<AnsweredTurn>;
  acquire(identity: AnyIdentity, options?: unknown): Promise<Lease>;
  refund(decision: Decision): Promise<Decision>;
  close(): Promise<void>;
}

/** Options of such a limiter. */
export type AnyLimiterOptions =
  | RateLimiterOptions<never, string>
  | RateLimiterOptions<string, string>;

/** A limiter of these parts and units, or the options of one; any, where they are not known. */
export type LimiterOrOptions<By extends string, Unit extends string> = string extends By | Unit
  ? AnyLimiter | AnyLimiterOptions
  : RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>;

/** Returns the given limiter, or makes one of the given options. */
export function toLimiter(given: AnyLimiter | AnyLimiterOptions): AnyLimiter {
  return isLimiter(given) ? given : new RateLimiter(given as RateLimiterOptions<never, string>);
}

/** Throws what `toLimiter` would throw, but makes nothing. */
export function checkLimiterOrOptions(given: unknown): void {
  if (!isLimiter(given as AnyLimiter | AnyLimiterOptions)) {
    checkLimiterOptions(given);
  }
}

/** Checks the shape, because an application may hold two copies of the package. */
export function isLimiter(given: AnyLimiter | AnyLimiterOptions): given is AnyLimiter {
  return readable(
    'limiter',
    () => typeof (given as Partial<AnyLimiter> | undefined)?.allow === 'function',
  );
}
