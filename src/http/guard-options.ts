import type { Limit } from '../algorithms/limit.ts';
import { readCost } from '../limiter/call-options.ts';
import { readDuration } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import type { Identity } from '../base/identity.ts';
import { readLimits } from '../limiter/limit-set.ts';
import { ADDRESS_OPTIONS } from '../options/option-sets.ts';
import { GUARD } from '../options/http-option-sets.ts';
import { GivenOptions, readFunction, readOneOf, readSecret } from '../options/read-options.ts';
import { identifyByAddress } from './address/client-address.ts';
import type { AddressOptions, AddressRequest, AddressSource } from './address/client-address.ts';
import { readHeaderProfile } from './headers.ts';
import type { HeaderProfile, HeaderWriter } from './headers.ts';
import type { OnRefused, RefusalResponse } from './refusal.ts';

type OrPromise<T> = T | Promise<T>;

/**
 * How a framework's requests are limited. `Request` is whatever the framework hands to its middleware.
 *
 * @example
 * const options: GuardOptions<IncomingMessage> = {
 *   identify: ({ headers }) => headers['x-api-key'],
 *   cost: ({ url }) => (url === '/export' ? 10 : 1),
 * };
 */
export interface GuardOptions<Request> extends AddressOptions {
  /**
   * Who is limited. Default: the client's address, for which `trustedProxies`, `forwardedHeader` and `ipv6Prefix` are.
   * Undefined, null or '': nobody, see `unidentified`. What else is no identity, such as an object, is refused with
   * status 400 and one process warning. An error thrown here goes where the framework handles errors.
   */
  identify?: (request: Request) => OrPromise<Identity | undefined | null>;
  /** Units that a request asks for; default 1. An error thrown here goes where the framework handles errors. */
  cost?: number | ((request: Request) => OrPromise<number>);
  /**
   * Limits in place of the limiter's own: a plan, a route's own. Make them once, not per request. Undefined from the
   * function: the limiter's own.
   */
  limits?: readonly Limit[] | ((request: Request) => OrPromise<readonly Limit[] | undefined>);
  /** Requests that are let through without being counted. */
  skip?: (request: Request) => OrPromise<boolean>;
  /**
   * Called before the guard answers a request itself, with status 429, 503 or 400. It returns what is sent instead;
   * undefined or `'default'` for the guard's own answer; or `'throw'`, and the framework's error handling gets an error
   * with `status`, `headers` and `decision` (`RateLimitExceeded`). What it throws itself goes there as well.
   */
  onRefused?: (request: Request, refusal: RefusalResponse) => OrPromise<OnRefused>;
  /** Default `'draft-11'`. */
  headers?: HeaderProfile;
  /**
   * Which requests count. Every one is charged when it arrives, so that none slips through beside others; what does
   * not count is given back when its response is complete: status 400 and above is a failure. A request that is
   * aborted counts. Default `'all'`.
   */
  count?: 'all' | 'failures' | 'successes';
  /**
   * Longest time for which a request holds a place under a concurrency limit. The place is then freed, though the
   * response may go on, and the first time it is one process warning. From `'10ms'` to `'24d'`; default `'1d'`.
   */
  maxHold?: Duration | number;
  /**
   * What becomes of a request for which `identify` returns undefined, null or '': status 400, or through without being
   * counted. Default `'refuse'`.
   */
  unidentified?: 'refuse' | 'pass';
  /**
   * Adds `pk` to the fields of `draft-11`: tells a caller which of his quotas are one, without telling who he is.
   * HMAC-SHA-256 of the identity under this secret of at least 32 bytes, cut to 12 bytes. Default: no `pk`.
   */
  partitionSecret?: string | Uint8Array;
}

/** Options that are right. */
export interface GuardSettings<Request> {
  readonly identify: (request: Request) => OrPromise<unknown>;
  readonly cost: number | ((request: Request) => OrPromise<number>);
  readonly limits:
    | readonly Limit[]
    | undefined
    | ((request: Request) => OrPromise<readonly Limit[] | undefined>);
  readonly skip: ((request: Request) => OrPromise<boolean>) | undefined;
  readonly onRefused: GuardOptions<Request>['onRefused'];
  readonly writeHeaders: HeaderWriter;
  readonly count: 'all' | 'failures' | 'successes';
  readonly maxHoldMs: number;
  readonly unidentified: 'refuse' | 'pass';
  readonly partitionSecret: string | Uint8Array | undefined;
}

const DAY_MS = 86_400_000;
/** Timers of Node's go no further. */
const MAX_HOLD_MS = 24 * DAY_MS;

export function readGuardOptions<Request>(
  options: GuardOptions<Request>,
  addressOf: (request: Request) => AddressRequest | AddressSource,
): GuardSettings<Request> {
  const given = new GivenOptions(GUARD, options);
  const settings = {
    identify: readIdentify(given, addressOf),
    cost: given.optional('cost', readCostOption, 1) as GuardSettings<Request>['cost'],
    limits: given.optional(
      'limits',
      readLimitsOption,
      undefined,
    ) as GuardSettings<Request>['limits'],
    skip: given.optional('skip', readFunction, undefined) as GuardSettings<Request>['skip'],
    onRefused: given.optional(
      'onRefused',
      readFunction,
      undefined,
    ) as GuardSettings<Request>['onRefused'],
    writeHeaders: given.attempt('headers', () =>
      readHeaderProfile(given.values['headers'] ?? 'draft-11'),
    ),
    count: given.optional('count', readCount, 'all'),
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
  return typeof limits === 'function' ? limits : readLimits(limits);
}

function readCount(option: string, value: unknown): 'all' | 'failures' | 'successes' {
  return readOneOf(option, value, ['all', 'failures', 'successes']);
}

function readMaxHold(option: string, value: unknown): number {
  return readDuration(option, value, 10, MAX_HOLD_MS);
}

function readUnidentified(option: string, value: unknown): 'refuse' | 'pass' {
  return readOneOf(option, value, ['refuse', 'pass']);
}

/** Options for a part, which go before those for the whole. */
export function overrideGuardOptions<Request>(
  whole: GuardOptions<Request>,
  part: GuardOptions<Request>,
): GuardOptions<Request> {
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

/** Leaves a problem behind, and undefined, where the options are wrong. */
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
