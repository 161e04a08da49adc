import { invalidOption } from '../base/errors.ts';
import { readOptions } from '../options/read-options.ts';
import { decimal, firstWhole, secondsToMs, untilReset, wholeNumber } from './field-values.ts';
import { parseHttpDate } from './http-date.ts';
import { PROVIDER_FIELD_NAMES, readProviderFields } from './provider-fields.ts';
import { NOTHING_SAID } from './reported-limit.ts';
import type { ReadField, ReportedLimit } from './reported-limit.ts';
import { MAX_FIELD_CHARACTERS, parseDictionary, parseList } from './structured-fields.ts';
import type { BareItem, Parameters } from './structured-fields.ts';

/**
 * The headers of a response: web `Headers`, or a record such as Node's `IncomingHttpHeaders`, with names in any case
 * and a string or several for each.
 */
export type ResponseHeaders =
  | { get(name: string): string | null | undefined }
  | Readonly<Record<string, string | number | readonly string[] | null | undefined>>;

/** The limits reported in the headers of one response. */
export interface RateLimitReport {
  /**
   * Milliseconds to wait before the next request: `retryAfterMs` if the server sent it, else the longest
   * `effectiveWindowMs` of the limits that have nothing left, else 0.
   */
  readonly waitMs: number;
  /**
   * `Retry-After` in milliseconds, 0 for an instant that has passed; undefined if it was not sent. `retry-after-ms` of
   * OpenAI and Azure, which is finer, counts before it.
   */
  readonly retryAfterMs: number | undefined;
  /** In the order of `RateLimit-Policy`, then those that only have a count. */
  readonly limits: readonly ReportedLimit[];
}

/**
 * Reads a response's rate limit headers. Never throws on a header: a malformed field is ignored as a whole, as is one
 * of more than 8,192 characters or 64 items.
 *
 * Understands `RateLimit` and `RateLimit-Policy` as in draft-ietf-httpapi-ratelimit-headers-08 to -11 (and the
 * parameters `a` and `w`, a later draft's names for `r` and `t`), `RateLimit` of draft-7, `RateLimit-Limit`,
 * `-Remaining` and `-Reset` of draft-6, `X-RateLimit-*`, `X-Rate-Limit-*`, and `Retry-After` in seconds, also with a
 * fraction, or as a date (RFC 9110 §10.2.3). A `Reset` is a number (seconds below 10^9, Unix seconds below 10^11, and
 * Unix milliseconds from there on), a duration such as `6m0s`, or a date of RFC 3339 or HTTP. Dates and Unix times are
 * compared with the response's own `Date`, so a wrong local clock does not matter.
 *
 * Of providers it understands besides:
 * - OpenAI and Azure: `x-ratelimit-limit-requests`, `-tokens` and the like, and `retry-after-ms`.
 * - Anthropic: `anthropic-ratelimit-requests-limit` and the like, for requests, tokens, input and output tokens.
 * - GitHub: `x-ratelimit-resource` as the limit's name.
 * - GitLab: `RateLimit-Name`, and `RateLimit-ResetTime` where `RateLimit-Reset` is missing.
 * - Discord: `X-RateLimit-Reset-After`, and `X-RateLimit-Bucket` as the name.
 * - Docker Hub: the window behind the number, `100;w=21600`.
 *
 * If a server sends several forms, one counts: the first readable of `RateLimit`, a provider's fields for each unit,
 * `RateLimit-*`, `X-RateLimit-*` and `X-Rate-Limit-*`.
 *
 * A response with a positive `Age` comes from a cache: its limits are ignored, as the draft asks, and its age is
 * subtracted from `Retry-After`.
 *
 * @param options.now Unix milliseconds at which the response came, for those without a `Date`; default `Date.now()`
 * @throws `ERR_INVALID_OPTION` for an unknown or wrong option.
 * @example
 * const response = await fetch('https://api.example.com/items');
 * const { waitMs, limits } = parseRateLimit(response.headers);
 * console.log(limits[0]?.remaining, 'left; wait for', waitMs, 'ms');
 */
export function parseRateLimit(
  headers: ResponseHeaders,
  options: { readonly now?: number | undefined } = {},
): RateLimitReport {
  const now = readNow(options);
  const read = fieldsOf(headers);
  const ageMs = (wholeNumber(read('age')) ?? 0) * 1_000;
  const date = parseHttpDate(read('date') ?? '', now);
  const serverNow = date === undefined ? now : date + ageMs;

  const retryAfterMs = readRetryAfter(read, ageMs, serverNow);
  const limits =
    ageMs > 0
      ? []
      : withCounts(readPolicies(read('ratelimit-policy')), readCounts(read, serverNow));
  return { waitMs: retryAfterMs ?? longestExhausted(limits), retryAfterMs, limits };
}

function readNow(options: unknown): number {
  const { now = Date.now() } = readOptions({ of: 'parseRateLimit', names: ['now'] }, options);
  // The range of Date, from 1970.
  if (typeof now !== 'number' || !(now >= 0 && now <= 8.64e15)) {
    throw invalidOption('now', 'Unix milliseconds', now, 'Pass Date.now(), or leave it out.');
  }
  return now;
}

const LEGACY_PREFIXES = ['ratelimit-', 'x-ratelimit-', 'x-rate-limit-'];
/** The ends of fields that name the limit: of GitLab, GitHub and Discord. */
const NAME_SUFFIXES = ['name', 'resource', 'bucket'];
const FIELD_NAMES: ReadonlySet<string> = new Set([
  'age',
  'date',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'retry-after-ms',
  'x-ms-retry-after-ms',
  ...LEGACY_PREFIXES.flatMap((prefix) =>
    ['limit', 'remaining', 'reset', 'reset-after', 'resettime', ...NAME_SUFFIXES].map(
      (suffix) => prefix + suffix,
    ),
  ),
  ...PROVIDER_FIELD_NAMES,
]);
const LONGEST_NAME = Math.max(...Array.from(FIELD_NAMES, (name) => name.length));

function fieldsOf(headers: unknown): ReadField {
  if (typeof headers !== 'object' || headers === null) return () => undefined;
  if ('get' in headers && typeof headers.get === 'function') {
    const web = headers as { get(name: string): unknown };
    return (name) => join([web.get(name)]);
  }
  const lines = new Map<string, unknown[]>();
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.length > LONGEST_NAME ? '' : name.toLowerCase();
    if (FIELD_NAMES.has(lower)) {
      lines.set(lower, [...(lines.get(lower) ?? []), value]);
    }
  }
  return (name) => join(lines.get(name) ?? []);
}

/** Joins the lines of one field (RFC 9110 §5.3); undefined if there are none or too many. */
function join(values: readonly unknown[]): string | undefined {
  let joined: string | undefined;
  let count = 0;
  for (const value of values) {
    for (const line of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      if (++count > MAX_FIELD_CHARACTERS) return undefined;
      if (typeof line === 'string' || typeof line === 'number') {
        joined = joined === undefined ? String(line) : `${joined}, ${line}`;
        if (joined.length > MAX_FIELD_CHARACTERS) return undefined;
      }
    }
  }
  return joined;
}

/** Milliseconds in the fields of Azure and OpenAI, whose clients read them first; else `Retry-After`. */
function readRetryAfter(read: ReadField, ageMs: number, serverNow: number): number | undefined {
  const field = read('retry-after');
  const seconds = decimal(field);
  const ms =
    decimal(read('retry-after-ms')) ??
    decimal(read('x-ms-retry-after-ms')) ??
    (seconds === undefined ? undefined : secondsToMs(seconds));
  if (ms !== undefined) return Math.max(0, Math.ceil(ms) - ageMs);
  const instant = field === undefined ? undefined : parseHttpDate(field, serverNow);
  return instant === undefined ? undefined : Math.max(0, instant - serverNow);
}

function longestExhausted(limits: readonly ReportedLimit[]): number {
  return limits.reduce(
    (longest, limit) =>
      limit.remaining === 0 ? Math.max(longest, limit.effectiveWindowMs ?? 0) : longest,
    0,
  );
}

/** `"burst";q=100;w=60` of draft-8 and later, or `100;w=60` before it. */
function readPolicies(field: string | undefined): readonly ReportedLimit[] {
  const items = field === undefined ? undefined : parseList(field);
  const policies: ReportedLimit[] = [];
  for (const { bare, parameters } of items ?? []) {
    const named = bare.type === 'string' || bare.type === 'token';
    const quota = named ? parameters.get('q') : bare;
    if (
      !isInteger(quota, 0) ||
      !isAbsentOr(parameters, 'w', (value) => isInteger(value, 1)) ||
      !isAbsentOr(parameters, 'qu', (value) => value.type === 'string') ||
      !isAbsentOr(parameters, 'pk', (value) => value.type === 'bytes')
    ) {
      return [];
    }
    policies.push({
      ...NOTHING_SAID,
      name: named ? bare.value : undefined,
      quota: quota.value,
      windowMs: milliseconds(parameters, 'w'),
      unit: named ? (text(parameters, 'qu') ?? 'requests') : undefined,
      partitionKey: text(parameters, 'pk'),
    });
  }
  return policies;
}

function readCounts(read: ReadField, serverNow: number): readonly ReportedLimit[] {
  const field = read('ratelimit');
  const counts = field === undefined ? [] : (readItems(field) ?? readDirectives(field));
  if (counts.length > 0) return counts;
  const provided = readProviderFields(read, serverNow);
  if (provided.length > 0) return provided;
  for (const prefix of LEGACY_PREFIXES) {
    const legacy = readLegacy((suffix) => read(prefix + suffix), serverNow);
    if (legacy !== undefined) return [legacy];
  }
  return [];
}

/** `X-RateLimit-Limit` and the like, with what GitHub, GitLab, Discord and Docker Hub add. */
function readLegacy(read: ReadField, serverNow: number): ReportedLimit | undefined {
  const limit = read('limit');
  const quota = firstWhole(limit);
  const remaining = firstWhole(read('remaining'));
  const afterS = decimal(read('reset-after'));
  const effectiveWindowMs =
    (afterS === undefined ? undefined : secondsToMs(afterS)) ??
    untilReset(read('reset'), serverNow) ??
    untilReset(read('resettime'), serverNow);
  if (quota === undefined && remaining === undefined && effectiveWindowMs === undefined) {
    return undefined;
  }
  const windowS = /^\d{1,15};w=(\d{1,12})$/.exec(limit ?? '')?.[1];
  return {
    ...NOTHING_SAID,
    name: NAME_SUFFIXES.map((suffix) => read(suffix)).find((name) => NAME.test(name ?? '')),
    quota,
    windowMs: windowS === undefined ? undefined : Number(windowS) * 1_000,
    remaining,
    effectiveWindowMs,
  };
}

const NAME = /^[\x21-\x7e]{1,128}$/;

/** `"burst";r=50;t=30`, of draft-8 and later; undefined if it is no list, and empty if it has no counts. */
function readItems(field: string): readonly ReportedLimit[] | undefined {
  const items = parseList(field);
  const counts: ReportedLimit[] = [];
  for (const { bare, parameters } of items ?? []) {
    // The draft after draft-11 calls them `a` and `w`; in draft-11, `w` has no meaning here.
    const [left, within] = parameters.has('r') ? (['r', 't'] as const) : (['a', 'w'] as const);
    const remaining = parameters.get(left);
    if (
      (bare.type !== 'string' && bare.type !== 'token') ||
      !isInteger(remaining, 0) ||
      !isAbsentOr(parameters, within, (value) => isInteger(value, 0)) ||
      !isAbsentOr(parameters, 'pk', (value) => value.type === 'bytes')
    ) {
      return [];
    }
    counts.push({
      ...NOTHING_SAID,
      name: bare.value,
      remaining: remaining.value,
      effectiveWindowMs: milliseconds(parameters, within),
      partitionKey: text(parameters, 'pk'),
    });
  }
  return items === undefined ? undefined : counts;
}

/** `limit=100, remaining=50, reset=30`, of draft-7. */
function readDirectives(field: string): readonly ReportedLimit[] {
  const directives = parseDictionary(field);
  if (
    directives?.has('remaining') !== true ||
    !['limit', 'remaining', 'reset'].every((name) =>
      isAbsentOr(directives, name, (value) => isInteger(value, 0)),
    )
  ) {
    return [];
  }
  return [
    {
      ...NOTHING_SAID,
      quota: directives.get('limit')?.value as number | undefined,
      remaining: directives.get('remaining')?.value as number,
      effectiveWindowMs: milliseconds(directives, 'reset'),
    },
  ];
}

/** Adds each count to the policy of its name, or without a name to the policy of its quota; else keeps it separate. */
function withCounts(
  policies: readonly ReportedLimit[],
  counts: readonly ReportedLimit[],
): readonly ReportedLimit[] {
  const limits = [...policies];
  for (const count of counts) {
    const itsPolicy = (policy: ReportedLimit): boolean =>
      (count.name === undefined || policy.name === undefined
        ? policy.quota === count.quota
        : policy.name === count.name) &&
      (policy.partitionKey ?? count.partitionKey) === (count.partitionKey ?? policy.partitionKey);
    // One policy may have several counts, one for each partition.
    const free = policies.findIndex((policy, i) => itsPolicy(policy) && limits[i] === policy);
    const policy = policies[free] ?? policies.find(itsPolicy) ?? NOTHING_SAID;
    limits[free === -1 ? limits.length : free] = {
      name: count.name ?? policy.name,
      quota: count.quota ?? policy.quota,
      windowMs: count.windowMs ?? policy.windowMs,
      unit: count.unit ?? policy.unit,
      remaining: count.remaining,
      effectiveWindowMs: count.effectiveWindowMs,
      ...(count.refills === undefined ? {} : { refills: count.refills }),
      partitionKey: count.partitionKey ?? policy.partitionKey,
    };
  }
  return limits;
}

function isInteger(
  bare: BareItem | undefined,
  min: number,
): bare is BareItem & { readonly value: number } {
  return bare?.type === 'integer' && bare.value >= min;
}

function isAbsentOr(
  parameters: Parameters,
  name: string,
  fits: (value: BareItem) => boolean,
): boolean {
  const value = parameters.get(name);
  return value === undefined || fits(value);
}

function milliseconds(parameters: Parameters, name: string): number | undefined {
  const seconds = parameters.get(name)?.value;
  return typeof seconds === 'number' ? seconds * 1_000 : undefined;
}

function text(parameters: Parameters, name: string): string | undefined {
  const value = parameters.get(name)?.value;
  return typeof value === 'string' ? value : undefined;
}
