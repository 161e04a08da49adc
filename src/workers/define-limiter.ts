import { invalidOption, optionError, show } from '../base/errors.ts';
import type { StoreError } from '../base/errors.ts';
import type { ClusterOptions } from '../limiter/cluster-options.ts';
import { checkLimiterOptions, OPENS_STORE } from '../limiter/limiter-options.ts';
import type {
  CommonOptions,
  OneLimit,
  OnRedis,
  RateLimiterOptions,
  SeveralLimits,
} from '../limiter/limiter-options.ts';
import { RateLimiter } from '../limiter/rate-limiter.ts';
import { warnOfFailure } from '../observe/store-warnings.ts';
import { Problems } from '../options/option-problems.ts';
import { readable } from '../options/read-options.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import { RequestClient } from './request-client.ts';
import type { RequestContext } from './request-client.ts';
import { RequestStore } from './request-store.ts';

/**
 * Options of `defineLimiter`: those of a `RateLimiter` on Redis, but a function that makes the client. What needs a
 * memory beyond one request is left out: `denyCache`, `prepay`.
 *
 * @example
 * const options: DefinedLimiterOptions<Env> = { redis: (env) => new Redis(env.REDIS), rate: 100, period: '1m' };
 */
export type DefinedLimiterOptions<
  Env = unknown,
  By extends string = never,
  Unit extends string = never,
> = Omit<CommonOptions<By>, 'denyCache' | 'prepay'> &
  Pick<OnRedis, 'timeoutMs' | 'maxInFlight' | 'sharding'> &
  (OneLimit | SeveralLimits<By, Unit>) & {
    /**
     * Makes a client. Called in a request, at its first call; again only for a call that comes more than 100 ms after the
     * request's last one, because the client is closed by then. The package closes the client.
     */
    redis: (env: Env) => RedisClient;
    /** The hash tags that keys share, where `redis` makes a client of a Redis Cluster. */
    cluster?: Pick<ClusterOptions, 'tags'>;
    denyCache?: false;
    prepay?: false;
  };

/** What `defineLimiter` returns. */
export interface DefinedLimiter<Env, By extends string, Unit extends string> {
  /**
   * Returns a limiter for one request. Opens nothing before its first call. Limiters of one request whose definitions
   * have the same function `redis` share its client.
   *
   * @param context has `waitUntil`: calls that the response did not wait for are still decided, then the client closes
   * @param env is passed to `redis`
   * @throws {RateLimiterError} `ERR_INVALID_OPTION` without `waitUntil`; `ERR_RUNTIME_UNSUPPORTED` on Cloudflare Workers
   * outside of requests
   * @example
   * const limiter = limits.forRequest(ctx, env);
   * const { allowed } = await limiter.allow(user);
   */
  forRequest(
    context: RequestContext,
    ...env: unknown extends Env ? [env?: unknown] : [env: Env]
  ): RateLimiter<By, Unit>;
}

/**
 * Defines a limiter once, where the module is loaded, and makes one for each request, with a client of its own: for
 * Cloudflare Workers, where no request can use the connection of another, and for platforms like it. Calls of one turn of
 * a request travel together. No state outlives the request but in Redis.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`, once for all options that are misspelt, wrong or missing
 * @example
 * const limits = defineLimiter({
 *   redis: (env: Env) => new Redis({ host: env.REDIS_HOST, maxRetriesPerRequest: 0 }),
 *   rate: 100,
 *   period: '1m',
 * });
 * export default {
 *   async fetch(request: Request, env: Env, ctx: ExecutionContext) {
 *     const { allowed } = await limits.forRequest(ctx, env).allow(request.headers.get('x-api-key') ?? 'nobody');
 *     return new Response(null, { status: allowed ? 204 : 429 });
 *   },
 * };
 */
export function defineLimiter<
  Env = unknown,
  By extends string = never,
  Unit extends string = never,
>(options: DefinedLimiterOptions<Env, By, Unit>): DefinedLimiter<Env, By, Unit> {
  const { redis, ...rest } = readable('options', () => readDefinition(options));
  const warned = warnedOf(redis);
  return Object.freeze({
    forRequest: (context: RequestContext, ...[env]: readonly unknown[]) => {
      const client = clientOf(readContext(context), redis, env, warned);
      const settings = { ...rest, onError: rest.onError ?? warnOfOutage, redis: asRedis(client) };
      return new RateLimiter(settings as unknown as RateLimiterOptions<By, Unit>);
    },
  }) as DefinedLimiter<Env, By, Unit>;
}

/** The usual warnings follow a connection from its loss to its return, which no request sees. */
function warnOfOutage({ message, cause }: StoreError): void {
  const why = cause instanceof Error && cause.message !== '' ? `: ${cause.message}` : '';
  warnOfFailure({ message: `${message.replace(/\.$/, '')}${why}.` });
}

type MakeClient = (env: unknown) => unknown;

interface Definition {
  readonly redis: MakeClient;
  readonly onError?: unknown;
}

function readDefinition(options: unknown): Definition {
  const given = { ...(options as object) } as Record<string, unknown>;
  const problems = new Problems('the limiter');
  if (options !== null && typeof options === 'object') {
    problems.attempt(() => checkRedis(given['redis']));
    for (const [name, cure] of Object.entries(BEYOND_REQUESTS)) {
      problems.attempt(() => refuse(given, name, cure));
    }
  }
  const kept = Object.entries(given).filter(([name]) => !(name in BEYOND_REQUESTS));
  const read = Object.freeze(Object.fromEntries(kept));
  const unopened = typeof options === 'object' ? { ...read, redis: asRedis() } : options;
  problems.attempt(() => checkLimiterOptions(unopened));
  problems.throwAll();
  return read as unknown as Definition;
}

/** Options that need what outlives a request, and what to do instead. */
const BEYOND_REQUESTS: Readonly<Record<string, string>> = {
  denyCache:
    'It remembers refusals between requests. Ask a `RateLimiter` with `store: new MemoryStore()` first: it limits each isolate by itself.',
  prepay: 'It keeps units between requests. Leave it out.',
  store:
    'Requests may share a limiter in memory: make it by `new RateLimiter({ store: new MemoryStore(), … })`.',
};

function refuse(given: Readonly<Record<string, unknown>>, name: string, cure: string): void {
  if (given[name] !== undefined && given[name] !== false) {
    throw invalidOption(name, 'left out for a limiter of one request', given[name], cure);
  }
}

function checkRedis(redis: unknown): void {
  if (typeof redis !== 'function') {
    throw optionError(
      'redis',
      'be a function that makes a client',
      typeof redis === 'string' ? 'got a string' : `got ${show(redis)}`, // a URL may hold a password
      'Each request needs a client of its own: `redis: (env) => new Redis({ host: env.REDIS_HOST })`.',
    );
  }
}

function readContext(context: unknown): RequestContext {
  return readable('context', () => {
    if (typeof (context as Partial<RequestContext> | undefined)?.waitUntil !== 'function') {
      throw invalidOption(
        'context',
        'an object with `waitUntil`',
        context,
        "Pass the handler's `ctx`; in Hono `c.executionCtx`.",
      );
    }
    return context as RequestContext;
  });
}

/** The options of a limiter take this in place of a client. */
function asRedis(client?: RequestClient): object {
  return {
    [OPENS_STORE]: (timeoutMs: number, sharded: boolean) =>
      new RequestStore(client!, timeoutMs, sharded),
  };
}

/** What was warned of clients, by the function that makes them: a warning for each request would fill the log. */
const warnings = new WeakMap<MakeClient, Set<string>>();

function warnedOf(make: MakeClient): Set<string> {
  const warned = warnings.get(make) ?? new Set();
  warnings.set(make, warned);
  return warned;
}

/** The clients of each request, by the function that makes them. */
const clients = new WeakMap<RequestContext, Map<MakeClient, RequestClient>>();

function clientOf(
  context: RequestContext,
  make: MakeClient,
  env: unknown,
  warned: Set<string>,
): RequestClient {
  const ofRequest = clients.get(context) ?? new Map<MakeClient, RequestClient>();
  clients.set(context, ofRequest);
  let client = ofRequest.get(make);
  if (client === undefined) {
    client = new RequestClient(() => make(env), context, warned);
    ofRequest.set(make, client);
  }
  return client;
}
