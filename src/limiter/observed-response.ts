import { CALLS, YEAR_MS } from '../algorithms/limit.ts';
import type { AnyLimit, Limit } from '../algorithms/limit.ts';
import type { Said } from '../algorithms/provider-quota.ts';
import { invalidOption } from '../base/errors.ts';
import { readable, readOptions, readUnit } from '../options/read-options.ts';
import { parseRateLimit } from '../reports/parse-rate-limit.ts';
import type { RateLimitReport, ResponseHeaders } from '../reports/parse-rate-limit.ts';
import type { ReportedLimit } from '../reports/reported-limit.ts';
import { unitOf } from './cost.ts';
import { heedsProviders } from './limit-set.ts';
import type { LimitSet, ObservedQuota } from './limit-set.ts';

/**
 * A response as `observe` takes it: a `Response` of `fetch`, or of undici, axios or Node, by its `headers` and status;
 * its headers alone; or what `parseRateLimit` returned for them.
 */
export type ObservedResponse =
  | {
      readonly headers: ResponseHeaders;
      readonly status?: number | undefined;
      readonly statusCode?: number | undefined;
    }
  | ResponseHeaders
  | RateLimitReport;

/** Options of `observe`. */
export interface ObserveOptions {
  /**
   * What a limiter without units counts, for providers that report several limits: `'tokens'`, `'input_tokens'`,
   * `'output_tokens'`, or `'calls'`, the default.
   */
  readonly unit?: string | undefined;
}

/**
 * What a response says is left under the limits of a call.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`
 */
export function readObserved(
  response: unknown,
  options: unknown,
  limits: LimitSet,
  nowMs: number,
): readonly ObservedQuota[] {
  const unit = readable('options', () => readObserveOptions(options, limits));
  return quotasOf(readResponse(response, nowMs), limits, unit);
}

function readObserveOptions(options: unknown, { hasUnits }: LimitSet): string {
  const { unit } = readOptions({ of: 'observe', names: ['unit'] }, options ?? {});
  if (unit === undefined) {
    return CALLS;
  }
  if (hasUnits) {
    throw invalidOption(
      'unit',
      'left out where limits have units',
      unit,
      'Each limit heeds what the provider says of its own unit.',
    );
  }
  return readUnit('unit', unit);
}

/** What a response says, and whether it is a refusal, whose `Retry-After` is about the limit. */
interface ReadResponse {
  readonly report: RateLimitReport;
  readonly refuses: boolean;
}

/** Overload of Anthropic is 529. */
const REFUSALS: readonly unknown[] = [429, 503, 529];

function readResponse(response: unknown, nowMs: number): ReadResponse {
  const { given, status } = readable('response', () => ({
    given: headersIn(response),
    status: statusOf(response),
  }));
  const refuses = status === undefined || REFUSALS.includes(status);
  if (given === undefined) {
    throw invalidOption(
      'response',
      'a response, its headers, or what `parseRateLimit` returned',
      response,
      "Pass the provider's response.",
    );
  }
  if (isReport(given)) {
    return { report: given, refuses };
  }
  return { report: parseRateLimit(given, { now: nowMs }), refuses };
}

function headersIn(response: unknown): RateLimitReport | ResponseHeaders | undefined {
  if (typeof response !== 'object' || response === null) {
    return undefined;
  }
  const { headers = response } = response as { readonly headers?: unknown };
  return typeof headers === 'object' && headers !== null ? (headers as ResponseHeaders) : undefined;
}

function statusOf(response: unknown): unknown {
  const { status, statusCode } = (response ?? {}) as Record<string, unknown>;
  return [status, statusCode].find((each) => typeof each === 'number');
}

function isReport(given: object): given is RateLimitReport {
  return 'waitMs' in given && 'limits' in given && Array.isArray(given.limits);
}

/**
 * Maps what a provider says is left to the limits that heed it. A reported limit goes to a limit of its unit: that of
 * its name, else of its window, else of its size, else the one that counts by the fewest parts. Reports of units that
 * no limit counts are left out. Of several reports for one limit the one with the least left counts.
 *
 * `unit` is what limits without units count.
 */
function quotasOf(
  { report, refuses }: ReadResponse,
  { limits, hasUnits }: LimitSet,
  unit: string,
): readonly ObservedQuota[] {
  const heeding = limits.filter(heedsProviders);
  const isOf = (limit: AnyLimit, wanted: string): boolean =>
    (hasUnits ? unitOf(limit) : unit) === wanted;
  const retryMs = refuses ? (report.retryAfterMs ?? 0) : 0;
  const quotas = new Map<Limit, ObservedQuota>();
  const note = (limit: Limit, said: Said): void => {
    const known = quotas.get(limit)?.said;
    const isLess =
      known === undefined ||
      said.left < known.left ||
      (said.left === known.left && said.lasts > known.lasts);
    if (said.lasts > 0 && isLess) {
      quotas.set(limit, { limit, said });
    }
  };
  let isExhausted = false;
  for (const reported of report.limits) {
    const wanted = unitOfReport(reported);
    const limit = counterpart(
      reported,
      heeding.filter((each) => wanted !== undefined && isOf(each, wanted)),
    );
    if (reported.remaining !== undefined && reported.remaining >= 0) {
      isExhausted ||= reported.remaining === 0;
      if (limit !== undefined) {
        note(limit, saidOf(reported, limit, retryMs));
      }
    }
  }
  if (retryMs > 0 && !isExhausted) {
    // Of a refusal that names no limit each call has to wait.
    const ofCalls = heeding.filter((limit) => !hasUnits || isOf(limit, CALLS));
    for (const limit of ofCalls.length > 0 ? ofCalls : heeding) {
      note(limit, { left: 0, lasts: microsOf(retryMs), quota: 0, window: 0 });
    }
  }
  return [...quotas.values()];
}

/** What a reported limit counts, in the words of our units; undefined for limits of another tier. */
function unitOfReport({ name = '', unit = 'requests' }: ReportedLimit): string | undefined {
  if (unit === 'requests') {
    return CALLS;
  }
  if (unit !== 'tokens') {
    return unit.replaceAll('-', '_');
  }
  if (name.startsWith('priority-')) {
    return undefined;
  }
  return name === 'input-tokens' || name === 'output-tokens' ? name.replace('-', '_') : unit;
}

function partsOf({ by }: AnyLimit): number {
  return by?.length ?? 0;
}

function counterpart(reported: ReportedLimit, limits: readonly Limit[]): Limit | undefined {
  const byParts = limits.toSorted(
    (one, other) => Number(one.shadow) - Number(other.shadow) || partsOf(one) - partsOf(other),
  );
  return (
    byParts.find(({ name }) => name === reported.name) ??
    byParts.find(({ windowMs }) => windowMs !== undefined && windowMs === reported.windowMs) ??
    byParts.find(({ capacity }) => capacity === reported.quota) ??
    byParts[0]
  );
}

/**
 * What a report says of a limit. It holds until the reset, or else for the window, or else for our own. After that the
 * next window is thought to be like it, and as long as the report says, or else as our own: a first response shortly
 * before the reset tells nothing of the window's length.
 *
 * Where units come back continuously it holds until as many have come back as were left, but at least a tenth of the
 * time until all are back: a limiter that heeds it then uses what comes back meanwhile.
 */
function saidOf(reported: ReportedLimit, { windowMs: own }: AnyLimit, retryMs: number): Said {
  const { effectiveWindowMs, windowMs, quota = 0, remaining = 0, refills } = reported;
  const left = unitsOf(remaining);
  if (left === 0 && retryMs > 0) {
    return { left, lasts: microsOf(retryMs), quota: 0, window: 0 };
  }
  const untilResetMs = effectiveWindowMs ?? windowMs ?? own ?? 0;
  if (refills === true) {
    const part = quota > left ? Math.max(0.1, left / (quota - left)) : 1;
    return { left, lasts: microsOf(untilResetMs * Math.min(1, part)), quota: 0, window: 0 };
  }
  const isKnown = quota > 0 && effectiveWindowMs !== undefined;
  return {
    left,
    lasts: microsOf(untilResetMs),
    quota: isKnown ? unitsOf(quota) : 0,
    window: isKnown ? microsOf(Math.max(windowMs ?? own ?? 0, untilResetMs)) : 0,
  };
}

/** A header may hold any number. */
function unitsOf(given: number): number {
  return Math.min(Math.floor(given), MOST_UNITS);
}

function microsOf(ms: number): number {
  return Math.ceil(Math.min(ms, YEAR_MS) * 1_000);
}

/** The greatest integer of a header field: RFC 9651, section 3.3.1. */
const MOST_UNITS = 999_999_999_999_999;
