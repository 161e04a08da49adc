import { isMarked } from '../base/copies.ts';
import { concurrency } from '../algorithms/concurrency.ts';
import type { ConcurrencyOptions } from '../algorithms/concurrency.ts';
import { fixedWindow } from '../algorithms/fixed-window.ts';
import type { FixedWindowOptions } from '../algorithms/fixed-window.ts';
import { readBy } from '../algorithms/limit.ts';
import type { Limit, LimitOptions } from '../algorithms/limit.ts';
import type { FailStrategy, AlgorithmName, Decision } from '../base/decision.ts';
import { slidingWindow } from '../algorithms/sliding-window.ts';
import type { SlidingWindowOptions } from '../algorithms/sliding-window.ts';
import { slidingWindowLog } from '../algorithms/sliding-window-log.ts';
import type { SlidingWindowLogOptions } from '../algorithms/sliding-window-log.ts';
import { tokenBucket } from '../algorithms/token-bucket.ts';
import type { TokenBucketOptions } from '../algorithms/token-bucket.ts';
import { LimiterCounts } from '../observe/limiter-counts.ts';
import { carries, invalidOption, ofAnotherVersion, optionError } from '../base/errors.ts';
import type { RateLimiterError, StoreError } from '../base/errors.ts';
import type { Identity, IdentityOf } from '../base/identity.ts';
import { readDenyCache } from './deny-cache-options.ts';
import type { DenyCacheOptions, DenyCacheSettings } from './deny-cache-options.ts';
import { keyCountOf, LimitSet } from './limit-set.ts';
import { isOfThisVersion, readLimits } from './read-limits.ts';
import { LIMIT_NUMBERS, limiterOptions, numberOptionsOf } from '../options/option-sets.ts';
import {
  GivenOptions,
  readable,
  readBoolean,
  readFunction,
  integer,
  readNamespace,
  readOneOf,
  readSecret,
} from '../options/read-options.ts';
import { checkClient, isClusterClient } from '../redis/clients/connect.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import { digestOfUrl, readRedisUrl } from '../redis/clients/url.ts';
import { readCluster } from './cluster-options.ts';
import type { ClusterOptions, ClusterSettings } from './cluster-options.ts';
import { ClusterTags } from './cluster-tags.ts';
import type { TagCount } from './cluster-tags.ts';
import { BEHIND_HASH_TAGS, checkSlots, ON_A_CLUSTER, readTag, UNDER_SHARED_TAGS } from './homes.ts';
import type { HomeBy } from './homes.ts';
import { checkBans } from './bans.ts';
import { checkPrepay, readPrepay } from './prepay-options.ts';
import type { PrepayOptions, PrepaySettings } from './prepay-options.ts';
import { checkSharding } from './sharding.ts';
import type { Sharding } from './sharding.ts';
import { MEMORY_STORE_BRAND } from '../stores/memory.ts';
import type { MemoryStore } from '../stores/memory.ts';
import { RedisStore } from '../stores/redis.ts';
import type { Store } from '../stores/store.ts';
import { checkRequest } from '../base/workerd.ts';

/** A hook gets the identity as it was passed. */
type HeardIdentity<By extends string> = [By] extends [never] ? Identity : IdentityOf<By>;

/**
 * A refusal as `onBlock` gets it.
 *
 * @example
 * onBlock: (identity, { reason, repeated }) => {
 *   if (!repeated) logger.warn({ reason }, 'rate limited');
 * },
 */
export type HeardRefusal = Decision & {
  /**
   * Whether this limiter has told `onBlock` of a refusal of this identity under these limits within the last minute, so
   * that a log has one line per identity and minute. The last 10,000 such refusals are remembered, as digests. Not
   * enumerable.
   */
  readonly repeated: boolean;
};

/**
 * Callbacks. Their exceptions and rejections never reach a caller; the first of each hook becomes a process warning.
 */
export interface Hooks<By extends string = never> {
  /**
   * Called after every `allow`, `allowUpTo`, `wait`, `acquire` or `reserve`, and every `add` of a reservation, that lets
   * its call pass, degraded ones included. Gets the identity as it was passed.
   */
  onAllow?: (identity: HeardIdentity<By>, decision: Decision) => void;
  /**
   * Called after every one of these that does not let it pass. Exactly one of `onAllow` and `onBlock` is called per
   * decision. `decision.repeated` keeps logs short.
   */
  onBlock?: (identity: HeardIdentity<By>, decision: HeardRefusal) => void;
  /**
   * Called once per failed store call, however many decisions waited for it. Also called once, not once per call,
   * when calls begin to be answered without the store: connection lost, server hung, too many calls in flight.
   */
  onError?: (error: StoreError) => void;
}

export interface CommonOptions<By extends string> extends Hooks<NoInfer<By>> {
  /**
   * Prefix of all keys: `[A-Za-z0-9._/-]{1,64}`. Limiters with the same namespace share state. Default
   * `'rate-limit'`.
   */
  namespace?: string;
  /**
   * The parts of the identity that all keys of a call share as their hash tag, so that they are in one slot of a
   * cluster. Each limit must count by them. Default: the parts that all limits have in common; a limit that is added
   * later and lacks one of them moves all states, so say `tagBy` before. Only where limits say `by`.
   */
  tagBy?: string | readonly string[];
  /** The answer to a call when the store gives none. For logins and payments choose `'closed'`. Default `'open'`. */
  failStrategy?: FailStrategy;
  /** Whether `block` can be called, and blocked identities are refused; costs one more key per call. Default false. */
  blocks?: boolean;
  /**
   * Whether `observe` can be called, and calls are held to what it was told. For limits on calls to a provider that
   * reports its own limits. All processes that share the limit need it. Default false.
   */
  observes?: boolean;
  /**
   * Hashes keys with HMAC-SHA-256 under this secret of at least 32 bytes, instead of SHA-256. A bare hash of an
   * address or a phone number can be reversed by trying them all. All processes need the same secret: another one
   * makes other keys, and every identity starts afresh.
   */
  hashSecret?: string | Uint8Array | undefined;
  /**
   * Whether this process repeats refusals of the store by itself while they certainly hold, `holdMs` at most, so that a
   * flood of refused calls does not reach Redis. Such decisions have `source: 'deny_cache'`. What another process gives
   * back (`reset`, `refund`, `unblock` …) takes effect here up to `holdMs` later. Default false.
   */
  denyCache?: boolean | DenyCacheOptions;
  /**
   * Whether this process may be charged for units beforehand, and spend them without asking Redis. For identities that
   * are busy in this process, and shared limits. The limit holds as exactly as without it. Under token buckets and
   * windows; a `MemoryStore` has no use for it. `true` for the defaults. Default false.
   */
  prepay?: boolean | PrepayOptions;
}

export interface OnRedis {
  /**
   * A URL (`redis://`, `rediss://` for TLS, or `unix://` and a path) or a client that you already have. A URL is
   * connected to on first use, by ioredis or else node-redis, whichever is installed. The type accepts undefined for
   * `process.env.REDIS_URL`; if it is not set, the constructor throws `ERR_INVALID_OPTION`.
   */
  redis: string | RedisClient | undefined;
  /**
   * Whether the URL is of a node of a Redis Cluster; leave true and false out with a client, which knows. With `tags`
   * decisions share script calls on a cluster as well: all keys then share so many hash tags. Default false.
   */
  cluster?: boolean | ClusterOptions;
  /** The longest that a call waits for Redis, in milliseconds, from 1 to 60,000. Default 250. */
  timeoutMs?: number;
  /** The most calls in flight on one client, from 1 to 1,000,000; further calls are `overloaded`. Default 10,000. */
  maxInFlight?: number;
  /**
   * How a proxy (Twemproxy, Envoy's Redis proxy, predixy) or a client distributes the keys over several servers. Each
   * script call then carries keys of one server only. `'key'`: by the whole first key; calls that need several keys
   * (a log or a concurrency limit beside others, `blocks`, `reserve`) are refused with `ERR_INVALID_OPTION`. `'hash_tag'`: by the part of the key
   * in braces; all keys of an identity are then together, and nothing is refused. Leave it out for one server,
   * Sentinel and Redis Cluster.
   */
  sharding?: Sharding;
  store?: never;
}

interface InMemory {
  /** Keeps state in this process only. */
  store: MemoryStore;
  redis?: never;
  /** Changes nothing but keys: for limiters that are tested with the options of those on a cluster. */
  cluster?: ClusterOptions;
  timeoutMs?: never;
  maxInFlight?: never;
  sharding?: never;
}

/** Options of a limiter's only limit, which needs no name. */
type Unnamed<Options> = Omit<Options, keyof LimitOptions>;

interface OneTokenBucket extends Unnamed<TokenBucketOptions> {
  algorithm?: 'token_bucket';
  timeZone?: never;
  anchor?: never;
  weekStart?: never;
  max?: never;
  ttl?: never;
  limits?: never;
}

interface OneSlidingWindow extends Unnamed<SlidingWindowOptions> {
  algorithm: 'sliding_window';
  burst?: never;
  timeZone?: never;
  anchor?: never;
  weekStart?: never;
  max?: never;
  ttl?: never;
  limits?: never;
}

interface OneSlidingWindowLog extends Unnamed<SlidingWindowLogOptions> {
  algorithm: 'sliding_window_log';
  burst?: never;
  timeZone?: never;
  anchor?: never;
  weekStart?: never;
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
  anchor?: never;
  weekStart?: never;
  limits?: never;
}

/** Options of a limiter with one limit, given as numbers. */
export type OneLimit =
  | OneTokenBucket
  | OneSlidingWindow
  | OneSlidingWindowLog
  | OneFixedWindow
  | OneConcurrency;

export interface SeveralLimits<By extends string, Unit extends string> {
  /** From 1 to 16 limits that govern every call together: it passes all of them, or is charged under none. */
  limits: readonly Limit<string, By, Unit>[];
  rate?: never;
  period?: never;
  burst?: never;
  timeZone?: never;
  anchor?: never;
  weekStart?: never;
  max?: never;
  ttl?: never;
  algorithm?: never;
}

/**
 * Options of a `RateLimiter`: where its state lives, its limits, and how it answers without the store. `By` is the
 * union of the parts that its limits count by.
 *
 * @example
 * const options: RateLimiterOptions = { redis: 'redis://localhost:6379', rate: 100, period: '1m', burst: 20 };
 */
export type RateLimiterOptions<
  By extends string = never,
  Unit extends string = never,
> = CommonOptions<By> & (OnRedis | InMemory) & (OneLimit | SeveralLimits<By, Unit>);

/** Checked options, and everything derived from them. */
export interface Settings {
  readonly namespace: string;
  readonly limits: LimitSet;
  readonly counts: LimiterCounts;
  readonly store: Store;
  /** Identifies the store: a client, the digest of a URL, or the memory store itself. */
  readonly storeId: string | object;
  readonly blocks: boolean;
  readonly observes: boolean;
  readonly failStrategy: FailStrategy;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly sharding: Sharding | undefined;
  /** Why all keys of a call have to be in one slot, as far as that is known before the first call. */
  readonly oneSlot: string | undefined;
  readonly hashSecret: string | Uint8Array | undefined;
  readonly denyCache: DenyCacheSettings | undefined;
  readonly hooks: Hooks<string>;
  readonly prepay: PrepaySettings | undefined;
}

export function readLimiterOptions(options: unknown): Settings {
  const { limits, tagBy, tags, openStore, ...read } = readable('options', () => readParts(options));
  const { namespace, blocks, observes, failStrategy } = read;
  const opened = openStore(read.timeoutMs);
  const counts = new LimiterCounts(namespace, failStrategy, opened.store.time);
  return {
    ...read,
    ...opened,
    counts,
    limits: new LimitSet(namespace, limits, blocks, {
      counts,
      clock: opened.store.clock,
      tagBy,
      tags: tags === undefined ? undefined : new ClusterTags(namespace, tags),
      observes,
    }),
  };
}

/** Throws what `readLimiterOptions` would throw, but opens nothing. */
export function checkLimiterOptions(options: unknown): void {
  readable('options', () => readParts(options));
}

/** Checked options, before the store is opened. */
interface Parts extends Omit<Settings, 'limits' | 'counts' | 'store' | 'storeId'> {
  readonly limits: readonly Limit[];
  readonly tagBy: HomeBy | undefined;
  readonly tags: TagCount | undefined;
  readonly openStore: (timeoutMs: number) => OpenedStore;
}

const SAYS_NOTHING: ClusterSettings = { enabled: undefined, tags: undefined };

/** Why all keys of a call have to be in one slot. */
function oneSlotOf(
  { values }: GivenOptions,
  { enabled, tags }: ClusterSettings,
): string | undefined {
  const { redis, sharding } = values;
  if (sharding === 'hash_tag') {
    return BEHIND_HASH_TAGS;
  }
  if (tags !== undefined) {
    return UNDER_SHARED_TAGS;
  }
  const isCluster =
    enabled === true ||
    (typeof redis === 'object' && redis !== null && isClusterClient(redis as RedisClient));
  return isCluster ? ON_A_CLUSTER : undefined;
}

function readParts(options: unknown): Parts {
  const given = new GivenOptions(limiterOptions(plainAlgorithmOf(options)), options);
  const timeoutMs = given.optional('timeoutMs', integer(1, 60_000), 250);
  const cluster =
    given.optional('cluster', (_, value) => readCluster(value), undefined) ?? SAYS_NOTHING;
  const parts: Omit<Parts, 'oneSlot'> = {
    namespace: given.optional('namespace', readNamespace, 'rate-limit'),
    blocks: given.optional('blocks', readBoolean, false),
    observes: given.optional('observes', readBoolean, false),
    failStrategy: given.optional('failStrategy', readFailStrategy, 'open'),
    timeoutMs,
    maxInFlight: given.optional('maxInFlight', integer(1, 1_000_000), 10_000),
    sharding: given.optional('sharding', readSharding, undefined),
    hashSecret: given.optional('hashSecret', readSecret, undefined),
    denyCache: given.optional(
      'denyCache',
      (_, value) => readDenyCache(value, timeoutMs),
      undefined,
    ),
    hooks: readHooks(given),
    prepay: given.optional('prepay', (_, value) => readPrepay(value), undefined),
    limits: readGivenLimits(given),
    tagBy: given.optional('tagBy', readBy, undefined),
    tags: cluster.tags,
    openStore: readStore(given, cluster),
  };
  const { sharding, limits, tagBy, blocks, observes } = parts;
  let oneSlot: string | undefined;
  given.attempt('limits', () => {
    const tag = readTag(limits ?? [], tagBy);
    oneSlot = tag === undefined ? undefined : oneSlotOf(given, cluster);
    checkSlots(limits ?? [], tag, oneSlot);
  });
  given.attempt('limits', () => checkBans(limits ?? [], blocks ?? false));
  given.attempt('limits', () =>
    checkSharding(sharding, 'limits', keyCountOf(limits ?? [], observes ?? false)),
  );
  given.attempt('blocks', () => checkSharding(sharding, 'blocks', blocks ? 2 : 1));
  given.attempt('prepay', () => checkSharding(sharding, 'prepay', parts.prepay ? 2 : 1));
  given.attempt('prepay', () => checkPrepay(parts.prepay, limits ?? [], observes ?? false));
  given.end();
  return { ...parts, oneSlot };
}

function readSharding(option: string, value: unknown): Sharding {
  return readOneOf(option, value, ['key', 'hash_tag']);
}

function readFailStrategy(option: string, value: unknown): FailStrategy {
  return readOneOf(option, value, ['open', 'closed', 'throw']);
}

/** The factory of each algorithm. */
export const FACTORIES: Readonly<Record<AlgorithmName, (numbers: never) => Limit>> = {
  token_bucket: tokenBucket,
  sliding_window: slidingWindow,
  sliding_window_log: slidingWindowLog,
  fixed_window: fixedWindow,
  concurrency,
};

const ALGORITHMS = Object.keys(FACTORIES) as AlgorithmName[];

/** The algorithm of the only limit; undefined if `limits` is given or the algorithm is wrong. */
function plainAlgorithmOf(options: unknown): AlgorithmName | undefined {
  const { limits, algorithm = 'token_bucket' } = (options ?? {}) as Record<string, unknown>;
  return limits === undefined && ALGORITHMS.includes(algorithm as AlgorithmName)
    ? (algorithm as AlgorithmName)
    : undefined;
}

/** Reads `limits`, or else the only limit's own options. */
function readGivenLimits(given: GivenOptions): readonly Limit[] {
  const { limits } = given.values;
  if (limits !== undefined) {
    for (const name of ['algorithm', ...LIMIT_NUMBERS]) {
      given.refuse(name, 'left out where `limits` is given', 'Put it into one of the limits.');
    }
    return given.attempt('limits', () => readLimits(limits, isOfThisVersion));
  }
  const algorithm = given.optional('algorithm', readAlgorithm, 'token_bucket');
  // The options of an unknown algorithm's limit are unknown, so they are not checked.
  return given.attempt('limits', () =>
    algorithm === undefined ? [] : [FACTORIES[algorithm](numbersIn(given, algorithm) as never)],
  );
}

function readAlgorithm(option: string, value: unknown): AlgorithmName {
  return readOneOf(option, value, ALGORITHMS);
}

/** Keeps undefined values, so that the limit's own check reports them. */
function numbersIn({ values }: GivenOptions, algorithm: AlgorithmName): Record<string, unknown> {
  const names = numberOptionsOf(algorithm).filter((name) => name in values);
  return Object.fromEntries(names.map((name) => [name, values[name]]));
}

type OpenedStore = Pick<Settings, 'store' | 'storeId'>;

/** In place of `redis`, an object with this function opens a store of another kind. */
export const OPENS_STORE: unique symbol = Symbol('opens a store');

interface StoreOpener {
  [OPENS_STORE](timeoutMs: number, sharded: boolean): Store;
}

/** Checks where state is to live, and returns a function that opens the store. */
function readStore(
  given: GivenOptions,
  { enabled, tags }: ClusterSettings,
): (timeoutMs: number) => OpenedStore {
  const { store, redis, cluster } = given.values;
  const refuseEnabled = (where: string): void => {
    if (typeof cluster === 'boolean') {
      given.refuse('cluster', `left out where \`${where}`, 'Leave `cluster` out.');
    } else if (enabled !== undefined) {
      given.attempt('cluster', () => {
        throw invalidOption(
          'cluster.enabled',
          `left out where \`${where}`,
          enabled,
          'Leave `enabled` out.',
        );
      });
    }
  };
  if (store !== undefined || ('store' in given.values && !('redis' in given.values))) {
    if (redis !== undefined) {
      given.attempt('redis', () => {
        throw oneStore('both');
      });
    }
    for (const name of ['timeoutMs', 'maxInFlight', 'sharding']) {
      given.refuse(name, 'left out where `store` is given', `Leave \`${name}\` out.`);
    }
    refuseEnabled('store` is given');
    const memory = given.required('store', readMemoryStore);
    return () => ({ store: memory, storeId: memory });
  }
  if (enabled === true || tags !== undefined) {
    given.refuse(
      'sharding',
      `left out where \`cluster\` ${tags === undefined ? 'is true' : 'has `tags`'}`,
      'The client of a Redis Cluster knows where each key is.',
    );
  }
  if (typeof redis === 'object' && redis !== null) {
    refuseEnabled('redis` is a client');
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
    store: isOpener(client)
      ? client[OPENS_STORE](timeoutMs, sharded)
      : new RedisStore(client, enabled ?? tags !== undefined, timeoutMs, sharded),
    storeId: typeof client === 'string' ? digestOfUrl(client) : client,
  });
}

function oneStore(got: 'both' | 'neither'): RateLimiterError {
  return optionError(
    'redis` or `store',
    'be given, one of them',
    `got ${got}`,
    'Pass `redis`, or `store: new MemoryStore()` for one process.',
  );
}

function isOpener(redis: unknown): redis is StoreOpener {
  return typeof redis === 'object' && redis !== null && OPENS_STORE in redis;
}

function readRedis(redis: unknown): string | RedisClient | StoreOpener {
  if (isOpener(redis)) {
    return redis;
  }
  if (typeof redis === 'string') {
    readRedisUrl(redis);
  } else {
    checkClient(redis);
  }
  checkRequest(redis);
  return redis;
}

function readMemoryStore(option: string, store: unknown): MemoryStore {
  if (!isMarked(store, MEMORY_STORE_BRAND)) {
    throw carries(store, MEMORY_STORE_BRAND)
      ? ofAnotherVersion(option, 'a MemoryStore')
      : invalidOption(
          option,
          'a MemoryStore',
          store,
          'Pass `new MemoryStore()`, or give `redis` instead.',
        );
  }
  return store as MemoryStore;
}

function readHooks(given: GivenOptions): Hooks<string> {
  const hooks: Record<string, unknown> = {};
  for (const name of ['onAllow', 'onBlock', 'onError']) {
    const hook = given.optional(name, readFunction, undefined);
    if (hook !== undefined) {
      hooks[name] = hook;
    }
  }
  return hooks;
}
