import { isForbidden, RateLimitExceeded } from '../limiter/rate-limit-exceeded.ts';
import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { GivenOptions, readFunction } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { invalidOption } from '../base/errors.ts';
import { describe, headersOf, isJson, jsonBodyOf, signalOf } from './request.ts';
import type { Fetch } from './request.ts';
import { EventReader } from './server-sent-events.ts';
import { payFor, reserveCall } from './spending.ts';
import type { Spending } from './spending.ts';
import {
  readReservingLimiter,
  readSpending,
  SPENDING_NAMES,
  SPENDING_OTHER_NAMES,
  termsOf,
} from './spending-options.ts';
import type { SpendingOptions } from './spending-options.ts';
import { estimateUsage, readEvent, readUsage } from './usage.ts';
import type { ModelUsage } from './usage.ts';

/** The facts that `identify` and `cost` get about a request. */
export interface LimitedRequest {
  readonly url: URL;
  /** The request's method, in upper case. */
  readonly method: string;
  readonly headers: Headers;
  /** The value of a JSON body; undefined for any other body. */
  readonly body: unknown;
  /** The prompt by its length, a token for four bytes, and the most tokens of an answer, or `stepTokens`. */
  readonly estimate: ModelUsage;
}

export interface LimitedFetchOptions<
  By extends string = never,
  Unit extends string = never,
> extends SpendingOptions<LimitedRequest, By, Unit> {
  /** Sends the requests: a `pacedFetch`, for one. Default: the global `fetch`, looked up at each call. */
  readonly fetch?: Fetch | undefined;
  /**
   * What a refused call does. `'throw'` rejects with `RateLimitExceeded`. `'respond'` answers as a provider does: 429
   * with `retry-after` and `retry-after-ms`, which the clients of OpenAI and Anthropic wait for and retry; 503 if the
   * store gave no answer; 413, or 403 under a limit of nothing, if no waiting helps. Default `'throw'`.
   */
  readonly onRefused?: 'throw' | 'respond' | undefined;
}

/**
 * A `fetch` for APIs shaped like OpenAI's and Anthropic's that pays for each call out of a limiter: reserves an
 * estimate, sends the request, and settles by the `usage` of the answer.
 *
 * - A stream of server-sent events pays in steps of `stepTokens`. Where a step is refused, the source is cancelled and
 *   the stream fails with `RateLimitExceeded`. Ask the provider to report the usage of streams (`stream_options: {
 *   include_usage: true }` of chat completions): else what came is counted roughly.
 * - A stream that is cancelled or fails is settled by what had come.
 * - A call that fails, or that the provider answers with an error, gives back all. So a client's retries are charged
 *   once, and so are those of `fetch`.
 * - An answer without usage, and a stream that is neither read nor cancelled, keep the estimate.
 *
 * @throws `ERR_INVALID_OPTION` for every wrong option. Calls reject with `RateLimitExceeded`, like `reserve`, and with
 * the errors of `fetch`, `identify`, `cost` and `settle`.
 * @example
 * const openai = new OpenAI({ fetch: limitedFetch(limiter, { identify: 'acme', onRefused: 'respond' }) });
 */
export function limitedFetch<By extends string = never, Unit extends string = never>(
  limiter: RateLimiter<By, Unit>,
  options: LimitedFetchOptions<By, Unit>,
): Fetch {
  const reserving = readReservingLimiter(limiter);
  const given = new GivenOptions(OPTIONS, options);
  const settings = readSpending<LimitedRequest>(given, reserving);
  // Looked up at each call, because an instrumentation of fetch may be installed later.
  const send = given.optional('fetch', readFunction, (...args: Parameters<Fetch>) =>
    fetch(...args),
  ) as Fetch;
  const onRefused = given.optional('onRefused', readOnRefused, 'throw');
  given.end();
  return async (input, init) => {
    const described = describe(input, init);
    // fetch itself refuses such arguments.
    if (described === undefined) return send(input, init);
    const headers = headersOf(input, init);
    const body = await jsonBodyOf(input, init);
    const estimate = estimateUsage(body, settings.stepTokens);
    const { identity, cost } = await termsOf(settings, { ...described, headers, body, estimate });
    let spending: Spending;
    try {
      spending = await reserveCall(settings, identity, estimate, cost);
    } catch (error) {
      if (onRefused === 'respond' && error instanceof RateLimitExceeded) return refusalOf(error);
      throw error;
    }
    let response: Response;
    try {
      response = await send(input, init);
    } catch (error) {
      await spending.cancel();
      throw error;
    }
    const answer = await settleBy(response, spending, signalOf(input, init));
    await spending.observe(response);
    return answer;
  };
}

const OPTIONS: OptionSet = {
  of: 'limitedFetch',
  names: [...SPENDING_NAMES, 'fetch', 'onRefused'],
  otherNames: SPENDING_OTHER_NAMES,
};

function readOnRefused(option: string, value: unknown): 'throw' | 'respond' {
  if (value !== 'throw' && value !== 'respond') {
    throw invalidOption(option, "'throw' or 'respond'", value, 'Leave it out to throw.');
  }
  return value;
}

async function settleBy(
  response: Response,
  spending: Spending,
  signal: AbortSignal | null,
): Promise<Response> {
  if (!response.ok) {
    await spending.cancel();
    return response;
  }
  const type = response.headers.get('content-type') ?? '';
  if (/^text\/event-stream\b/i.test(type) && response.body !== null) {
    const events = new EventReader();
    const paid = payFor<Uint8Array>(response.body, spending, {
      read: (bytes) => events.read(bytes).map(readEvent),
      signal,
    });
    return withBody(response, paid);
  }
  if (isJson(type)) {
    let answer: unknown;
    try {
      answer = await response.clone().json();
    } catch {
      // The caller reads the same failure.
      await spending.cancel();
      return response;
    }
    const usage = readUsage(answer);
    if (usage !== undefined) await spending.settle(usage);
  }
  return response;
}

/** A response with another body. Its constructor takes no URL. */
function withBody(response: Response, body: ReadableStream): Response {
  const { status, statusText, headers, url, redirected } = response;
  const replaced = new Response(body, { status, statusText, headers });
  Object.defineProperties(replaced, { url: { value: url }, redirected: { value: redirected } });
  return replaced;
}

/** A refusal in the form of the providers' own. */
function refusalOf({ decision, message, retryAfterMs }: RateLimitExceeded): Response {
  const isFinal = decision.reason === 'impossible';
  const status = decision.degraded ? 503 : !isFinal ? 429 : isForbidden(decision) ? 403 : 413;
  const error = { type: 'rate_limit_error', code: 'rate_limit_exceeded', param: null, message };
  const headers = new Headers({ 'content-type': 'application/json' });
  if (isFinal) headers.set('x-should-retry', 'false');
  if (retryAfterMs !== undefined) {
    headers.set('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
    headers.set('retry-after-ms', String(retryAfterMs));
  }
  return new Response(JSON.stringify({ type: 'error', error }), { status, headers });
}
