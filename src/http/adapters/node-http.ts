import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import { makeGuard } from '../guard.ts';
import type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';
import { nodeAdapter, obey } from './node-response.ts';
import { FAILED, PROBLEM_JSON } from '../problem.ts';
import { isUnanswered } from '../request-end.ts';
import { refusalOfError } from '../thrown-refusal.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';

/** The request that `node:http`, or `node:http2`'s compatible interface, passes to a handler. */
type NodeRequest = IncomingMessage | Http2ServerRequest;
type NodeResponse = ServerResponse | Http2ServerResponse;

/** A handler for `http.createServer` or `http2.createServer`. */
export type Handler<
  Request extends NodeRequest = IncomingMessage,
  Response extends NodeResponse = ServerResponse,
> = (request: Request, response: Response) => unknown;

/** Limits handlers. */
export interface HandlerLimit<
  Request extends NodeRequest,
  By extends string = never,
  Unit extends string = never,
> {
  <Response extends NodeResponse>(
    handler: Handler<Request, Response>,
  ): (request: Request, response: Response) => void;
  readonly limiter: RateLimiter<By, Unit>;
}

/**
 * Limits a handler of `node:http` or of `node:http2`'s compatible interface. It has no error handling to pass
 * errors to. So an error of `identify`, `cost`, `limits`, `skip` or `onRefused` is answered with status 500. The first
 * causes one process warning. If `onRefused` is or returns `'throw'`, the guard's own answer is sent.
 *
 * @param limiter a limiter, or the options of a new one, which is the `limiter` of the result: close it there
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * const limited = rateLimit({ redis: 'redis://localhost:6379', rate: 100, period: '1m' });
 * createServer(limited((request, response) => response.end('hello'))).listen(3000);
 * @example
 * const limited = rateLimit<Http2ServerRequest>(limiter);
 * http2.createSecureServer(tls, limited((request, response) => response.end('hello'))).listen(443);
 */
export function rateLimit<
  Request extends NodeRequest = IncomingMessage,
  By extends string = never,
  Unit extends string = never,
>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingGuardOptions<Request, By, Unit>,
): HandlerLimit<Request, By, Unit>;
export function rateLimit<
  Request extends NodeRequest = IncomingMessage,
  Unit extends string = never,
>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options?: GuardOptions<Request, never, Unit>,
): HandlerLimit<Request, never, Unit>;
export function rateLimit(limiter: object, options?: object): object {
  const guard = makeGuard<NodeRequest>(limiter, options, nodeAdapter(rateLimit));
  let reported = false;
  const limit =
    <Response extends NodeResponse>(handler: Handler<NodeRequest, Response>) =>
    async (request: NodeRequest, response: Response): Promise<void> => {
      let goesOn: boolean;
      try {
        goesOn = obey(await guard.check(request, undefined, response), response);
      } catch (error) {
        const refusal = refusalOfError(error);
        if (refusal !== undefined) {
          // `onRefused` passed it to the framework, which here is this handler.
          obey({ ...refusal, pass: false }, response);
          return;
        }
        if (!reported) {
          reported = true;
          process.emitWarning(
            `A request could not be decided and was answered with status 500: ${String(error)}. Further ones are not reported.`,
            { type: 'RateLimiterWarning', code: 'DRL_REQUEST_FAILED' },
          );
        }
        if (isUnanswered(response)) {
          response.writeHead(500, { 'Content-Type': PROBLEM_JSON }).end(FAILED);
        }
        return;
      }
      if (goesOn) {
        await handler(request, response);
      }
    };
  return Object.assign(limit, { limiter: guard.limiter });
}
