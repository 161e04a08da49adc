import type { AnyLimit, Limit } from '../algorithms/limit.ts';
import type { GivenCost } from '../base/decision.ts';
import { readCost } from '../limiter/cost.ts';
import { readDuration } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import { invalidOption } from '../base/errors.ts';
import type { IdentityOf } from '../base/identity.ts';
import { readPlan } from '../limiter/read-limits.ts';
import { ADDRESS_OPTIONS } from '../options/option-sets.ts';
import { GUARD } from '../options/http-option-sets.ts';
import {
  GivenOptions,
  readBoolean,
  readFunction,
  readOneOf,
  readSecret,
} from '../options/read-options.ts';
import { identifyByAddress } from './address/client-address.ts';
import type { AddressOptions, AddressRequest, AddressSource } from './address/client-address.ts';
import { readHeaderProfile } from './headers.ts';
import type { HeaderProfile, HeaderWriter } from './headers.ts';
import type { OnRefused, RefusalResponse } from './refusal.ts';
import type { EndedResponse } from './request-end.ts';
import { readRequestWait } from './waiting.ts';
import type { RequestWait } from './waiting.ts';

type OrPromise<T> = T | Promise<T>;

/**
 * How a framework's requests are limited. `Request` is the object that the framework passes to its middleware; `By` is
 * the union of the parts that the limiter's limits count by, and `Unit` that of their units.
 *
 * @example
 * const options: GuardOptions<IncomingMessage> = {
 *   identify: ({ headers }) => headers['x-api-key'],
 *   cost: ({ url }) => (url === '/export' ? 10 : 1),
 * };
 */
export interface GuardOptions<
  Request,
  By extends string = never,
  Unit extends string = never,
> extends AddressOptions {
  /**
   * Returns the identity to limit. Default: the client's address, as set by `trustedProxies`, `forwardedHeader` and
   * `ipv6Prefix`. Required for limits that say `by`, which take named parts. For undefined, null or '' see `unidentified`. Any other value that is no identity, such as an
   * object, is refused with status 400 and one process warning. An error thrown here goes to the framework's error
   * handling.
   */
  identify?: (request: Request) => OrPromise<IdentityOf<NoInfer<By>> | undefined | null>;
  /**
   * Units that a request asks for; default 1. By name where limits have units: `{ tokens: 1200 }`. A cost that is no
   * function is checked when the guard is made. An error thrown here goes to the framework's error handling.
   */
  cost?: GivenCost<NoInfer<Unit>> | ((request: Request) => OrPromise<GivenCost<NoInfer<Unit>>>);
  /**
   * Limits instead of the limiter's own, for a plan or a route. Make them once, not per request. `[]` is the plan
   * without a limit. If the function returns undefined, the limiter's own apply.
   */
  limits?:
    | readonly Limit<string, NoInfer<By>, NoInfer<Unit>>[]
    | ((
        request: Request,
      ) => OrPromise<readonly Limit<string, NoInfer<By>, NoInfer<Unit>>[] | undefined>);
  /** Returns true for requests to let through without counting them. */
  skip?: (request: Request) => OrPromise<boolean>;
  /**
   * Called before the guard itself answers a request, with status 429, 503, 403 or 400. Returns the response to send
   * instead; undefined or `'default'` for the guard's own; or `'throw'`, to give the framework's error handling an
   * error with `status`, `headers` and `decision` (`RateLimitExceeded`). An error thrown here goes there as well.
   * `'throw'` in place of the function throws every refusal. Default `'default'`.
   */
  onRefused?:
    | 'default'
    | 'throw'
    | ((request: Request, refusal: RefusalResponse) => OrPromise<OnRefused>);
  /**
   * Whether a refusal follows the request's `Accept`: a page of HTML for a browser, plain text, or the problem. The
   * problem also for a request without `Accept` or with any type. Default false: always the problem.
   */
  negotiate?: boolean;
  /** The rate limit fields of responses. Default `'draft-11'`. */
  headers?: HeaderProfile;
  /**
   * Which requests count. Every request is charged on arrival, so that concurrent requests cannot slip through. A
   * charge that does not count is refunded when the response is complete; status 400 and above is a failure. An
   * aborted request counts. A function gets the complete response, and returns whether it counts. If it fails, the
   * response counts, with one process warning for the first. Default `'all'`.
   */
  count?:
    | 'all'
    | 'failures'
    | 'successes'
    | ((response: EndedResponse, request: Request) => OrPromise<boolean>);
  /**
   * Called with a promise of what the guard does for a request after its response: it frees the place and refunds a
   * charge that does not count. For platforms that freeze a function once it has answered: pass the promise to their
   * `waitUntil` or `after`. Called when the request passes, and only if there is something to give back. The promise
   * never rejects.
   */
  waitUntil?: (work: Promise<void>, request: Request) => void;
  /**
   * Lets a request that a limit or a block refuses wait for its turn, in order of arrival for each identity, and
   * refuses it only if that takes longer than `timeoutMs`, or if `maxQueue` others wait. A request whose client leaves
   * is not charged. A guard lets 10,000 requests wait at a time; further ones are decided at once. Not under a
   * concurrency limit. Default: no request waits.
   */
  wait?: RequestWait;
  /**
   * The longest that a request holds a place under a concurrency limit. The place is then freed, even if the response
   * goes on, with one process warning for the first. From `'10ms'` to `'24d'`; default `'1d'`.
   */
  maxHold?: Duration | number;
  /**
   * How to answer a request if `identify` returns undefined, null or '': refuse it with status 400, or let it through
   * uncounted. Default `'refuse'`.
   */
  unidentified?: 'refuse' | 'pass';
  /**
   * Adds `pk` to the fields of `draft-11`: shows a caller which of its quotas are counted together, without revealing
   * its identity. HMAC-SHA-256 of the identity, or of the parts that the limit counts by, under this secret of at least 32 bytes, cut to 12 bytes. Default: no
   * `pk`.
   */
  partitionSecret?: string | Uint8Array;
}

/**
 * Options of a guard over limits that may say `by`: `identify` is then required, because an address is no named part.
 *
 * @example
 * const options: IdentifyingGuardOptions<IncomingMessage, 'org'> = {
 *   identify: ({ headers }) => ({ org: String(headers['x-org']) }),
 * };
 */
export interface IdentifyingGuardOptions<
  Request,
  By extends string,
  Unit extends string = never,
> extends GuardOptions<Request, By, Unit> {
  identify: NonNullable<GuardOptions<Request, By>['identify']>;
}

/** Options of a guard over whatever limits. */
export type AnyGuardOptions<Request> = GuardOptions<Request, string, string>;

/** Checked options. */
export interface GuardSettings<Request> {
  readonly identify: (request: Request) => OrPromise<unknown>;
  /** Undefined: what a call asks for that gives no cost. */
  readonly cost: GivenCost | undefined | ((request: Request) => OrPromise<GivenCost>);
  readonly limits:
    | readonly AnyLimit[]
    | undefined
    | ((request: Request) => OrPromise<readonly AnyLimit[] | undefined>);
  readonly skip: ((request: Request) => OrPromise<boolean>) | undefined;
  readonly onRefused:
    | ((request: Request, refusal: RefusalResponse) => OrPromise<OnRefused>)
    | undefined;
  readonly negotiate: boolean;
  readonly writeHeaders: HeaderWriter;
  /** Undefined if all responses count. */
  readonly counts: ((response: EndedResponse, request: Request) => OrPromise<boolean>) | undefined;
  readonly wait: Required<RequestWait> | undefined;
  readonly waitUntil: ((work: Promise<void>, request: Request) => void) | undefined;
  readonly maxHoldMs: number;
  readonly unidentified: 'refuse' | 'pass';
  readonly partitionSecret: string | Uint8Array | undefined;
}

const DAY_MS = 86_400_000;
/** The longest timer that Node supports. */
const MAX_HOLD_MS = 24 * DAY_MS;

export function readGuardOptions<Request>(
  options: AnyGuardOptions<Request>,
  addressOf: (request: Request) => AddressRequest | AddressSource,
): GuardSettings<Request> {
  const given = new GivenOptions(GUARD, options);
  const settings = {
    identify: readIdentify(given, addressOf),
    cost: given.optional('cost', readCostOption, undefined) as GuardSettings<Request>['cost'],
    limits: given.optional(
      'limits',
      readLimitsOption,
      undefined,
    ) as GuardSettings<Request>['limits'],
    skip: given.optional('skip', readFunction, undefined) as GuardSettings<Request>['skip'],
    onRefused: given.optional(
      'onRefused',
      readOnRefused,
      undefined,
    ) as GuardSettings<Request>['onRefused'],
    negotiate: given.optional('negotiate', readBoolean, false),
    writeHeaders: given.attempt('headers', () =>
      readHeaderProfile(given.values['headers'] ?? 'draft-11'),
    ),
    counts: given.optional('count', readCount, undefined) as GuardSettings<Request>['counts'],
    wait: given.optional('wait', readRequestWait, undefined),
    waitUntil: given.optional(
      'waitUntil',
      readFunction,
      undefined,
    ) as GuardSettings<Request>['waitUntil'],
    maxHoldMs: given.optional('maxHold', readMaxHold, DAY_MS),
    unidentified: given.optional('unidentified', readUnidentified, 'refuse'),
    partitionSecret: given.optional('partitionSecret', readSecret, undefined),
  };
  given.end();
  return settings;
}

function readCostOption(option: string, cost: unknown): unknown {
  return typeof cost === 'function' ? cost : readCost(option, cost);
}

function readLimitsOption(_option: string, limits: unknown): unknown {
  return typeof limits === 'function' ? limits : readPlan(limits);
}

function readOnRefused(option: string, value: unknown): unknown {
  if (value === 'throw' || value === 'default') {
    return () => value;
  }
  if (typeof value !== 'function') {
    throw invalidOption(
      option,
      "a function, 'throw' or 'default'",
      value,
      "Pass 'throw' for the framework's error handling, or a function that returns the response.",
    );
  }
  return value;
}

const COUNTS: Readonly<Record<string, ((response: EndedResponse) => boolean) | undefined>> = {
  all: undefined,
  failures: ({ status }) => status >= 400,
  successes: ({ status }) => status < 400,
};

function readCount(option: string, value: unknown): unknown {
  if (typeof value === 'function') {
    return value;
  }
  if (typeof value !== 'string' || !Object.hasOwn(COUNTS, value)) {
    throw invalidOption(
      option,
      "'all', 'failures', 'successes' or a function",
      value,
      'Choose one of them, or write ({ status }) => status === 401.',
    );
  }
  return COUNTS[value];
}

function readMaxHold(option: string, value: unknown): number {
  return readDuration(option, value, 10, MAX_HOLD_MS);
}

function readUnidentified(option: string, value: unknown): 'refuse' | 'pass' {
  return readOneOf(option, value, ['refuse', 'pass']);
}

/** Combines options of a part with those of the whole; the part's take precedence. */
export function overrideGuardOptions<Request>(
  whole: AnyGuardOptions<Request>,
  part: AnyGuardOptions<Request>,
): AnyGuardOptions<Request> {
  const options = { ...whole, ...part };
  if (part.identify !== undefined) {
    for (const name of ADDRESS_OPTIONS) {
      if (part[name] === undefined) {
        delete options[name];
      }
    }
  }
  return options;
}

/** Records a problem, and returns undefined, if the options are wrong. */
function readIdentify<Request>(
  given: GivenOptions,
  addressOf: (request: Request) => AddressRequest | AddressSource,
): (request: Request) => OrPromise<unknown> {
  if (given.values['identify'] !== undefined) {
    for (const name of ADDRESS_OPTIONS) {
      given.refuse(
        name,
        'left out where `identify` is given',
        'Call `clientAddress` in `identify` instead.',
      );
    }
    return given.required('identify', readFunction) as (request: Request) => unknown;
  }
  const options = Object.fromEntries(ADDRESS_OPTIONS.map((name) => [name, given.values[name]]));
  const identify = given.attempt('identify', () => identifyByAddress(options));
  return (request) => identify(addressOf(request));
}
