import { concurrency } from '../algorithms/concurrency.ts';
import type { ConcurrencyOptions } from '../algorithms/concurrency.ts';
import { fixedWindow } from '../algorithms/fixed-window.ts';
import type { FixedWindowOptions } from '../algorithms/fixed-window.ts';
import type { Limit, LimitOptions } from '../algorithms/limit.ts';
import type { FailStrategy, AlgorithmName, Decision } from '../base/decision.ts';
import { slidingWindow } from '../algorithms/sliding-window.ts';
import type { SlidingWindowOptions } from '../algorithms/sliding-window.ts';
import { slidingWindowLog } from '../algorithms/sliding-window-log.ts';
import type { SlidingWindowLogOptions } from '../algorithms/sliding-window-log.ts';
import { tokenBucket } from '../algorithms/token-bucket.ts';
import type { TokenBucketOptions } from '../algorithms/token-bucket.ts';
import { LimiterCounts } from '../observe/limiter-counts.ts';
import { carries, invalidOption, ofAnotherCopy, RateLimiterError } from '../base/errors.ts';
import type { StoreError } from '../base/errors.ts';
import type { Identity } from '../base/identity.ts';
import { isOfThisCopy, LimitSet, readLimits } from './limit-set.ts';
import { LIMIT_NUMBERS, limiterOptions, numbersOf } from '../options/option-sets.ts';
import {
  GivenOptions,
  readable,
  readBoolean,
  readFunction,
  readInteger,
  readNamespace,
  readOneOf,
  readSecret,
} from '../options/read-options.ts';
import { checkClient } from '../redis/clients/connect.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import { digestOfUrl, readRedisUrl } from '../redis/clients/url.ts';
import { checkSharding } from './sharding.ts';
import type { Sharding } from './sharding.ts';
import { MEMORY_STORE_BRAND, MemoryStore } from '../stores/memory.ts';
import { RedisStore } from '../stores/redis.ts';
import type { Store } from '../stores/store.ts';
import { checkRequest } from '../base/workerd.ts';

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
   * node-redis, whichever is installed. Or a client that you already have. The type takes undefined for
   * `process.env.REDIS_URL`; where that is not set, the constructor throws `ERR_INVALID_OPTION`.
   */
  redis: string | RedisClient | undefined;
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
 * const options: RateLimiterOptions = { redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 };
 */
export type RateLimiterOptions = CommonOptions &
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
  /** What the store's state belongs to: a client, the digest of a URL, or the memory store itself. */
  readonly storeId: string | object;
  readonly blocks: boolean;
  readonly failStrategy: FailStrategy;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly sharding: Sharding | undefined;
  readonly hashSecret: string | Uint8Array | undefined;
  readonly hooks: Hooks;
}

export function readLimiterOptions(options: unknown): Settings {
  const { limits, openStore, ...read } = readable('options', () => readParts(options));
  const { namespace, blocks, failStrategy } = read;
  const opened = openStore(read.timeoutMs);
  const counts = new LimiterCounts(namespace, failStrategy, opened.store.time);
  return {
    ...read,
    ...opened,
    counts,
    limits: new LimitSet(namespace, limits, blocks, counts, opened.store.clock),
  };
}

/** Throws what `readLimiterOptions` would throw, and opens nothing. */
export function checkLimiterOptions(options: unknown): void {
  readable('options', () => readParts(options));
}

/** Options that are right, before anything is opened. */
interface Parts extends Omit<Settings, 'limits' | 'counts' | 'store' | 'storeId'> {
  readonly limits: readonly Limit[];
  readonly openStore: (timeoutMs: number) => OpenedStore;
}

function readParts(options: unknown): Parts {
  const given = new GivenOptions(limiterOptions(plainAlgorithmOf(options)), options);
  const parts: Parts = {
    namespace: given.optional('namespace', readNamespace, 'rate-limit'),
    blocks: given.optional('blocks', readBoolean, false),
    failStrategy: given.optional('failStrategy', readFailStrategy, 'open'),
    timeoutMs: given.optional('timeoutMs', integer(1, 60_000), 250),
    maxInFlight: given.optional('maxInFlight', integer(1, 1_000_000), 10_000),
    sharding: given.optional('sharding', readSharding, undefined),
    hashSecret: given.optional('hashSecret', readSecret, undefined),
    hooks: readHooks(given),
    limits: readGivenLimits(given),
    openStore: readStore(given),
  };
  const { sharding, limits, blocks } = parts;
  given.attempt('limits', () => checkSharding(sharding, 'limits', limits?.length ?? 0));
  given.attempt('blocks', () => checkSharding(sharding, 'blocks', blocks ? 2 : 1));
  given.end();
  return parts;
}

function integer(min: number, max: number): (option: string, value: unknown) => number {
  return (option, value) => readInteger(option, value, min, max);
}

function readSharding(option: string, value: unknown): Sharding {
  return readOneOf(option, value, ['key', 'hash_tag']);
}

function readFailStrategy(option: string, value: unknown): FailStrategy {
  return readOneOf(option, value, ['open', 'closed', 'throw']);
}

/** Each algorithm's factory, and what of a limiter's options is its own. */
export const FACTORIES: Readonly<Record<AlgorithmName, (numbers: never) => Limit>> = {
  token_bucket: tokenBucket,
  sliding_window: slidingWindow,
  sliding_window_log: slidingWindowLog,
  fixed_window: fixedWindow,
  concurrency,
};

const ALGORITHMS = Object.keys(FACTORIES) as AlgorithmName[];

/** The algorithm of a limiter that is given the numbers of its only limit; undefined where it is not, or is wrong. */
function plainAlgorithmOf(options: unknown): AlgorithmName | undefined {
  const { limits, algorithm = 'token_bucket' } = (options ?? {}) as Record<string, unknown>;
  return limits === undefined && ALGORITHMS.includes(algorithm as AlgorithmName)
    ? (algorithm as AlgorithmName)
    : undefined;
}

/** The limits, from `limits` or from the numbers of the only one. */
function readGivenLimits(given: GivenOptions): readonly Limit[] {
  const { limits } = given.values;
  if (limits !== undefined) {
    for (const name of ['algorithm', ...LIMIT_NUMBERS]) {
      given.refuse(name, 'left out where `limits` is given', 'Put it into one of the limits.');
    }
    return given.attempt('limits', () => readLimits(limits, isOfThisCopy));
  }
  const algorithm = given.optional('algorithm', readAlgorithm, 'token_bucket');
  // A limit of an algorithm that is unknown has numbers that are unknown.
  return given.attempt('limits', () =>
    algorithm === undefined ? [] : [FACTORIES[algorithm](numbersIn(given, algorithm) as never)],
  );
}

function readAlgorithm(option: string, value: unknown): AlgorithmName {
  return readOneOf(option, value, ALGORITHMS);
}

/** With those that are undefined: the limit says so of them. */
function numbersIn({ values }: GivenOptions, algorithm: AlgorithmName): Record<string, unknown> {
  const names = numbersOf(algorithm).filter((name) => name in values);
  return Object.fromEntries(names.map((name) => [name, values[name]]));
}

type OpenedStore = Pick<Settings, 'store' | 'storeId'>;

/** Checks where state is to live, and returns what opens it. */
function readStore(given: GivenOptions): (timeoutMs: number) => OpenedStore {
  const { store, redis } = given.values;
  if (store !== undefined || ('store' in given.values && !('redis' in given.values))) {
    if (redis !== undefined) {
      given.attempt('redis', () => {
        throw oneStore('both');
      });
    }
    for (const name of ['cluster', 'timeoutMs', 'maxInFlight', 'sharding']) {
      given.refuse(name, 'left out where `store` is given', 'It concerns Redis alone.');
    }
    const memory = given.required('store', readMemoryStore);
    return () => ({ store: memory, storeId: memory });
  }
  const cluster = given.optional('cluster', readBoolean, false);
  if (cluster) {
    given.refuse(
      'sharding',
      'left out where `cluster` is true',
      'The client of a Redis Cluster knows where each key is.',
    );
  }
  if (typeof redis === 'object' && redis !== null) {
    given.refuse('cluster', 'left out where `redis` is a client', 'The client knows what it is.');
  }
  const client = given.required('redis', (option, value) => {
    if (value === undefined) {
      throw option in given.values
        ? invalidOption(
            option,
            'a URL or a client',
            value,
            'Pass one, or `store: new MemoryStore()` for one process.',
          )
        : oneStore('neither');
    }
    return readRedis(value);
  });
  const sharded = given.values['sharding'] !== undefined;
  return (timeoutMs) => ({
    store: new RedisStore(client, cluster, timeoutMs, sharded),
    storeId: typeof client === 'string' ? digestOfUrl(client) : client,
  });
}

function oneStore(got: 'both' | 'neither'): RateLimiterError {
  return new RateLimiterError(
    'ERR_INVALID_OPTION',
    `\`redis\` or \`store\` must be given, one of them, got ${got}. Pass \`redis\`, or \`store: new MemoryStore()\` for one process.`,
  );
}

function readRedis(redis: unknown): string | RedisClient {
  if (typeof redis === 'string') {
    readRedisUrl(redis);
  } else {
    checkClient(redis);
  }
  checkRequest(redis);
  return redis;
}

function readMemoryStore(option: string, store: unknown): MemoryStore {
  if (!(store instanceof MemoryStore)) {
    throw carries(store, MEMORY_STORE_BRAND)
      ? ofAnotherCopy(option, 'a MemoryStore')
      : invalidOption(
          option,
          'a MemoryStore',
          store,
          'Pass `new MemoryStore()`, or give `redis` instead.',
        );
  }
  return store;
}

function readHooks(given: GivenOptions): Hooks {
  const hooks: Record<string, unknown> = {};
  for (const name of ['onAllow', 'onBlock', 'onError']) {
    const hook = given.optional(name, readFunction, undefined);
    if (hook !== undefined) {
      hooks[name] = hook;
    }
  }
  return hooks;
}
