import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import { makeGuard } from '../guard.ts';
import type { GuardOptions } from '../guard-options.ts';
import { nodeAdapter, obey } from './node-response.ts';
import { FAILED, PROBLEM_JSON } from '../problem.ts';
import { isUnanswered } from '../request-end.ts';
import { refusalOfError } from '../thrown-refusal.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions } from '../guard-options.ts';

/** What `node:http` hands to a handler, or `node:http2` by its compatible interface. */
type NodeRequest = IncomingMessage | Http2ServerRequest;
type NodeResponse = ServerResponse | Http2ServerResponse;

/** What `http.createServer` takes, or `http2.createServer`. */
export type Handler<
  Request extends NodeRequest = IncomingMessage,
  Response extends NodeResponse = ServerResponse,
> = (request: Request, response: Response) => unknown;

/**
 * Limits a handler of `node:http` or of `node:http2`'s compatible interface. Nobody there handles errors: what
 * `identify`, `cost`, `limits`, `skip` or `onRefused` throws is answered with status 500, and the first time it is one
 * process warning. `onRefused` that returns `'throw'` gets the guard's own answer.
 *
 * @param limiter a limiter, or the options of a new one, which is then `limiter` of what is returned, to be closed
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * const limited = rateLimit({ redis: 'redis://localhost:6379', rate: 100, period: '1m' });
 * createServer(limited((request, response) => response.end('hello'))).listen(3000);
 * @example
 * const limited = rateLimit<Http2ServerRequest>(limiter);
 * http2.createSecureServer(tls, limited((request, response) => response.end('hello'))).listen(443);
 */
export function rateLimit<Request extends NodeRequest = IncomingMessage>(
  limiter: RateLimiter | RateLimiterOptions,
  options?: GuardOptions<Request>,
): (<Response extends NodeResponse>(
  handler: Handler<Request, Response>,
) => (request: Request, response: Response) => void) & { readonly limiter: RateLimiter } {
  const guard = makeGuard<Request>(limiter, options, nodeAdapter(rateLimit));
  let reported = false;
  const limit =
    <Response extends NodeResponse>(handler: Handler<Request, Response>) =>
    async (request: Request, response: Response): Promise<void> => {
      let goesOn: boolean;
      try {
        goesOn = obey(await guard.check(request), response);
      } catch (error) {
        const refusal = refusalOfError(error);
        if (refusal !== undefined) {
          // `onRefused` handed it to the framework, which is this.
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
