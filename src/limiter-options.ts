import type { Limit } from './algorithms/limit.ts';
import { tokenBucket } from './algorithms/token-bucket.ts';
import type { TokenBucketOptions } from './algorithms/token-bucket.ts';
import type { Decision } from './decision.ts';
import { invalidOption, RateLimiterError, show } from './errors.ts';
import type { StoreError } from './errors.ts';
import type { Identity } from './identity.ts';
import { LimitSet } from './limit-set.ts';
import {
  readBoolean,
  readFunction,
  readInteger,
  readNamespace,
  readOneOf,
  readOptions,
  readable,
} from './options.ts';
import { checkClient } from './redis/connect.ts';
import type { RedisClient } from './redis/connect.ts';
import { readRedisUrl } from './redis/url.ts';
import { MemoryStore } from './stores/memory.ts';
import { RedisStore } from './stores/redis.ts';
import type { Store } from './stores/store.ts';

/** What a call is answered when the store gives no answer: `true`, `false`, or a rejection with the error. */
export type FailStrategy = 'open' | 'closed' | 'throw';

/** Callbacks. What they throw or reject with never reaches a caller: it becomes one process warning. */
export interface Hooks {
  /** After every `allow` that lets its call pass, degraded ones included. Gets the identity as it was passed. */
  onAllow?: (identity: Identity, decision: Decision) => void;
  /** After every `allow` that does not. Exactly one of `onAllow` and `onBlock` is called per decision. */
  onBlock?: (identity: Identity, decision: Decision) => void;
  /**
   * Once per failed store call, however many decisions waited for it; and once when calls begin to be answered
   * without one (the connection lost, the server hung, too many calls in flight), not once per call.
   */
  onError?: (error: StoreError) => void;
}

interface CommonOptions extends Hooks {
  /** What its keys begin with: `[A-Za-z0-9._/-]{1,64}`. Limiters with one namespace share state. Default `'rate-limit'`. */
  namespace?: string;
  /** Default `'open'`. For logins and payments choose `'closed'`. */
  failStrategy?: FailStrategy;
  /**
   * Makes keys HMAC-SHA-256 under this secret, of at least 32 bytes, instead of SHA-256: a bare hash of an
   * address or a phone number is reversed by trying them all. All processes need the same one; another secret
   * is another key, so every identity starts afresh.
   */
  hashSecret?: string | Uint8Array;
}

interface OnRedis {
  /**
   * `redis://`, `rediss://` (TLS) or `unix://` and a path: connected to on first use, with ioredis or else with
   * node-redis, whichever is installed. Or a client that you already have.
   */
  redis: string | RedisClient;
  /** Whether the URL is of a node of a Redis Cluster. A client says so itself. Default false. */
  cluster?: boolean;
  /** No call waits longer than this many milliseconds, whatever Redis does; from 1 to 60,000. Default 250. */
  timeoutMs?: number;
  /** Past this many calls in flight on one client the answer is `overloaded`; from 1 to 1,000,000. Default 10,000. */
  maxInFlight?: number;
  store?: never;
}

interface InMemory {
  /** State in this process alone. */
  store: MemoryStore;
  redis?: never;
  cluster?: never;
  timeoutMs?: never;
  maxInFlight?: never;
}

interface OneLimit extends Omit<TokenBucketOptions, 'name'> {
  /** Default `'token_bucket'`. */
  algorithm?: 'token_bucket';
  limits?: never;
}

interface SeveralLimits {
  /** One to 16 limits that govern every call together: it passes all of them, or is charged under none. */
  limits: readonly Limit[];
  rate?: never;
  period?: never;
  burst?: never;
  algorithm?: never;
}

/**
 * Where state lives, what the limits are, and what happens without the store.
 *
 * @example
 * const options: LimiterOptions = { redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 };
 */
export type LimiterOptions = CommonOptions & (OnRedis | InMemory) & (OneLimit | SeveralLimits);

/** What one call may say for itself. */
export interface CallOptions {
  /** Units that this call asks for; a whole number from 1. Default 1. For money, count the smallest unit. */
  cost?: number;
  /** In place of the limiter's own limits for this call: a plan, an override. What was used so far stays used. */
  limits?: readonly Limit[];
}

/** Options that are right, with what follows from them. */
export interface Settings {
  readonly namespace: string;
  readonly limits: LimitSet;
  readonly store: Store;
  /** What the store's state belongs to: a client, a URL, or the memory store itself. */
  readonly place: string | object;
  readonly failStrategy: FailStrategy;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly hashSecret: string | Uint8Array | undefined;
  readonly hooks: Hooks;
}

const KNOWN = [
  'redis',
  'cluster',
  'store',
  'rate',
  'period',
  'burst',
  'algorithm',
  'limits',
  'namespace',
  'failStrategy',
  'timeoutMs',
  'maxInFlight',
  'hashSecret',
  'onAllow',
  'onBlock',
  'onError',
] as const;

/** Other libraries' names, and the original's. */
const ALIASES: Readonly<Record<string, string>> = {
  capacity: 'burst',
  client: 'redis',
  duration: 'period',
  failOpen: 'failStrategy',
  interval: 'period',
  keyPrefix: 'namespace',
  limit: 'rate',
  max: 'rate',
  points: 'rate',
  prefix: 'namespace',
  redisUrl: 'redis',
  requests: 'rate',
  storeClient: 'redis',
  timeout: 'timeoutMs',
  timeWindow: 'period',
  ttl: 'period',
  url: 'redis',
  window: 'period',
  windowMs: 'period',
};

export function readLimiterOptions(options: unknown): Settings {
  return readable('options', () => readSettings(options));
}

function readSettings(options: unknown): Settings {
  const given = readOptions('RateLimiter', options, KNOWN, ALIASES);
  const has = (name: string): boolean => given[name] !== undefined;

  if (has('redis') === has('store')) {
    throw new RateLimiterError(
      'ERR_INVALID_OPTION',
      `\`redis\` or \`store\` must be given, one of them, got ${has('redis') ? 'both' : 'neither'}. Pass \`redis\`, or \`store: new MemoryStore()\` for one process.`,
    );
  }
  for (const name of ['cluster', 'timeoutMs', 'maxInFlight']) {
    if (has('store') && has(name)) {
      throw invalidOption(
        name,
        'left out where `store` is given',
        given[name],
        'It concerns Redis alone.',
      );
    }
  }
  const timeoutMs = has('timeoutMs')
    ? readInteger('timeoutMs', given['timeoutMs'], 1, 60_000)
    : 250;
  const namespace = has('namespace')
    ? readNamespace('namespace', given['namespace'])
    : 'rate-limit';
  return {
    namespace,
    timeoutMs,
    maxInFlight: has('maxInFlight')
      ? readInteger('maxInFlight', given['maxInFlight'], 1, 1_000_000)
      : 10_000,
    failStrategy: has('failStrategy')
      ? readOneOf('failStrategy', given['failStrategy'], ['open', 'closed', 'throw'])
      : 'open',
    hashSecret: has('hashSecret') ? readSecret(given['hashSecret']) : undefined,
    hooks: readHooks(given),
    limits: readLimitSet(given, has, namespace),
    ...readStore(given, has, timeoutMs),
  };
}

export function readCallOptions(options: unknown): { cost: number; limits: unknown } {
  const given = readOptions('this call', options, ['cost', 'limits'], {
    weight: 'cost',
    tokens: 'cost',
    points: 'cost',
  });
  const { cost } = given;
  if (cost !== undefined && !(Number.isSafeInteger(cost) && (cost as number) >= 1)) {
    throw new RateLimiterError(
      'ERR_INVALID_COST',
      `\`cost\` must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, got ${show(cost)}. To look without charging use \`peek\`; for fractions count a smaller unit.`,
    );
  }
  return { cost: (cost as number | undefined) ?? 1, limits: given['limits'] };
}

function readLimitSet(
  given: Record<string, unknown>,
  has: (name: string) => boolean,
  namespace: string,
): LimitSet {
  if (!has('limits')) {
    if (has('algorithm')) {
      readOneOf('algorithm', given['algorithm'], ['token_bucket']);
    }
    const { rate, period, burst } = given;
    return new LimitSet(namespace, [tokenBucket({ rate, period, burst } as TokenBucketOptions)]);
  }
  for (const name of ['rate', 'period', 'burst', 'algorithm']) {
    if (has(name)) {
      throw invalidOption(
        name,
        'left out where `limits` is given',
        given[name],
        'Put it into one of the limits.',
      );
    }
  }
  return new LimitSet(namespace, given['limits']);
}

function readStore(
  given: Record<string, unknown>,
  has: (name: string) => boolean,
  timeoutMs: number,
): Pick<Settings, 'store' | 'place'> {
  const { store, redis } = given;
  if (has('store')) {
    if (!(store instanceof MemoryStore)) {
      throw invalidOption(
        'store',
        'a MemoryStore',
        store,
        'Pass `new MemoryStore()`, or give `redis` instead.',
      );
    }
    return { store, place: store };
  }
  const cluster = has('cluster') && readBoolean('cluster', given['cluster']);
  if (typeof redis === 'string') {
    readRedisUrl(redis);
  } else {
    checkClient(redis);
    if (has('cluster')) {
      throw invalidOption(
        'cluster',
        'left out where `redis` is a client',
        given['cluster'],
        'The client knows what it is.',
      );
    }
  }
  return { store: new RedisStore(redis, cluster, timeoutMs), place: redis };
}

function readHooks(given: Record<string, unknown>): Hooks {
  const hooks: Record<string, unknown> = {};
  for (const name of ['onAllow', 'onBlock', 'onError']) {
    if (given[name] !== undefined) {
      hooks[name] = readFunction(name, given[name]);
    }
  }
  return hooks;
}

const MIN_SECRET_BYTES = 32;

function readSecret(value: unknown): string | Uint8Array {
  const bytes =
    typeof value === 'string'
      ? Buffer.byteLength(value)
      : value instanceof Uint8Array
        ? value.length
        : 0;
  if (bytes < MIN_SECRET_BYTES) {
    throw new RateLimiterError(
      'ERR_INVALID_OPTION',
      `\`hashSecret\` must be a string or bytes of at least ${MIN_SECRET_BYTES} bytes, and is not (the value is not repeated, it is a secret). Make one with \`openssl rand -hex 32\`.`,
    );
  }
  return typeof value === 'string' ? value : Uint8Array.from(value as Uint8Array);
}
