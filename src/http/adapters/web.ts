import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import type { Limit } from '../../algorithms/limit.ts';
import { invalidOption } from '../../base/errors.ts';
import type { GivenCost } from '../../base/decision.ts';
import type { IdentityOf } from '../../base/identity.ts';
import type { AddressSource } from '../address/client-address.ts';
import { forgetCharges } from '../counted-twice.ts';
import { makeGuard } from '../guard.ts';
import type { Pass } from '../guard.ts';
import type { AnyGuardOptions, GuardOptions } from '../guard-options.ts';
import type { OnRefused, RefusalResponse } from '../refusal.ts';
import { shareDecision } from '../request-decision.ts';
import type { EndedResponse } from '../request-end.ts';
import { readAddressOption, toldAddress } from '../address/told-address.ts';
import {
  isResponse,
  makeResponse,
  unreadResponse,
  watch,
  whenAborted,
  withFields,
} from './web-response.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions } from '../guard-options.ts';

type OrPromise<T> = T | Promise<T>;
type HandlerArguments<Asked extends Request, Rest extends unknown[]> = [
  request: Asked,
  ...rest: Rest,
];

/** A handler's arguments, which are a guard's request. */
type Call = HandlerArguments<Request, unknown[]>;

/** Options that read a request, and the other arguments of its handler. */
interface WebFunctions<
  Asked extends Request,
  Rest extends unknown[],
  By extends string,
  Unit extends string,
> {
  /**
   * Units that a request asks for; default 1. By name where limits have units: `{ tokens: 1200 }`. A cost that is no
   * function is checked when the guard is made. An error thrown here rejects the handler's promise.
   */
  cost?:
    | GivenCost<NoInfer<Unit>>
    | ((...call: HandlerArguments<Asked, Rest>) => OrPromise<GivenCost<NoInfer<Unit>>>);
  /** Limits instead of the limiter's own. Make them once, not per request. */
  limits?:
    | readonly Limit<string, NoInfer<By>, NoInfer<Unit>>[]
    | ((
        ...call: HandlerArguments<Asked, Rest>
      ) => OrPromise<readonly Limit<string, NoInfer<By>, NoInfer<Unit>>[] | undefined>);
  /** Returns true for requests to let through without counting them. */
  skip?: (...call: HandlerArguments<Asked, Rest>) => OrPromise<boolean>;
  /** Which requests count: as of every guard. The function gets the complete response and the handler's arguments. */
  count?:
    | 'all'
    | 'failures'
    | 'successes'
    | ((response: EndedResponse, ...call: HandlerArguments<Asked, Rest>) => OrPromise<boolean>);
  /** Called with a promise of what is done after the response, and with the handler's arguments. */
  waitUntil?: (work: Promise<void>, ...call: HandlerArguments<Asked, Rest>) => void;
  /**
   * Called before a request is refused. Returns the response to send instead; undefined or `'default'` for the
   * guard's own; or `'throw'`, to reject the handler's promise with an error with `status`, `headers`, `decision` and
   * `getResponse()`. `'throw'` in place of the function throws every refusal. Default `'default'`.
   */
  onRefused?:
    | 'default'
    | 'throw'
    | ((request: Asked, refusal: RefusalResponse) => OrPromise<OnRefused>);
}

interface ByIdentity<Asked extends Request, Rest extends unknown[], By extends string> {
  /**
   * Returns the identity to limit; named parts where limits say `by`. For undefined, null or '' see `unidentified`.
   */
  identify: (
    ...call: HandlerArguments<Asked, Rest>
  ) => OrPromise<IdentityOf<NoInfer<By>> | undefined | null>;
  address?: never;
}

interface ByAddress<Asked extends Request, Rest extends unknown[]> {
  /** Returns the peer's address, by which requests are limited, as set by `trustedProxies` and `ipv6Prefix`. */
  address: (...call: HandlerArguments<Asked, Rest>) => string | undefined;
  identify?: never;
}

/** A guard's options, whose functions get the handler's arguments. */
type WebOptions<
  Asked extends Request,
  Rest extends unknown[],
  By extends string,
  Unit extends string,
> = Omit<GuardOptions<Asked>, 'identify' | keyof WebFunctions<Asked, Rest, By, Unit>> &
  WebFunctions<Asked, Rest, By, Unit>;

/**
 * Options of a guard over limits that may say `by`: `identify` is then required, because an address is no named part.
 *
 * @example
 * const options: IdentifyingWebGuardOptions<Request, [], 'org'> = {
 *   identify: (request) => ({ org: request.headers.get('x-org') }),
 * };
 */
export type IdentifyingWebGuardOptions<
  Asked extends Request,
  Rest extends unknown[],
  By extends string,
  Unit extends string = never,
> = WebOptions<Asked, Rest, By, Unit> & ByIdentity<Asked, Rest, By>;

/**
 * How requests of a web-standard handler are limited: a guard's options, whose functions get all arguments of the
 * handler. A web `Request` does not know its peer, so either `identify` or `address` is required.
 *
 * @example
 * const options: WebGuardOptions = { identify: (request) => request.headers.get('x-api-key') };
 */
export type WebGuardOptions<
  Asked extends Request = Request,
  Rest extends unknown[] = unknown[],
  Unit extends string = never,
> = WebOptions<Asked, Rest, never, Unit> &
  (ByIdentity<Asked, Rest, never> | ByAddress<Asked, Rest>);

/** A handler: of a Next.js route, of `Bun.serve` or `Deno.serve`, or a function that these call. */
export type WebHandler<Asked extends Request, Rest extends unknown[]> = (
  request: Asked,
  ...rest: Rest
) => OrPromise<Response>;

/** Limits handlers. */
export interface WebRateLimit<
  Asked extends Request,
  Rest extends unknown[],
  Limiter = RateLimiter,
> {
  <Given extends Asked, More extends [...Rest, ...unknown[]]>(
    handler: WebHandler<Given, More>,
  ): (request: Given, ...rest: More) => Promise<Response>;
  readonly limiter: Limiter;
}

/**
 * Limits a function from a web-standard `Request` to a `Response`. A request ends when its response's body has been
 * read to its end, has failed or was cancelled. It also ends when its `signal` reports that the client has gone.
 *
 * @param limiter a limiter, or the options of a new one, which is the `limiter` of the result: close it there
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * const limited = rateLimit(limiter, { identify: (request) => request.headers.get('x-api-key') });
 * export const GET = limited(async (request) => Response.json(await find(request.url)));
 *
 * const byAddress = rateLimit(limiter, { address: (request, server: Bun.Server) => server.requestIP(request)?.address });
 * Bun.serve({ fetch: byAddress((request, server) => new Response('hello')) });
 */
export function rateLimit<
  Asked extends Request = Request,
  Rest extends unknown[] = [],
  By extends string = never,
  Unit extends string = never,
>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingWebGuardOptions<Asked, Rest, By, Unit>,
): WebRateLimit<Asked, Rest, RateLimiter<By, Unit>>;
export function rateLimit<
  Asked extends Request = Request,
  Rest extends unknown[] = [],
  Unit extends string = never,
>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options: WebGuardOptions<Asked, Rest, Unit>,
): WebRateLimit<Asked, Rest, RateLimiter<never, Unit>>;
export function rateLimit(limiter: object, options: object): object {
  const { guardOptions, addressOf } = readWho(options);
  const guard = makeGuard<Call>(limiter, guardOptions, {
    addressOf,
    requestOf: ([request]) => request,
    factory: rateLimit,
  });
  const limit = (handler: WebHandler<Request, unknown[]>) => {
    const limited = async (...call: Call): Promise<Response> => {
      const [request] = call;
      const verdict = await guard.check(call, undefined, request);
      shareDecision(call, request);
      if (!verdict.pass) {
        return makeResponse(verdict);
      }
      return letThrough(verdict, request, () => handler(...call));
    };
    return async (...call: Call): Promise<Response> => {
      try {
        return await limited(...call);
      } finally {
        forgetCharges(call[0]);
      }
    };
  };
  return Object.assign(limit, { limiter: guard.limiter });
}

/**
 * Calls the handler, adds the fields to its response, and tells the guard how the request ended. A result that is no
 * response, such as undefined for a WebSocket upgrade, is returned unchanged for the runtime.
 */
async function letThrough(
  { headers, finish }: Pass,
  request: Request,
  handle: () => OrPromise<Response>,
): Promise<Response> {
  if (finish !== undefined && !whenAborted(request, finish)) {
    return unreadResponse();
  }
  const finished = (response: Response): Response => {
    try {
      const watched = finish === undefined ? response : watch(response, request, finish);
      return withFields(watched, headers);
    } catch (error) {
      finish?.('aborted');
      throw error;
    }
  };
  let response: unknown;
  try {
    response = await handle();
  } catch (thrown) {
    if (isResponse(thrown)) {
      // oxlint-disable-next-line only-throw-error -- frameworks take a thrown response for an answer
      throw finished(thrown);
    }
    finish?.(500);
    throw thrown;
  }
  if (isResponse(response)) {
    return finished(response);
  }
  finish?.('aborted');
  return response as Response;
}

/** Adapts the options to a guard's: its functions take one request, which here is the handler's whole argument list. */
function readWho(options: object): {
  guardOptions: AnyGuardOptions<Call>;
  addressOf: (call: Call) => AddressSource;
} {
  const { address, ...rest } = { ...options } as Record<string, unknown>;
  if (rest['identify'] === undefined && address === undefined) {
    throw invalidOption(
      'identify',
      'a function',
      undefined,
      "A web Request does not know its peer. Pass `identify`, or `address`, which returns the peer's address.",
    );
  }
  readAddressOption(options);
  for (const name of ['identify', 'cost', 'limits', 'skip']) {
    const given = rest[name];
    if (typeof given === 'function') {
      rest[name] = (call: Call): unknown => given(...call);
    }
  }
  for (const name of ['count', 'waitUntil']) {
    const given = rest[name];
    if (typeof given === 'function') {
      rest[name] = (first: unknown, call: Call): unknown => given(first, ...call);
    }
  }
  const { onRefused } = rest;
  if (typeof onRefused === 'function') {
    rest['onRefused'] = ([request]: Call, refusal: RefusalResponse): unknown =>
      onRefused(request, refusal);
  }
  const read = address as ((...call: Call) => unknown) | undefined;
  return {
    guardOptions: rest,
    addressOf: (call) => toldAddress(read?.(...call), call[0].headers),
  };
}
