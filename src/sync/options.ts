import type { ConcurrencyOptions } from '../algorithms/concurrency.ts';
import type { FixedWindowOptions } from '../algorithms/fixed-window.ts';
import type { AnyLimit } from '../algorithms/limit.ts';
import type { AlgorithmName } from '../base/decision.ts';
import type { SlidingWindowOptions } from '../algorithms/sliding-window.ts';
import type { SlidingWindowLogOptions } from '../algorithms/sliding-window-log.ts';
import type { TokenBucketOptions } from '../algorithms/token-bucket.ts';
import { invalidOption } from '../base/errors.ts';
import { checkCount } from '../limiter/read-limits.ts';
import { checkLimiterOptions, FACTORIES, readLimiterOptions } from '../limiter/limiter-options.ts';
import type {
  CommonOptions,
  OneLimit,
  OnRedis,
  RateLimiterOptions,
  SeveralLimits,
  Settings,
} from '../limiter/limiter-options.ts';
import { readable, readOneOf } from '../options/read-options.ts';
import { Problems } from '../options/option-problems.ts';

/** One limit as plain numbers, because a limit made by `tokenBucket(…)` cannot be sent to another thread. */
export type PlainLimit<By extends string = string, Unit extends string = string> =
  | ({ algorithm?: 'token_bucket' } & TokenBucketOptions<By, Unit>)
  | ({ algorithm: 'sliding_window' } & SlidingWindowOptions<By, Unit>)
  | ({ algorithm: 'sliding_window_log' } & SlidingWindowLogOptions<By, Unit>)
  | ({ algorithm: 'fixed_window' } & FixedWindowOptions<By, Unit>)
  | ({ algorithm: 'concurrency' } & ConcurrencyOptions<By>);

interface ByUrl extends Omit<OnRedis, 'redis' | 'maxInFlight'> {
  /**
   * A URL: `redis://`, `rediss://` (TLS) or `unix://` and a path; a client cannot be sent to another thread. The type
   * accepts undefined for `process.env.REDIS_URL`; if it is not set, the constructor throws `ERR_INVALID_OPTION`.
   */
  redis: string | undefined;
}

interface SeveralPlainLimits<By extends string, Unit extends string> extends Omit<
  SeveralLimits<By, Unit>,
  'limits'
> {
  /** From 1 to 16 limits that govern every call together: it passes all of them, or is charged under none. */
  limits: readonly PlainLimit<By, Unit>[];
}

/**
 * Options of a `RateLimiterSync`: a `RateLimiter`'s, with a URL, and limits as numbers. Hooks are called in the
 * calling thread, before the call returns. `By` is the union of the parts that its limits count by, and `Unit` that of
 * their units.
 *
 * @example
 * const options: RateLimiterSyncOptions = {
 *   redis: 'redis://localhost:6379',
 *   limits: [
 *     { name: 'burst', rate: 10, period: '1s' },
 *     { name: 'quota', algorithm: 'fixed_window', rate: 10_000, period: 'month' },
 *   ],
 * };
 */
export type RateLimiterSyncOptions<By extends string = never, Unit extends string = never> = Omit<
  CommonOptions<By>,
  'prepay'
> &
  ByUrl &
  (OneLimit | SeveralPlainLimits<By, Unit>);

/** Options in the form that is sent to the other thread. */
export type PlainOptions = Readonly<Record<string, unknown>>;

const HOOKS = ['onAllow', 'onBlock', 'onError'];

/** Limiter options that are refused here: name, rule and cure. */
const REFUSED = [
  ['store', 'left out here', 'State that one process keeps needs no other thread: give `redis`.'],
  ['maxInFlight', 'left out here', 'Leave `maxInFlight` out: calls run one at a time.'],
  ['prepay', 'left out here', 'Leave `prepay` out: each call goes to another thread anyway.'],
] as const;

const ANY_URL = 'redis://localhost';

/**
 * Checks the options as the limiter itself does, in the calling thread, and returns the part to send to the other
 * thread.
 */
export function readSyncOptions(options: unknown): { settings: Settings; plain: PlainOptions } {
  if (typeof options !== 'object' || options === null) {
    return { settings: readLimiterOptions(options), plain: {} };
  }
  const given: Record<string, unknown> = readable('options', () => ({ ...options }));
  const problems = new Problems('RateLimiter');
  for (const [name, rule, cure] of REFUSED) {
    if (given[name] !== undefined) {
      problems.add(invalidOption(name, rule, given[name], cure));
      delete given[name];
      // Without `redis` and `store`, the rest is checked as if it were for Redis.
      given['redis'] ??= ANY_URL;
    }
  }
  if (given['redis'] !== undefined && typeof given['redis'] !== 'string') {
    problems.add(
      invalidOption(
        'redis',
        'a URL here',
        given['redis'],
        'A client cannot be handed to another thread: pass what it connects to.',
      ),
    );
    given['redis'] = ANY_URL;
  }
  const made = problems.attempt(() =>
    readable('limits', () =>
      withLimits(
        given['limits'] === undefined
          ? given
          : Object.assign(given, { limits: readNumbers(given['limits']) }),
      ),
    ),
  );
  if (made !== undefined) {
    problems.attempt(() => checkLimiterOptions(made));
  }
  problems.throwAll();
  const settings = readLimiterOptions(made);
  const plain = Object.fromEntries(
    Object.entries(given).filter(([name, value]) => value !== undefined && !HOOKS.includes(name)),
  );
  return { settings, plain: structuredClone(plain) };
}

/** Makes limits of their plain numbers, in either thread. */
export function withLimits(plain: PlainOptions): RateLimiterOptions<string, string> {
  const { limits } = plain;
  return (Array.isArray(limits)
    ? { ...plain, limits: limits.map(makeLimit) }
    : plain) as unknown as RateLimiterOptions<string, string>;
}

function readNumbers(limits: unknown): readonly object[] {
  checkCount(limits);
  return limits.map((limit: unknown) => {
    // A finished limit, of any copy of the package, has a twin.
    if (typeof limit !== 'object' || limit === null || 'twin' in limit) {
      throw invalidOption(
        'limits',
        'made of plain objects here',
        limit,
        "Write each as { algorithm: 'token_bucket', rate, period }: what tokenBucket makes cannot be handed to another thread.",
      );
    }
    return { ...limit };
  });
}

function makeLimit({ algorithm = 'token_bucket', ...numbers }: Record<string, unknown>): AnyLimit {
  const known = Object.keys(FACTORIES) as AlgorithmName[];
  return FACTORIES[readOneOf('algorithm', algorithm, known)](numbers as never);
}
