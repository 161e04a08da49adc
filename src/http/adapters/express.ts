import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { makeGuard } from '../guard.ts';
import type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';
import { nodeAdapter, obey, writeFieldsOfError } from './node-response.ts';
import { isOver } from '../request-end.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';

/** Middleware for Express 4 and 5, and for Connect and Polka. */
export interface Middleware<Request, By extends string = never, Unit extends string = never> {
  (request: Request, response: ServerResponse, next: (error?: unknown) => void): Promise<void>;
  readonly limiter: RateLimiter<By, Unit>;
}

/**
 * Limits the routes behind it, for an application, a router or one route.
 *
 * @param limiter a limiter, or the options of a new one, which is the `limiter` of the result: close it there
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * app.use(rateLimit({ redis: 'redis://localhost:6379', rate: 100, period: '1m' }));
 * app.post('/login', rateLimit(logins, { count: 'failures' }), login);
 */
export function rateLimit<
  Request extends IncomingMessage = IncomingMessage,
  By extends string = never,
  Unit extends string = never,
>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingGuardOptions<Request, By, Unit>,
): Middleware<Request, By, Unit>;
export function rateLimit<
  Request extends IncomingMessage = IncomingMessage,
  Unit extends string = never,
>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options?: GuardOptions<Request, never, Unit>,
): Middleware<Request, never, Unit>;
export function rateLimit(limiter: object, options?: object): object {
  const guard = makeGuard<IncomingMessage>(limiter, options, nodeAdapter(rateLimit));
  const limit = async (
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => void,
  ): Promise<void> => {
    let goesOn: boolean;
    try {
      goesOn = obey(await guard.check(request, undefined, response), response);
    } catch (error) {
      // Express would cut the connection for an error after the response.
      if (!isOver(response)) {
        writeFieldsOfError(error, response);
        next(error);
      }
      return;
    }
    if (goesOn) {
      next();
    }
  };
  return Object.assign(limit, { limiter: guard.limiter });
}
