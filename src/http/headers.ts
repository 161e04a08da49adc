import type { AnyLimit } from '../algorithms/limit.ts';
import type {
  AllowedDecision,
  BlockedDecision,
  LimitedDecision,
  LimitState,
} from '../base/decision.ts';
import { invalidOption } from '../base/errors.ts';
import { readFields } from './application-fields.ts';
import type { FieldRecord, HeaderFields } from './application-fields.ts';
import type { PartitionOf } from './partition-key.ts';

/** The facts that a custom profile gets about a request that the store has decided. */
export interface HeaderContext {
  readonly decision: Decided;
  /** The limits that governed the request, in the order of `decision.limits`. */
  readonly limits: readonly AnyLimit[];
}

/**
 * The rate limit fields of responses: a name, or a function that returns the fields by name. A number is written in
 * digits; an undefined value is left out. For any other value, such as a line break, the response gets no rate limit
 * fields, with one process warning for the first.
 *
 * - `'draft-11'`: `RateLimit-Policy` and `RateLimit` as lists of named items,
 *   draft-ietf-httpapi-ratelimit-headers-11; `'draft-8'`, `'draft-9'` and `'draft-10'` are the same format.
 * - `'draft-7'`: `RateLimit: limit=…, remaining=…, reset=…` and `RateLimit-Policy`.
 * - `'draft-6'`: `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` in seconds, and `RateLimit-Policy`.
 * - `'legacy'`: `X-RateLimit-Limit`, `X-RateLimit-Remaining`, and `X-RateLimit-Reset` as Unix seconds.
 * - `'none'`: no such fields. `Retry-After` belongs to HTTP itself (RFC 9110) and is sent with each of these.
 *
 * The formats before draft 8 have room for one limit: the one nearest to exhaustion.
 *
 * @example
 * app.use(rateLimit(limiter, { headers: 'draft-7' }));
 * app.use(rateLimit(limiter, { headers: ({ decision }) => ({ 'X-Quota-Left': decision.remaining }) }));
 */
export type HeaderProfile =
  | 'draft-11'
  | 'draft-10'
  | 'draft-9'
  | 'draft-8'
  | 'draft-7'
  | 'draft-6'
  | 'legacy'
  | 'none'
  | ((context: HeaderContext) => FieldRecord | undefined);

/** A decision of the store, which has facts to announce. */
export type Decided = AllowedDecision | LimitedDecision | BlockedDecision;

/** Writes the fields of one decision; `partitionOf` gives the values of the parameter `pk`, if configured. */
export type HeaderWriter = (
  decision: Decided,
  limits: readonly AnyLimit[],
  partitionOf: PartitionOf | undefined,
) => HeaderFields;

const WRITERS: Readonly<Record<Exclude<HeaderProfile, Function>, HeaderWriter>> = {
  'draft-11': writeDraft11,
  'draft-10': writeDraft11,
  'draft-9': writeDraft11,
  'draft-8': writeDraft11,
  'draft-7': writeDraft7,
  'draft-6': writeDraft6,
  legacy: writeLegacy,
  none: () => [],
};

export function readHeaderProfile(profile: unknown): HeaderWriter {
  if (typeof profile === 'function') {
    const write = profile as Extract<HeaderProfile, Function>;
    return (decision, limits) => readFields(write({ decision, limits }));
  }
  if (typeof profile === 'string' && Object.hasOwn(WRITERS, profile)) {
    return WRITERS[profile as keyof typeof WRITERS];
  }
  throw invalidOption(
    'headers',
    `one of ${Object.keys(WRITERS)
      .map((name) => `'${name}'`)
      .join(', ')}, or a function`,
    profile,
    "The current IETF draft is 'draft-11'.",
  );
}

/** Marks a refusal whose form depends on the request's `Accept`. */
export const VARY_ACCEPT: HeaderFields[number] = ['Vary', 'Accept'];

/** Whether the field is a list, so that its items join those already present: another limiter's, or CORS's `Vary`. */
export function joinsList(name: string, value: string): boolean {
  return (
    (value.startsWith('"') && (name === 'RateLimit' || name === 'RateLimit-Policy')) ||
    (name === VARY_ACCEPT[0] && value === VARY_ACCEPT[1])
  );
}

/** Whole seconds, rounded up, at least 1: never earlier than the limit allows. */
export function retryAfterOf(retryAfterMs: number): string {
  return String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
}

const policies = new WeakMap<readonly AnyLimit[], string>();

function writeDraft11(
  decision: Decided,
  limits: readonly AnyLimit[],
  partitionOf: PartitionOf | undefined,
): HeaderFields {
  let policy = policies.get(limits);
  if (policy === undefined) {
    policy = limits
      .filter(({ shadow }) => !shadow)
      .map(policyOf)
      .join(', ');
    policies.set(limits, policy);
  }
  let state = '';
  for (const limit of decision.limits) {
    if (limit.shadow) {
      continue;
    }
    const seconds = effectiveWindow(limit);
    state += `${state === '' ? '' : ', '}"${limit.name}";r=${limit.remaining}${seconds === 0 ? '' : `;t=${seconds}`}`;
    const partition = partitionOf?.(limit.by);
    if (partition !== undefined) {
      state += `;pk=:${partition}:`;
    }
  }
  return state === ''
    ? []
    : [
        ['RateLimit-Policy', policy],
        ['RateLimit', state],
      ];
}

/** The draft's registry of quota units; `requests` is the one that a policy without `qu` has. Others have no name. */
const QUOTA_UNITS: Readonly<Record<string, string>> = { content_bytes: 'content-bytes' };

/**
 * A policy of draft 11: the quota and its window in seconds. The window is left out below a second, where rounding
 * would announce another rate, and for calendar windows, which differ in length.
 */
function policyOf({ name, algorithm, capacity, unit, windowMs }: AnyLimit): string {
  const quotaUnit = algorithm === 'concurrency' ? 'concurrent-requests' : QUOTA_UNITS[unit ?? ''];
  const qu = quotaUnit === undefined ? '' : `;qu="${quotaUnit}"`;
  return `"${name}";q=${capacity}${qu}${windowMs === undefined || windowMs < 1_000 ? '' : `;w=${Math.ceil(windowMs / 1_000)}`}`;
}

/**
 * The parameter `t` of draft 11: the seconds in which no more than `r` can be used; 0 for none. If the limit refused,
 * `t` is the wait that `Retry-After` announces, so that the two never contradict each other (§5 of the draft). It is
 * 0 for a concurrency limit, because a lease may be released at any time.
 */
function effectiveWindow({ algorithm, resetAfterMs, retryAfterMs }: LimitState): number {
  return algorithm === 'concurrency' ? 0 : Math.ceil((retryAfterMs ?? resetAfterMs) / 1_000);
}

function writeDraft7(decision: Decided, limits: readonly AnyLimit[]): HeaderFields {
  const nearest = nearestOf(decision);
  return nearest === undefined
    ? []
    : [
        ...writeOldPolicy(limits),
        [
          'RateLimit',
          `limit=${nearest.limit}, remaining=${nearest.remaining}, reset=${effectiveWindow(nearest)}`,
        ],
      ];
}

function writeDraft6(decision: Decided, limits: readonly AnyLimit[]): HeaderFields {
  const nearest = nearestOf(decision);
  return nearest === undefined
    ? []
    : [
        ...writeOldPolicy(limits),
        ['RateLimit-Limit', String(nearest.limit)],
        ['RateLimit-Remaining', String(nearest.remaining)],
        ['RateLimit-Reset', String(effectiveWindow(nearest))],
      ];
}

function writeLegacy(decision: Decided): HeaderFields {
  const nearest = nearestOf(decision);
  if (nearest === undefined) {
    return [];
  }
  const now = decision.resetAtMs - decision.resetAfterMs;
  const reset = now + (nearest.retryAfterMs ?? nearest.resetAfterMs);
  return [
    ['X-RateLimit-Limit', String(nearest.limit)],
    ['X-RateLimit-Remaining', String(nearest.remaining)],
    ['X-RateLimit-Reset', String(Math.ceil(reset / 1_000))],
  ];
}

const oldPolicies = new WeakMap<readonly AnyLimit[], HeaderFields>();

/** `100;w=60, 1000;w=3600`: in the drafts before 8 a policy has no name, and its window is required. */
function writeOldPolicy(limits: readonly AnyLimit[]): HeaderFields {
  let fields = oldPolicies.get(limits);
  if (fields === undefined) {
    const items = limits
      .filter(({ shadow, windowMs }) => !shadow && windowMs !== undefined && windowMs >= 1_000)
      .map(({ capacity, windowMs }) => `${capacity};w=${Math.ceil(windowMs! / 1_000)}`);
    fields = items.length === 0 ? [] : [['RateLimit-Policy', items.join(', ')]];
    oldPolicies.set(limits, fields);
  }
  return fields;
}

/** The limit of which the decision itself speaks: the one that a caller feels first. */
function nearestOf({ limits, limitName }: Decided): LimitState | undefined {
  return limits.find(({ name }) => name === limitName);
}
