import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
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
import { bytesOf, isObject, stringsIn, tokensIn } from './usage.ts';
import type { ModelUsage, Progress } from './usage.ts';

/** The facts that `identify` and `cost` get about a call of a model. */
export interface ModelCall {
  readonly type: 'generate' | 'stream';
  /** The call's options: `prompt`, `maxOutputTokens`, `providerOptions`, `headers` and so on. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly modelId: string;
  readonly provider: string;
  /** The prompt by its length, a token for four bytes, and `maxOutputTokens`, or `stepTokens`. */
  readonly estimate: ModelUsage;
}

export interface LimitMiddlewareOptions<
  By extends string = never,
  Unit extends string = never,
> extends SpendingOptions<ModelCall, By, Unit> {}

/** What this middleware needs of a model and of a call's options, in the AI SDK from version 5 on. */
interface ModelOptions {
  readonly params: object;
  readonly model: { readonly modelId: string; readonly provider: string };
}

/** A language model middleware of the AI SDK, by its shape: the package `ai` is not needed for it. */
export interface LimitMiddleware {
  readonly specificationVersion: 'v3';
  wrapGenerate<Result extends { readonly usage: unknown }>(
    options: ModelOptions & { doGenerate(): PromiseLike<Result> },
  ): Promise<Result>;
  wrapStream<Part, Result extends { stream: ReadableStream<Part> }>(
    options: ModelOptions & { doStream(): PromiseLike<Result> },
  ): Promise<Result>;
}

/**
 * A language model middleware for the AI SDK (`ai` from version 5 on) that pays for each call out of a limiter, as
 * `limitedFetch` does: reserves an estimate, calls the model, and settles by the usage that it reports. Put it before
 * other middlewares that answer without the model, such as a cache.
 *
 * @throws `ERR_INVALID_OPTION` for every wrong option. Calls reject with `RateLimitExceeded`, like `reserve`, and with
 * the model's errors. A stream whose next step is refused ends with an error part that holds `RateLimitExceeded`, which
 * `streamText` hands to `onError`.
 * @example
 * const model = wrapLanguageModel({
 *   model: openai('gpt-5'),
 *   middleware: limitMiddleware(limiter, { identify: { org: 'acme', key: 'one' } }),
 * });
 */
export function limitMiddleware<By extends string = never, Unit extends string = never>(
  limiter: RateLimiter<By, Unit>,
  options: LimitMiddlewareOptions<By, Unit>,
): LimitMiddleware {
  const reserving = readReservingLimiter(limiter);
  const given = new GivenOptions(OPTIONS, options);
  const settings = readSpending<ModelCall>(given, reserving);
  given.end();

  const reserve = async (type: ModelCall['type'], { params, model }: ModelOptions) => {
    const fields = params as Readonly<Record<string, unknown>>;
    const estimate = estimateOf(fields, settings.stepTokens);
    const { modelId, provider } = model;
    const call: ModelCall = { type, params: fields, modelId, provider, estimate };
    const { identity, cost } = await termsOf(settings, call);
    return reserveCall(settings, identity, estimate, cost);
  };

  return {
    specificationVersion: 'v3',
    async wrapGenerate(call) {
      const spending = await reserve('generate', call);
      try {
        const result = await call.doGenerate();
        const usage = usageOf(result.usage);
        if (usage !== undefined) await spending.settle(usage);
        await observe(spending, result);
        return result;
      } catch (error) {
        await spending.cancel();
        await observeFailure(spending, error);
        throw error;
      }
    },
    async wrapStream(call) {
      const spending = await reserve('stream', call);
      try {
        const result = await call.doStream();
        const { abortSignal } = call.params as { readonly abortSignal?: AbortSignal };
        const stream = payFor(result.stream, spending, {
          read: readPart,
          refusal: (error) => ({ type: 'error', error }) as never,
          signal: abortSignal,
        });
        await observe(spending, result);
        return { ...result, stream };
      } catch (error) {
        await spending.cancel();
        await observeFailure(spending, error);
        throw error;
      }
    },
  };
}

/** A model may tell the headers of the provider's answer; an answer of it is no refusal. */
async function observe(spending: Spending, result: object): Promise<void> {
  const { response } = result as { readonly response?: unknown };
  const headers = isObject(response) ? response['headers'] : undefined;
  if (isObject(headers)) await spending.observe({ status: 200, headers });
}

/** The AI SDK's `APICallError` has the status and the headers of the answer. */
async function observeFailure(spending: Spending, error: unknown): Promise<void> {
  if (!isObject(error)) return;
  const { statusCode, responseHeaders: headers } = error;
  if (isObject(headers)) await spending.observe({ statusCode, headers });
}

const OPTIONS: OptionSet = {
  of: 'limitMiddleware',
  names: SPENDING_NAMES,
  otherNames: SPENDING_OTHER_NAMES,
};

function estimateOf(params: Readonly<Record<string, unknown>>, unnamed: number): ModelUsage {
  const most = params['maxOutputTokens'];
  const texts = [params['prompt'], params['tools']].flatMap((part) => stringsIn(part, 8));
  return {
    inputTokens: tokensIn(bytesOf(texts.join(' '))),
    outputTokens: typeof most === 'number' && most > 0 ? Math.ceil(most) : unnamed,
    raw: undefined,
  };
}

/** Reads the usage of a model: totals in an object since version 6, numbers before. */
function usageOf(usage: unknown): ModelUsage | undefined {
  if (!isObject(usage)) return undefined;
  const inputTokens = totalOf(usage['inputTokens']);
  const outputTokens = totalOf(usage['outputTokens']);
  return inputTokens === undefined && outputTokens === undefined
    ? undefined
    : { inputTokens: inputTokens ?? 0, outputTokens: outputTokens ?? 0, raw: usage };
}

function totalOf(tokens: unknown): number | undefined {
  const total = isObject(tokens) ? tokens['total'] : tokens;
  return typeof total === 'number' && total >= 0 ? Math.ceil(total) : undefined;
}

/** Parts of a stream whose `delta` the model has generated. */
const DELTAS: ReadonlySet<unknown> = new Set(['text-delta', 'reasoning-delta', 'tool-input-delta']);

function readPart(part: unknown): readonly Progress[] {
  if (!isObject(part)) return [];
  const { type, delta } = part;
  if (DELTAS.has(type) && typeof delta === 'string') {
    return [{ text: delta, inputTokens: undefined, outputTokens: undefined, raw: undefined }];
  }
  const usage = type === 'finish' ? usageOf(part['usage']) : undefined;
  return usage === undefined ? [] : [{ text: '', ...usage }];
}
