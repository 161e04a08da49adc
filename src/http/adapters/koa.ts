import type { RateLimiterOptions } from '../../limiter/limiter-options.ts';
import type { RateLimiter } from '../../limiter/rate-limiter.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressSource } from '../address/client-address.ts';
import { makeGuard } from '../guard.ts';
import type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';
import { keepFieldsOnError } from './koa-error.ts';
import { letPass, writeFields, writeFieldsOfError } from './node-response.ts';
import { isUnanswered } from '../request-end.ts';
import { fieldsOfError } from '../thrown-refusal.ts';

export { clientAddress, identifyByAddress } from '../address/client-address.ts';
export { decisionOf } from '../request-decision.ts';
export type { GuardOptions, IdentifyingGuardOptions } from '../guard-options.ts';

/** The used part of Koa's `ctx`. */
export interface KoaContext {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly method: string;
  readonly path: string;
  status: number;
  body: unknown;
  get(field: string): string;
  /** False: Koa does not touch the response. */
  respond?: boolean | undefined;
  /** Answers an error; missing from contexts that are not Koa's own. */
  onerror?(error: unknown): void;
}

/** Middleware for Koa. */
export interface Middleware<Context, By extends string = never, Unit extends string = never> {
  (ctx: Context, next: () => Promise<unknown>): Promise<void>;
  readonly limiter: RateLimiter<By, Unit>;
}

/**
 * Limits the middleware after it. A refusal sets the body and the status of `ctx`, like a handler, so outer
 * middleware sees it. An error of `cost`, `limits` or `skip` is thrown, for Koa to handle.
 *
 * @param limiter a limiter, or the options of a new one, which is the `limiter` of the result: close it there
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 * @example
 * app.use(rateLimit({ redis: 'redis://localhost:6379', rate: 100, period: '1m' }));
 */
export function rateLimit<
  Context extends KoaContext = KoaContext,
  By extends string = never,
  Unit extends string = never,
>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingGuardOptions<Context, By, Unit>,
): Middleware<Context, By, Unit>;
export function rateLimit<Context extends KoaContext = KoaContext, Unit extends string = never>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options?: GuardOptions<Context, never, Unit>,
): Middleware<Context, never, Unit>;
export function rateLimit(limiter: object, options?: object): object {
  const guard = makeGuard<KoaContext>(limiter, options, {
    addressOf: addressesOf,
    requestOf: ({ req }) => req,
    factory: rateLimit,
  });
  const limit = async (ctx: KoaContext, next: () => Promise<unknown>): Promise<void> => {
    const verdict = await guard.check(ctx, undefined, ctx.res).catch((error: unknown) => {
      writeFieldsOfError(error, ctx.res);
      keepFieldsOnError(ctx, fieldsOfError(error));
      throw error;
    });
    if (verdict.pass) {
      if (letPass(verdict, ctx.res)) {
        keepFieldsOnError(ctx, verdict.headers);
        await next();
      }
    } else if (isUnanswered(ctx.res)) {
      writeFields(verdict.headers, ctx.res);
      keepFieldsOnError(ctx, verdict.headers);
      ctx.status = verdict.status;
      ctx.body = verdict.body;
    } else {
      // Koa would end a response that other code is writing.
      ctx.respond = false;
    }
  };
  return Object.assign(limit, { limiter: guard.limiter });
}

/** Reads `req`, because Koa's own view of addresses depends on its `proxy` setting. */
function addressesOf({ req }: { readonly req: unknown }): AddressSource {
  return req as AddressSource;
}
