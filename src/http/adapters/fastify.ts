import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import type { LimiterOrOptions } from '../../limiter/limiter-or-options.ts';
import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { invalidOption } from '../../base/errors.ts';
import { readBoolean, readOneOf } from '../../options/read-options.ts';
import type { AddressSource } from '../address/client-address.ts';
import { addFields, obey } from './fastify-reply.ts';
import type { ReplyLike } from './fastify-reply.ts';
import { appendPreHandler, routesOf } from './fastify-routes.ts';
import type { Route } from './fastify-routes.ts';
import { makeGuard } from '../guard.ts';
import type { Guard } from '../guard.ts';
import { overrideGuardOptions } from '../guard-options.ts';
import type { AnyGuardOptions, GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';
import { isUnanswered } from '../request-end.ts';
import { fieldsOfError } from '../thrown-refusal.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';
export type { ReplyLike } from './fastify-reply.ts';

/** The used part of Fastify's request. */
export interface RequestLike {
  readonly raw: unknown;
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  readonly url: string;
}

/** A hook for Fastify's `onRequest`, `preParsing`, `preValidation` or `preHandler`. */
export interface RateLimitHook<Request, By extends string = never, Unit extends string = never> {
  (request: Request, reply: ReplyLike, done: (error?: Error) => void): void;
  readonly limiter: RateLimiter<By, Unit>;
}

/**
 * Options of the plugin. Fastify's `register` does not tell the types which limiter is given. To have `identify` and
 * `cost` checked, write `satisfies RateLimitPluginOptions<FastifyRequest, 'org', 'tokens'>` behind the options, with
 * the parts and units of the limiter; `never` for none.
 *
 * @example
 * const options: RateLimitPluginOptions = {
 *   limiter: { redis: 'redis://localhost:6379', rate: 100, period: '1m' },
 *   hook: 'preHandler',
 *   identify: (request) => request.user?.id,
 * };
 */
export interface RateLimitPluginOptions<
  Request = FastifyRequest,
  By extends string = string,
  Unit extends string = string,
> extends GuardOptions<Request, By, Unit> {
  /** A limiter, or the options of a new one, which is closed with the application. */
  limiter: LimiterOrOptions<By, Unit>;
  /** Whether to limit routes without `config.rateLimit`, and requests that match no route. Default true. */
  global?: boolean;
  /**
   * When requests are decided. `'onRequest'`: as soon as they arrive, in the order of the instance's own hooks.
   * `'preHandler'`: right before the handler, after every other `preHandler` of the instance and of the route, so
   * after body parsing and authentication. Default `'onRequest'`.
   */
  hook?: 'onRequest' | 'preHandler';
}

/**
 * A route's own `config.rateLimit`: false for no limit, true for the plugin's own options, or options that override
 * them.
 *
 * To make it known to TypeScript, an application declares once:
 *
 * @example
 * declare module 'fastify' {
 *   interface FastifyContextConfig {
 *     rateLimit?: RouteRateLimit;
 *   }
 * }
 */
export type RouteRateLimit<Request = FastifyRequest> = boolean | RouteOptions<Request>;

/**
 * A route's own options, which go before the plugin's. To have `identify` and `cost` checked, write
 * `satisfies RouteOptions<FastifyRequest, 'org', 'tokens'>` behind them, with the parts and units of the limiter.
 */
export interface RouteOptions<
  Request = FastifyRequest,
  By extends string = string,
  Unit extends string = string,
> extends GuardOptions<Request, By, Unit> {
  /** Replaces the plugin's limiter: a limiter, or the options of a new one, which is closed with the application. */
  limiter?: LimiterOrOptions<By, Unit>;
}

/** The used part of Fastify's instance. */
export interface InstanceLike {
  addHook(name: string, hook: (...given: never[]) => unknown): unknown;
}

/** The plugin's type. */
export type RateLimitPlugin = FastifyPluginAsync<RateLimitPluginOptions>;

/**
 * Limits all routes of the instance that it is registered with and of those below, each by its `config.rateLimit`,
 * and requests that match no route. It need not be awaited, and may come before the routes or after them. For routes
 * added before it was loaded, import this module before the application is made.
 *
 * @throws (rejects) `ERR_INVALID_OPTION`. For the options of a route: when the application starts, or when the route
 * is added if the plugin is already loaded
 * @example
 * app.register(rateLimit, { limiter: { redis: 'redis://localhost:6379', rate: 100, period: '1m' } });
 * app.get('/health', { config: { rateLimit: false } }, health);
 * app.post('/login', { config: { rateLimit: { limiter: logins, count: 'failures' } } }, login);
 */
export const rateLimit: RateLimitPlugin = Object.assign(register as RateLimitPlugin, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'distributed-rate-limiter',
  [Symbol.for('plugin-meta')]: { name: 'distributed-rate-limiter', fastify: '>=5' },
});

/** For `register(import('distributed-rate-limiter/fastify'))`. */
export default rateLimit;

async function register<Request extends RequestLike>(
  instance: InstanceLike,
  options: RateLimitPluginOptions<Request>,
): Promise<void> {
  const { limiter, global = true, hook = 'onRequest', ...guardOptions } = options;
  const everywhere = readBoolean('global', global);
  const when = readOneOf('hook', hook, ['onRequest', 'preHandler']);
  const routes = new RouteHooks(limiter, guardOptions, everywhere);
  instance.addHook('onClose', () => routes.close());
  const before = routesOf(instance);
  // Reports a wrong option at startup, not at the first request.
  for (const route of before ?? []) {
    routes.hookOf(route.config?.rateLimit);
  }
  if (when === 'onRequest') {
    limitOnArrival(instance, routes);
  } else {
    limitBeforeHandlers(instance, routes, before);
  }
}

/** Uses a hook of the instance: it runs before hooks that are added later, and for requests that match no route. */
function limitOnArrival<Request extends RequestLike>(
  instance: InstanceLike,
  routes: RouteHooks<Request>,
): void {
  instance.addHook('onRoute', ({ config }: Route) => {
    routes.hookOf(config?.rateLimit);
  });
  instance.addHook('onRequest', (request: Request & Routed, reply: ReplyLike, done: Done) =>
    run(routes.hookOf(request.routeOptions.config?.rateLimit), request, reply, done),
  );
}

/** Appends to each route's own list, because a hook of the instance would run before hooks of the route. */
function limitBeforeHandlers<Request extends RequestLike>(
  instance: InstanceLike,
  routes: RouteHooks<Request>,
  before: readonly Route[] | undefined,
): void {
  const done = Symbol('limited by its own list');
  const add = (route: Route): void => {
    const limit = routes.hookOf(route.config?.rateLimit);
    if (limit !== undefined) {
      appendPreHandler(route, limit);
    }
  };
  for (const route of before ?? []) {
    add(route);
  }
  instance.addHook('onRoute', (route: Route) => {
    add(route);
    route.config = { ...route.config, [done]: true };
  });
  const decided = new WeakSet<object>();
  // For requests that match no route, and for earlier routes if they are unknown.
  instance.addHook('preHandler', (request: Request & Routed, reply: ReplyLike, next: Done) => {
    const { config } = request.routeOptions;
    const isRoute = config?.['url'] !== undefined;
    if (isRoute && (before !== undefined || config?.[done] !== undefined)) {
      decided.add(request);
      next();
    } else if (decided.has(request)) {
      // The route's handler called `reply.callNotFound()`.
      next();
    } else {
      decided.add(request);
      run(routes.hookOf(config?.rateLimit), request, reply, next);
    }
  });
}

function run<Request>(
  limit: RateLimitHook<Request> | undefined,
  request: Request,
  reply: ReplyLike,
  done: Done,
): void {
  if (limit === undefined) {
    done();
  } else {
    limit(request, reply, done);
  }
}

type Done = (error?: Error) => void;

interface Routed {
  readonly routeOptions: Pick<Route, 'config'>;
}

/** Makes one hook for all routes of a plugin with the same options. */
class RouteHooks<Request extends RequestLike> {
  readonly #options: AnyGuardOptions<Request>;
  readonly #everywhere: boolean;
  readonly #usual: RateLimitHook<Request>;
  readonly #own = new WeakMap<object, RateLimitHook<Request>>();
  readonly #opened: RateLimiter[] = [];

  constructor(limiter: object, options: AnyGuardOptions<Request>, everywhere: boolean) {
    this.#options = options;
    this.#everywhere = everywhere;
    this.#usual = this.#hook(limiter, options);
  }

  hookOf(said: unknown): RateLimitHook<Request> | undefined {
    if (said === undefined) {
      return this.#everywhere ? this.#usual : undefined;
    }
    if (typeof said === 'boolean') {
      return said ? this.#usual : undefined;
    }
    const known = this.#own.get(said as object);
    return known ?? this.#learn(said);
  }

  /** Closes the limiters made for routes. */
  async close(): Promise<void> {
    await Promise.all(this.#opened.map((limiter) => limiter.close()));
  }

  #learn(said: unknown): RateLimitHook<Request> {
    if (typeof said !== 'object' || said === null) {
      throw invalidOption(
        'config.rateLimit',
        'true, false or an object',
        said,
        "Pass false for no limit, or options that go before the plugin's.",
      );
    }
    const { limiter = this.#usual.limiter, ...options } = said as RouteOptions<Request>;
    const hook = this.#hook(limiter, overrideGuardOptions(this.#options, options));
    this.#own.set(said, hook);
    return hook;
  }

  #hook(limiter: object, options: AnyGuardOptions<Request>): RateLimitHook<Request> {
    const hook = makeHook(limiter, options, undefined);
    if (hook.limiter !== limiter) {
      this.#opened.push(hook.limiter);
    }
    return hook;
  }
}

/**
 * Makes a hook that limits, for routes with several limiters, or for an application without the plugin.
 *
 * @param limiter a limiter, or the options of a new one, which is the `limiter` of the result: close it there
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * const perUser = rateLimitHook(users, { identify: (request) => request.headers['x-user'] });
 * app.post('/export', { onRequest: [rateLimitHook(addresses), perUser] }, handler);
 */
export function rateLimitHook<
  Request extends RequestLike = FastifyRequest,
  By extends string = never,
  Unit extends string = never,
>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingGuardOptions<Request, By, Unit>,
): RateLimitHook<NoInfer<Request>, By, Unit>;
export function rateLimitHook<
  Request extends RequestLike = FastifyRequest,
  Unit extends string = never,
>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options?: GuardOptions<Request, never, Unit>,
): RateLimitHook<NoInfer<Request>, never, Unit>;
export function rateLimitHook(limiter: object, options?: object): object {
  return makeHook<RequestLike>(limiter, options, rateLimitHook);
}

/** @param factory the function that the application calls for it; undefined if the plugin makes it */
function makeHook<Request extends RequestLike>(
  limiter: object,
  options: AnyGuardOptions<Request> | undefined,
  factory: Function | undefined,
): RateLimitHook<Request> {
  const guard = makeGuard<Request>(limiter, options, {
    addressOf: addressesOf,
    requestOf: ({ raw }) => raw,
    factory,
  });
  const hook = (request: Request, reply: ReplyLike, done: Done): void => {
    void decide(guard, request, reply, done);
  };
  return Object.assign(hook, { limiter: guard.limiter });
}

/** Calls `done` instead of returning the hook's promise, which costs Fastify more turns. */
async function decide<Request>(
  guard: Guard<Request>,
  request: Request,
  reply: ReplyLike,
  done: Done,
): Promise<void> {
  let goesOn: boolean;
  try {
    goesOn = obey(await guard.check(request, undefined, reply.raw), reply);
  } catch (error) {
    if (!reply.sent && isUnanswered(reply.raw)) {
      addFields(fieldsOfError(error), reply);
      done(error as Error);
    }
    return;
  }
  if (goesOn) {
    done();
  }
}

function addressesOf({ raw }: RequestLike): AddressSource {
  return raw as AddressSource;
}
