import { invalidOption, optionError } from '../base/errors.ts';
import { readDurationString } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import type { GivenCost } from '../base/decision.ts';
import type { AnyIdentity, IdentityOf } from '../base/identity.ts';
import { allOf, duration } from '../options/other-names.ts';
import { readable, readFunction, readInteger } from '../options/read-options.ts';
import type { GivenOptions, OptionSet } from '../options/read-options.ts';
import type { ReservingLimiter, SpendingSettings, Units } from './spending.ts';
import type { ModelUsage } from './usage.ts';

/** How calls of a model are identified and paid for; `Request` tells of one call. */
export interface SpendingOptions<Request, By extends string = never, Unit extends string = never> {
  /**
   * The identity to limit: the same for all calls, or a function of the call. Named parts where limits say `by`. An
   * error thrown here rejects the call.
   */
  readonly identify:
    | IdentityOf<NoInfer<By>>
    | ((request: Request) => IdentityOf<NoInfer<By>> | PromiseLike<IdentityOf<NoInfer<By>>>);
  /** The units to reserve. Default: `settle` of the call's `estimate`. */
  readonly cost?:
    | ((request: Request) => GivenCost<NoInfer<Unit>> | PromiseLike<GivenCost<NoInfer<Unit>>>)
    | undefined;
  /**
   * The units of a usage. Called with the provider's report, and in a stream with what has come so far. Default: all
   * tokens, as a number or by the names `tokens`, `input_tokens` and `output_tokens`. Needed where a limit counts
   * another unit, such as money.
   */
  readonly settle?: ((usage: ModelUsage) => GivenCost<NoInfer<Unit>>) | undefined;
  /**
   * Tokens of an answer that are reserved where the call names no maximum, and that a stream pays for at a time: 1 to
   * 1,000,000. Default 500.
   */
  readonly stepTokens?: number | undefined;
  /** The longest that a call takes. After that its estimate stays charged. Default `'10m'`. */
  readonly ttl?: Duration | undefined;
}

export const SPENDING_NAMES: readonly string[] = [
  'identify',
  'cost',
  'settle',
  'stepTokens',
  'ttl',
];

export const SPENDING_OTHER_NAMES: NonNullable<OptionSet['otherNames']> = {
  ...allOf('id identity key keyGenerator', 'identify'),
  ...allOf('estimate reserve weight points', 'cost'),
  ...allOf('usage price', 'settle'),
  ...allOf('step steps', 'stepTokens'),
  ...allOf('duration expiresIn timeout', duration('ttl')),
};

/** Checked options, of whatever parts and units. */
export interface ReadSpending<Request> extends SpendingSettings {
  readonly identify: AnyIdentity | ((request: Request) => AnyIdentity | PromiseLike<AnyIdentity>);
  readonly cost: ((request: Request) => Units | PromiseLike<Units>) | undefined;
}

const YEAR_MS = 366 * 86_400_000;

export function readSpending<Request>(
  given: GivenOptions,
  limiter: ReservingLimiter,
): ReadSpending<Request> {
  const settle = given.optional('settle', readFunction, undefined);
  return {
    limiter,
    identify: given.required('identify', readIdentify),
    cost: given.optional('cost', readFunction, undefined) as ReadSpending<Request>['cost'],
    price: given.attempt('settle', () => (settle ?? priceOf(limiter)) as SpendingSettings['price']),
    stepTokens: given.optional(
      'stepTokens',
      (option, value) => readInteger(option, value, 1, 1_000_000),
      500,
    ),
    ttl: given.optional('ttl', readTtl, '10m'),
    observing: observingOf(limiter, settle),
  };
}

/**
 * Whether and how the provider's answers are observed. A limiter without units counts tokens unless `settle` says
 * otherwise; then what of the answer is about them is unknown.
 */
function observingOf(
  { limits, observes }: ReservingLimiter,
  settle: unknown,
): SpendingSettings['observing'] {
  if (observes !== true) return undefined;
  const hasUnits = limits.some(({ unit }) => unit !== undefined);
  return hasUnits ? {} : settle === undefined ? { unit: 'tokens' } : undefined;
}

/** The identity of a call, and the units to reserve for it. */
export async function termsOf<Request extends { readonly estimate: ModelUsage }>(
  { identify, cost, price }: ReadSpending<Request>,
  request: Request,
): Promise<{ identity: AnyIdentity; cost: Units }> {
  const identity = typeof identify === 'function' ? await identify(request) : identify;
  return { identity, cost: cost === undefined ? price(request.estimate) : await cost(request) };
}

/**
 * Checks that an argument is a limiter that reserves.
 *
 * @throws `ERR_INVALID_OPTION` for anything else, and for a limiter with a concurrency limit.
 */
export function readReservingLimiter(limiter: unknown): ReservingLimiter {
  const given = limiter as Partial<ReservingLimiter> | null | undefined;
  const reserves = readable(
    'limiter',
    () => typeof given?.reserve === 'function' && Array.isArray(given.limits),
  );
  if (!reserves) {
    throw invalidOption(
      'limiter',
      'a RateLimiter',
      limiter,
      'Make one: new RateLimiter({ redis, limits }).',
    );
  }
  if (given!.limits!.some(({ algorithm }) => algorithm === 'concurrency')) {
    throw optionError(
      'limiter',
      'have no concurrency limit',
      'got one',
      'A reservation takes no place. Limit places with `limited` around the call.',
    );
  }
  return given as ReservingLimiter;
}

/** Tokens by the units of a limiter. */
const TOKENS_BY_UNIT: Readonly<Record<string, (usage: ModelUsage) => number>> = {
  tokens: ({ inputTokens, outputTokens }) => inputTokens + outputTokens,
  input_tokens: ({ inputTokens }) => inputTokens,
  output_tokens: ({ outputTokens }) => outputTokens,
};

/** The default of `settle`. */
function priceOf({ limits }: ReservingLimiter): (usage: ModelUsage) => Units {
  if (limits.every(({ unit }) => unit === undefined)) return TOKENS_BY_UNIT['tokens']!;
  const units = [...new Set(limits.map(({ unit = CALLS }) => unit))].filter(
    (unit) => unit !== CALLS,
  );
  const other = units.find((unit) => TOKENS_BY_UNIT[unit] === undefined);
  if (other !== undefined || units.length === 0) {
    throw optionError(
      'settle',
      'be given where a limit counts anything but calls, tokens, input_tokens and output_tokens',
      other === undefined ? 'got no limit of tokens' : `got the unit '${other}'`,
      'Return all units of a usage: ({ inputTokens, outputTokens }) => ({ … }).',
    );
  }
  return (usage) =>
    Object.fromEntries(units.map((unit) => [unit, TOKENS_BY_UNIT[unit]!(usage)] as const));
}

const CALLS = 'calls';

function readIdentify(option: string, identify: unknown): never {
  const isIdentity =
    ['string', 'number', 'bigint', 'function'].includes(typeof identify) ||
    (typeof identify === 'object' && identify !== null);
  if (!isIdentity) {
    throw invalidOption(
      option,
      'a function of the call, or the identity of all calls',
      identify,
      'Pass the identity to limit: the owner of the API key.',
    );
  }
  return identify as never;
}

function readTtl(option: string, ttl: unknown): string {
  readDurationString(option, ttl, 1, YEAR_MS, '10m');
  return ttl as string;
}
