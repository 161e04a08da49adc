/** Stable codes of every error that this library throws or hands to `onError`. */
export type ErrorCode =
  | 'ERR_INVALID_OPTION'
  | 'ERR_INVALID_IDENTITY'
  | 'ERR_INVALID_COST'
  | 'ERR_LIMITER_CLOSED'
  | 'ERR_NOT_REFUNDABLE'
  | 'ERR_UNKNOWN_TOKEN'
  | 'ERR_WAIT_TIMEOUT'
  | 'ERR_WAIT_QUEUE_FULL'
  | 'ERR_LEASE_REQUIRED'
  | 'ERR_TOO_MANY_LIMITS'
  | 'ERR_LEASE_LOST'
  | 'ERR_RATE_LIMIT_EXCEEDED'
  | 'ERR_CLIENT_MISSING'
  | 'ERR_WORKER_MISSING'
  | 'ERR_RUNTIME_UNSUPPORTED'
  | 'ERR_STORE_TIMEOUT'
  | 'ERR_STORE_AWAY'
  | 'ERR_STORE'
  | 'ERR_OVERLOADED';

/**
 * The base of every error of this library. `instanceof` holds across two copies of the package.
 *
 * @example
 * try { new RateLimiter(options) } catch (error) {
 *   if (error instanceof RateLimiterError) console.error(error.code, error.message);
 * }
 */
export class RateLimiterError extends Error {
  /** Stable across versions; the message is not. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    Object.defineProperty(this, RATE_LIMITER_ERROR, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return carries(value, RATE_LIMITER_ERROR);
  }
}
Object.defineProperty(RateLimiterError.prototype, 'name', { value: 'RateLimiterError' });

const RATE_LIMITER_ERROR = Symbol.for('distributed-rate-limiter.RateLimiterError');
const STORE_ERROR = Symbol.for('distributed-rate-limiter.StoreError');

/** Whether it is an error of that brand, whichever copy of the package made it. */
export function carries(value: unknown, brand: symbol): boolean {
  return typeof value === 'object' && value !== null && brand in value;
}

/** Why a decision was made without the store. */
export type StoreFailure = 'store_timeout' | 'store_away' | 'store_error' | 'overloaded';

const CODE_OF: Readonly<Record<StoreFailure, ErrorCode>> = {
  store_timeout: 'ERR_STORE_TIMEOUT',
  store_away: 'ERR_STORE_AWAY',
  store_error: 'ERR_STORE',
  overloaded: 'ERR_OVERLOADED',
};

/**
 * The store gave no answer, or refused. It names no identity and no key; what the server said is in `cause`.
 * One object stands for one failed store call, however many decisions waited for it.
 *
 * @example
 * new RateLimiter({ redis, rate: 100, period: '1m', onError: (error) => log.warn(error.reason, error.cause) });
 */
export class StoreError extends RateLimiterError {
  /**
   * `store_timeout`: no answer within `timeoutMs`, or the server has stopped answering. `store_away`: no
   * connection. `store_error`: the server refused (`OOM`, `READONLY`, `NOPERM`, …) or the stored value is
   * not ours. `overloaded`: more calls in flight than `maxInFlight`, or a memory store at its bound.
   */
  readonly reason: StoreFailure;

  constructor(reason: StoreFailure, message: string, options?: { cause?: unknown }) {
    super(CODE_OF[reason], message, options);
    this.reason = reason;
    Object.defineProperty(this, STORE_ERROR, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return carries(value, STORE_ERROR);
  }
}
Object.defineProperty(StoreError.prototype, 'name', { value: 'StoreError' });

/** For an option whose value is wrong: names the option, the rule, the value and the cure. */
export function invalidOption(
  option: string,
  rule: string,
  value: unknown,
  cure: string,
): RateLimiterError {
  return optionError(option, `be ${rule}`, `got ${show(value)}`, cure);
}

/**
 * The wording of all errors about options. `rule` begins with a verb. `found` is what was given instead, in words where
 * the value itself says too little or is secret: 'got two'.
 */
export function optionError(
  option: string,
  rule: string,
  found: string,
  cure: string,
  { code = 'ERR_INVALID_OPTION', cause }: { code?: ErrorCode; cause?: unknown } = {},
): RateLimiterError {
  const message = `\`${option}\` must ${rule}, ${found}. ${cure}`;
  return new RateLimiterError(code, message, cause === undefined ? undefined : { cause });
}

const LONG_BIGINT = 10n ** 40n;

/** Two searches and no pattern: the text may come from a request, and be long. */
function mayHoldPassword(text: string): boolean {
  const scheme = text.indexOf('://');
  return scheme !== -1 && text.includes('@', scheme);
}

/** For an object that another version of this package made, where its inside matters. `got`: "a limit". */
export function ofAnotherVersion(option: string, got: string): RateLimiterError {
  return optionError(
    option,
    'come from the version of distributed-rate-limiter that is asked',
    `got ${got} of another version`,
    'Two versions of the package are loaded: `npm ls distributed-rate-limiter` lists them, and `npm dedupe` leaves one where their ranges allow it.',
  );
}

/** For a connection that workerd keeps from a request. `cause`: what workerd said, where it was asked. */
export function betweenRequests(cause?: unknown): RateLimiterError {
  return new RateLimiterError(
    'ERR_RUNTIME_UNSUPPORTED',
    "`redis` must be a client made in the request that uses it: on Cloudflare Workers (workerd) no request can use another's connection. Make client and limiter in the request, as `defineLimiter` of `distributed-rate-limiter/workers` does, or in a Durable Object; or pass `store: new MemoryStore()`, which limits each isolate by itself; or limit on Node.js.",
    { cause },
  );
}

/** For a call under limits for whose states the identity's value has no room. */
export function tooManyLimits(): RateLimiterError {
  return new RateLimiterError(
    'ERR_TOO_MANY_LIMITS',
    '`limits` must need at most 32 states of one identity that still count at once, got one more. Reuse the names of limits; `reset` under limits that are no longer used makes room.',
  );
}

/** A value as an error message shows it: short, with its type where that is the point, never a whole object. */
export function show(value: unknown): string {
  if (typeof value === 'string' && mayHoldPassword(value)) {
    return 'a URL (not repeated, it may hold a password)';
  }
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  }
  if (typeof value === 'bigint') {
    // A bigint of many digits takes long to print.
    return value < LONG_BIGINT && value > -LONG_BIGINT ? `${value}n (bigint)` : 'a long bigint';
  }
  if (typeof value === 'number') {
    return Object.is(value, -0) ? '-0' : String(value);
  }
  if (value === null || value === undefined || typeof value === 'boolean') {
    return String(value);
  }
  try {
    if (Array.isArray(value)) {
      return `an array of ${value.length}`;
    }
  } catch {
    // A proxy may throw whatever is asked of it.
  }
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
