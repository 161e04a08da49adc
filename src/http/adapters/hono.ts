import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import type { ServerResponse } from 'node:http';
import type { Context, Env, MiddlewareHandler, Next } from 'hono';
import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import { readable } from '../../options/read-options.ts';
import type { AddressSource } from '../address/client-address.ts';
import { forgetCharges } from '../counted-twice.ts';
import { makeGuard } from '../guard.ts';
import type { Refused, Verdict } from '../guard.ts';
import type { AnyGuardOptions, GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';
import { VARY_ACCEPT } from '../headers.ts';
import { announce, joinAnnounced } from './hono-fields.ts';
import { writeFields } from './node-response.ts';
import { isOver, isUnanswered, whenEnded } from '../request-end.ts';
import { fieldsOfError } from '../thrown-refusal.ts';
import { readAddressOption, toldAddress } from '../address/told-address.ts';
import { bodyOf, unreadResponse, watch, whenAborted, withFields } from './web-response.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';

/** The used part of Hono's `c`. */
interface HonoContext {
  readonly env: unknown;
  readonly req: { readonly raw: Request };
  get res(): Response;
  set res(response: Response | undefined);
  readonly finalized: boolean;
  header(name: string, value: string, options?: { append?: boolean }): void;
  body(body: string | null, status: number, headers: Record<string, string>): Response;
}

/**
 * Options of the middleware: a guard's, whose functions get Hono's `c`.
 *
 * @example
 * const options: HonoGuardOptions = { address: (c) => getConnInfo(c).remote.address };
 */
export interface HonoGuardOptions<
  C = Context,
  By extends string = never,
  Unit extends string = never,
> extends GuardOptions<C, By, Unit> {
  /**
   * Returns the peer's address, for runtimes other than Node, where Hono does not know it. The default `identify`
   * then limits by it, as set by `trustedProxies`, `forwardedHeader` and `ipv6Prefix`. Undefined: the request has no
   * identity. Not together with `identify`. Default under `@hono/node-server`: the socket's.
   */
  address?: (c: C) => string | undefined;
}

/** Middleware for Hono. */
export type RateLimitMiddleware<
  E extends Env,
  P extends string,
  By extends string = never,
  Unit extends string = never,
> = MiddlewareHandler<E, P> & { readonly limiter: RateLimiter<By, Unit> };

/**
 * Limits the routes behind it. On Node, under `@hono/node-server`, the default identity is the peer's address. Other
 * runtimes do not show it: there give `address` or `identify`, or every request is answered with status 400. Name the
 * application's `Env` to type `c.get` and `c.var`; where limits say `by`, in the parameter of `identify`:
 * `identify: (c: Context<Env>) => ({ org: c.get('org') })`.
 *
 * @param limiter a limiter, or the options of a new one, which is the `limiter` of the result: close it there
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * app.use(rateLimit({ redis: 'redis://localhost:6379', rate: 100, period: '1m' }));
 * app.use('/api/*', rateLimit(keys, { identify: (c) => c.req.header('x-api-key') }));
 * app.use('/user/*', rateLimit<Env>(users, { identify: (c) => c.get('user')?.id }));
 */
export function rateLimit<
  // oxlint-disable-next-line no-explicit-any -- as Hono's own middleware is typed: it fits every application
  E extends Env = any,
  // oxlint-disable-next-line no-explicit-any -- likewise
  P extends string = any,
  By extends string = never,
  Unit extends string = never,
>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingGuardOptions<Context<E, P>, By, Unit>,
): RateLimitMiddleware<E, P, By, Unit>;
export function rateLimit<
  // oxlint-disable-next-line no-explicit-any -- likewise
  E extends Env = any,
  // oxlint-disable-next-line no-explicit-any -- likewise
  P extends string = any,
  Unit extends string = never,
>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options?: HonoGuardOptions<Context<E, P>, never, Unit>,
): RateLimitMiddleware<E, P, never, Unit>;
export function rateLimit(limiter: object, options?: object): object {
  const { address, ...rest } = readable('guard options', () =>
    readAddressOption<HonoGuardOptions>(options),
  );
  const guard = makeGuard<Context>(limiter, rest as AnyGuardOptions<Context>, {
    addressOf:
      address === undefined ? addressReader() : (c) => toldAddress(address(c), c.req.raw.headers),
    requestOf,
    factory: rateLimit,
  });
  const limit = async (c: Context, next: Next): Promise<Response | void> => {
    const outgoing = nodeOf(c)?.outgoing;
    let verdict: Verdict;
    try {
      verdict = await guard.check(c, undefined, outgoing ?? c.req.raw);
    } catch (error) {
      if (outgoing !== undefined && !isUnanswered(outgoing)) {
        return sentElsewhere();
      }
      forgetCharges(requestOf(c));
      announce(c, fieldsOfError(error));
      throw error;
    }
    if (!verdict.pass) {
      forgetCharges(requestOf(c));
      return outgoing === undefined || isUnanswered(outgoing)
        ? refuse(c, verdict)
        : sentElsewhere();
    }
    const { headers, finish } = verdict;
    if (outgoing !== undefined) {
      // Node reports how the response itself ends, even if the one made here is replaced.
      if (finish !== undefined) {
        whenEnded(outgoing, finish);
      }
      if (isOver(outgoing)) {
        return sentElsewhere();
      }
    } else if (finish !== undefined && !whenAborted(c.req.raw, finish)) {
      return unreadResponse();
    }
    const announced = announce(c, headers);
    try {
      await next();
    } catch (error) {
      // Hono passes errors to `onError`; for any other thrown value the server makes its own answer.
      finish?.(500);
      if (outgoing?.headersSent === false) {
        writeFields(headers, outgoing);
      }
      throw error;
    } finally {
      forgetCharges(requestOf(c));
    }
    if (!c.finalized) {
      finish?.('aborted');
      return undefined;
    }
    const made = c.res;
    try {
      const watched =
        finish === undefined || outgoing !== undefined ? made : watch(made, c.req.raw, finish);
      const response = withFields(watched, announced, joinAnnounced);
      if (response !== made) {
        // Otherwise Hono would let the previous response's fields win.
        c.res = undefined;
        c.res = response;
      }
    } catch (error) {
      finish?.('aborted');
      throw error;
    }
    return undefined;
  };
  return Object.assign(limit, { limiter: guard.limiter });
}

function refuse(c: HonoContext, refused: Refused): Response {
  const { status, headers } = refused;
  const others = headers.filter((field) => field !== VARY_ACCEPT);
  if (others.length < headers.length) {
    // The fields of `body` replace those of outer middleware, such as the `Vary` of CORS.
    c.header(...VARY_ACCEPT, { append: true });
  }
  return c.body(bodyOf(refused), status, Object.fromEntries(others));
}

/** `@hono/node-server` ignores a response that other code has already written. */
function sentElsewhere(): Response {
  const response = new Response(null, { headers: { 'x-hono-already-sent': 'true' } });
  // The server looks for the field only in a real response. Reading `type` turns its own light response into a real
  // one.
  void response.type;
  return response;
}

/** The `env` that `@hono/node-server` passes to `app.fetch`. */
interface NodeBindings {
  readonly incoming: { readonly socket: unknown };
  readonly outgoing: ServerResponse;
}

function nodeOf({ env }: HonoContext): NodeBindings | undefined {
  const { incoming, outgoing } = (env ?? {}) as Partial<NodeBindings>;
  return incoming?.socket !== undefined && typeof outgoing?.once === 'function'
    ? { incoming, outgoing }
    : undefined;
}

function requestOf(c: HonoContext): object {
  return nodeOf(c)?.incoming ?? c.req.raw;
}

const NOWHERE: unknown = { headers: {} };

/** Warns, once per guard, that requests have no identity if the runtime shows no socket. */
function addressReader(): (c: HonoContext) => AddressSource {
  let warned = false;
  return (c) => {
    const incoming: unknown = nodeOf(c)?.incoming;
    if (incoming === undefined && !warned) {
      warned = true;
      process.emitWarning(
        'A request has no client address, because Hono does not run under @hono/node-server here, and cannot be limited. ' +
          'Pass `address: (c) => getConnInfo(c).remote.address` with the `getConnInfo` of this runtime, or `identify`: a user, an API key.',
        { type: 'RateLimiterWarning', code: 'DRL_NO_ADDRESS' },
      );
    }
    return (incoming ?? NOWHERE) as AddressSource;
  };
}
