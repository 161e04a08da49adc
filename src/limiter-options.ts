import { concurrency } from './algorithms/concurrency.ts';
import type { ConcurrencyOptions } from './algorithms/concurrency.ts';
import { fixedWindow } from './algorithms/fixed-window.ts';
import type { FixedWindowOptions } from './algorithms/fixed-window.ts';
import type { AlgorithmName, Limit, LimitOptions } from './algorithms/limit.ts';
import { slidingWindow } from './algorithms/sliding-window.ts';
import type { SlidingWindowOptions } from './algorithms/sliding-window.ts';
import { slidingWindowLog } from './algorithms/sliding-window-log.ts';
import type { SlidingWindowLogOptions } from './algorithms/sliding-window-log.ts';
import { tokenBucket } from './algorithms/token-bucket.ts';
import type { TokenBucketOptions } from './algorithms/token-bucket.ts';
import type { Clock } from './clock.ts';
import { LimiterCounts } from './counts.ts';
import type { Decision } from './decision.ts';
import { invalidOption, RateLimiterError } from './errors.ts';
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
  readSecret,
  readable,
} from './options.ts';
import { checkClient } from './redis/connect.ts';
import type { RedisClient } from './redis/connect.ts';
import { readRedisUrl } from './redis/url.ts';
import { checkSharding } from './sharding.ts';
import type { Sharding } from './sharding.ts';
import { MemoryStore } from './stores/memory.ts';
import { RedisStore } from './stores/redis.ts';
import type { Store } from './stores/store.ts';

/** What a call is answered when the store gives no answer: `true`, `false`, or a rejection with the error. */
export type FailStrategy = 'open' | 'closed' | 'throw';

/** Callbacks. What they throw or reject with never reaches a caller: it becomes one process warning. */
export interface Hooks {
  /** After every `allow` or `acquire` that lets its call pass, degraded ones included. Gets the identity as it was passed. */
  onAllow?: (identity: Identity, decision: Decision) => void;
  /** After every one that does not. Exactly one of `onAllow` and `onBlock` is called per decision. */
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
  /** Whether calls of an identity that `block` was called for are refused, which costs one more key per call. Default false. */
  blocks?: boolean;
  /**
   * Makes keys HMAC-SHA-256 under this secret, of at least 32 bytes, instead of SHA-256: a bare hash of an
   * address or a phone number is reversed by trying them all. All processes need the same one; another secret
   * is another key, so every identity starts afresh.
   */
  hashSecret?: string | Uint8Array | undefined;
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
  /**
   * For a proxy that shares the keys out over several servers (Twemproxy, Envoy's Redis proxy, predixy), or a client
   * that does so: each script call then carries keys of one server only. `'key'`: the server is chosen by the whole
   * first key; calls that need several keys (several limits, `blocks`, `reserve`) are refused with
   * `ERR_INVALID_OPTION`. `'hash_tag'`: by what stands between braces in it, so that all keys of an identity are
   * together and nothing is refused. Left out for one server, Sentinel and Redis Cluster.
   */
  sharding?: Sharding;
  store?: never;
}

interface InMemory {
  /** State in this process alone. */
  store: MemoryStore;
  redis?: never;
  cluster?: never;
  timeoutMs?: never;
  maxInFlight?: never;
  sharding?: never;
}

/** The numbers of a limiter's only limit, which needs no name. */
type Unnamed<Options> = Omit<Options, keyof LimitOptions>;

interface OneTokenBucket extends Unnamed<TokenBucketOptions> {
  algorithm?: 'token_bucket';
  timeZone?: never;
  max?: never;
  ttl?: never;
  limits?: never;
}

interface OneSlidingWindow extends Unnamed<SlidingWindowOptions> {
  algorithm: 'sliding_window';
  burst?: never;
  timeZone?: never;
  max?: never;
  ttl?: never;
  limits?: never;
}

interface OneSlidingWindowLog extends Unnamed<SlidingWindowLogOptions> {
  algorithm: 'sliding_window_log';
  burst?: never;
  timeZone?: never;
  limits?: never;
}

interface OneFixedWindow extends Unnamed<FixedWindowOptions> {
  algorithm: 'fixed_window';
  burst?: never;
  max?: never;
  ttl?: never;
  limits?: never;
}

interface OneConcurrency extends Unnamed<ConcurrencyOptions> {
  algorithm: 'concurrency';
  rate?: never;
  period?: never;
  burst?: never;
  timeZone?: never;
  limits?: never;
}

interface SeveralLimits {
  /** One to 16 limits that govern every call together: it passes all of them, or is charged under none. */
  limits: readonly Limit[];
  rate?: never;
  period?: never;
  burst?: never;
  timeZone?: never;
  max?: never;
  ttl?: never;
  algorithm?: never;
}

/**
 * Where state lives, what the limits are, and what happens without the store.
 *
 * @example
 * const options: LimiterOptions = { redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 };
 */
export type LimiterOptions = CommonOptions &
  (OnRedis | InMemory) &
  (
    | OneTokenBucket
    | OneSlidingWindow
    | OneSlidingWindowLog
    | OneFixedWindow
    | OneConcurrency
    | SeveralLimits
  );

/** Options that are right, with what follows from them. */
export interface Settings {
  readonly namespace: string;
  readonly limits: LimitSet;
  readonly counts: LimiterCounts;
  readonly store: Store;
  /** What the store's state belongs to: a client, a URL, or the memory store itself. */
  readonly place: string | object;
  readonly blocks: boolean;
  readonly failStrategy: FailStrategy;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly sharding: Sharding | undefined;
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
  'timeZone',
  'max',
  'ttl',
  'algorithm',
  'limits',
  'namespace',
  'blocks',
  'failStrategy',
  'timeoutMs',
  'maxInFlight',
  'sharding',
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
  points: 'rate',
  prefix: 'namespace',
  proxy: 'sharding',
  redisUrl: 'redis',
  requests: 'rate',
  shard: 'sharding',
  sharded: 'sharding',
  shards: 'sharding',
  storeClient: 'redis',
  timeout: 'timeoutMs',
  timeWindow: 'period',
  twemproxy: 'sharding',
  blockDuration: 'blocks',
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
  for (const name of ['cluster', 'timeoutMs', 'maxInFlight', 'sharding']) {
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
  const place = readable('redis', () => readStore(given, has, timeoutMs));
  const blocks = has('blocks') && readBoolean('blocks', given['blocks']);
  const failStrategy = has('failStrategy')
    ? readOneOf('failStrategy', given['failStrategy'], ['open', 'closed', 'throw'])
    : 'open';
  const counts = new LimiterCounts(namespace, failStrategy, place.store.time);
  const limits = readable('limits', () =>
    readLimitSet(given, has, namespace, blocks, counts, place.store.clock),
  );
  const sharding = has('sharding')
    ? readOneOf('sharding', given['sharding'], ['key', 'hash_tag'])
    : undefined;
  checkSharding(sharding, 'limits', limits.limits.length);
  checkSharding(sharding, 'blocks', limits.limits.length + (blocks ? 1 : 0));
  return {
    namespace,
    blocks,
    counts,
    timeoutMs,
    maxInFlight: has('maxInFlight')
      ? readInteger('maxInFlight', given['maxInFlight'], 1, 1_000_000)
      : 10_000,
    failStrategy,
    hashSecret: has('hashSecret')
      ? readable('hashSecret', () => readSecret('hashSecret', given['hashSecret']))
      : undefined,
    hooks: readHooks(given),
    limits,
    sharding,
    ...place,
  };
}

/** Each algorithm's factory, and what of a limiter's options is its own. */
export const FACTORIES: Readonly<Record<AlgorithmName, (numbers: never) => Limit>> = {
  token_bucket: tokenBucket,
  sliding_window: slidingWindow,
  sliding_window_log: slidingWindowLog,
  fixed_window: fixedWindow,
  concurrency,
};

const NUMBERS = ['rate', 'period', 'burst', 'timeZone', 'max', 'ttl'];

function readLimitSet(
  given: Record<string, unknown>,
  has: (name: string) => boolean,
  namespace: string,
  blocks: boolean,
  counts: LimiterCounts,
  clock: Clock | undefined,
): LimitSet {
  if (!has('limits')) {
    const algorithm = has('algorithm')
      ? readOneOf('algorithm', given['algorithm'], Object.keys(FACTORIES) as AlgorithmName[])
      : 'token_bucket';
    const numbers = Object.fromEntries(NUMBERS.filter(has).map((name) => [name, given[name]]));
    return new LimitSet(namespace, [FACTORIES[algorithm](numbers as never)], blocks, counts, clock);
  }
  for (const name of [...NUMBERS, 'algorithm']) {
    if (has(name)) {
      throw invalidOption(
        name,
        'left out where `limits` is given',
        given[name],
        'Put it into one of the limits.',
      );
    }
  }
  return new LimitSet(namespace, given['limits'], blocks, counts, clock);
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
  if (cluster && has('sharding')) {
    throw invalidOption(
      'sharding',
      'left out where `cluster` is true',
      given['sharding'],
      'The client of a Redis Cluster knows where each key is.',
    );
  }
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
  return { store: new RedisStore(redis, cluster, timeoutMs, has('sharding')), place: redis };
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
