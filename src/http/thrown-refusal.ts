import { sharedByCopies } from '../base/copies.ts';
import { RateLimiterError } from '../base/errors.ts';
import { RateLimitExceeded } from '../limiter/rate-limit-exceeded.ts';
import type { RefusedDecision } from '../limiter/rate-limit-exceeded.ts';
import type { HeaderFields } from './application-fields.ts';
import type { RefusalResponse } from './refusal.ts';

const thrown = sharedByCopies('refusals by error', () => new WeakMap<object, RefusalResponse>());

/**
 * Makes a refusal an error for the framework's error handling, with the properties that frameworks read: `status` and
 * `statusCode`, `headers` (an object), `expose` (Koa), `getResponse()` (Hono). It is a `RateLimitExceeded`; for
 * status 400, without a decision, a `RateLimiterError` with `ERR_INVALID_IDENTITY`.
 */
export function thrownRefusal(refusal: RefusalResponse): RateLimiterError {
  const { status, headers, body, decision } = refusal;
  const error =
    decision === undefined
      ? new RateLimiterError('ERR_INVALID_IDENTITY', 'The request does not say who makes it.')
      : new RateLimitExceeded(decision as RefusedDecision);
  Object.assign(error, {
    status,
    statusCode: status,
    expose: true,
    headers: Object.fromEntries(withoutForm(headers)),
  });
  Object.defineProperty(error, 'getResponse', {
    value: () => new Response(body, { status, headers: Object.fromEntries(headers) }),
  });
  thrown.set(error, refusal);
  return error;
}

/** The refusal behind the error; undefined for every other error. */
export function refusalOfError(error: unknown): RefusalResponse | undefined {
  return typeof error === 'object' && error !== null ? thrown.get(error) : undefined;
}

/** The fields of a thrown refusal, for the framework's response; none for other errors. */
export function fieldsOfError(error: unknown): HeaderFields {
  return withoutForm(refusalOfError(error)?.headers ?? []);
}

/** Drops the fields that describe the body, which its maker sets. */
function withoutForm(headers: HeaderFields): HeaderFields {
  return headers.filter(([name]) => !['content-type', 'vary'].includes(name.toLowerCase()));
}
