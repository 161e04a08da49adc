import type { RateLimiter } from '../limiter/rate-limiter.ts';
import type { RateLimiterOptions } from '../limiter/limiter-options.ts';
import type { AnyLimiter, AnyLimiterOptions } from '../limiter/limiter-or-options.ts';
import type { AnyLimit } from '../algorithms/limit.ts';
import type { AllowedDecision, Decision, GivenCost } from '../base/decision.ts';
import { checkLimiterOrOptions, toLimiter } from '../limiter/limiter-or-options.ts';
import { invalidOption } from '../base/errors.ts';
import { waitsForPlaces } from '../limiter/call-options.ts';
import type { Identity } from '../base/identity.ts';
import { faultUnder } from '../limiter/homes.ts';
import { lendsPlaces } from '../limiter/limit-set.ts';
import { checkCost } from '../limiter/limit-units.ts';
import { Problems } from '../options/option-problems.ts';
import { isPromise } from '../base/is-promise.ts';
import { onWorkerd } from '../base/workerd.ts';
import { acceptOf, formFor } from './accept.ts';
import { FieldError, readFields } from './application-fields.ts';
import type { AddressRequest, AddressSource } from './address/client-address.ts';
import { noteCharge } from './counted-twice.ts';
import { giveBackAfter } from './give-back.ts';
import { readGuardOptions } from './guard-options.ts';
import type {
  AnyGuardOptions,
  GuardOptions,
  GuardSettings,
  IdentifyingGuardOptions,
} from './guard-options.ts';
import { retryAfterOf } from './headers.ts';
import type { HeaderFields } from './application-fields.ts';
import { Making } from './made-per-request.ts';
import { partitionsOf } from './partition-key.ts';
import { isForbidden } from '../limiter/rate-limit-exceeded.ts';
import { makeProblem, QUEUE_FULL, UNIDENTIFIED } from './problem.ts';
import { inForm, notePage } from './refusal-page.ts';
import { replace, readReplacement } from './refusal.ts';
import type { RefusalResponse, Replacement } from './refusal.ts';
import { noteDecision } from './request-decision.ts';
import type { Finish } from './request-end.ts';
import { thrownRefusal } from './thrown-refusal.ts';
import { WaitingRequests } from './waiting.ts';
import type { ClientOf } from './waiting.ts';

/** Lets the request go on. */
export interface Pass {
  readonly pass: true;
  /** Header fields to add to the response, even if the handler fails. */
  readonly headers: HeaderFields;
  /** If present, call it when the request has ended. Further calls do nothing. */
  readonly finish?: Finish;
}

/** Answers the request with this response. */
export interface Refused {
  readonly pass: false;
  readonly status: number;
  readonly headers: HeaderFields;
  readonly body: string;
}

/** A guard's answer to a request. */
export type Verdict = Pass | Refused;

/** Decides on a framework's requests; an adapter reads them and writes the verdict. */
export interface Guard<Request, By extends string = never, Unit extends string = never> {
  readonly limiter: RateLimiter<By, Unit>;
  /**
   * @param part the part of the request to decide on, if it is decided in parts, such as one field of a GraphQL query
   * @param client for `wait`: Node's response, a web `Request` or a signal, which tells when the client has gone. The
   * verdict on a request whose client left while it waited has status 499, and is not to be sent
   * @throws (rejects) errors of `identify`, `skip`, `cost`, `limits` and `onRefused`; an error for an invalid cost or
   * invalid limits; a `StoreError` under `failStrategy: 'throw'`; a refusal for which `onRefused` is or returned `'throw'`.
   * All are for the framework's own error handling.
   */
  check(request: Request, part?: object, client?: ClientOf): Promise<Verdict>;
}

/** The framework's part of a guard. */
export interface Adapter<Request> {
  /** Returns the addresses of a request, for the default `identify`. */
  addressOf(request: Request): AddressRequest | AddressSource;
  /** The object that identifies the request under every adapter: Node's own request if there is one. */
  requestOf(request: Request): unknown;
  /** The function that the application calls to make a guard; undefined if an adapter makes the guard itself. */
  readonly factory: Function | undefined;
}

/**
 * Makes a guard over a limiter, or over a new one of these options, for an adapter to a framework. The adapter reads
 * a request and writes a verdict.
 *
 * @param addressOf returns a request's addresses for the default `identify`; not needed for Node's own requests
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for every misspelt or wrong option; `ERR_INVALID_COST` for a `cost`
 * that the limits do not count.
 * @example
 * const guard = createGuard<IncomingMessage>(limiter, { identify: (request) => request.headers['x-api-key'] });
 * const verdict = await guard.check(request);
 * if (!verdict.pass) response.writeHead(verdict.status, Object.fromEntries(verdict.headers)).end(verdict.body);
 */
export function createGuard<Request, By extends string = never, Unit extends string = never>(
  limiter: RateLimiter<By, Unit> | RateLimiterOptions<By, Unit>,
  options: IdentifyingGuardOptions<Request, By, Unit>,
  addressOf?: (request: Request) => AddressRequest | AddressSource,
): Guard<Request, By, Unit>;
export function createGuard<Request, Unit extends string = never>(
  limiter: RateLimiter<never, Unit> | RateLimiterOptions<never, Unit>,
  options?: GuardOptions<Request, never, Unit>,
  addressOf?: (request: Request) => AddressRequest | AddressSource,
): Guard<Request, never, Unit>;
export function createGuard(
  limiter: object,
  options: object = {},
  addressOf: (request: never) => AddressRequest | AddressSource = (request) => request,
): object {
  return makeGuard<never>(limiter, options, { addressOf, requestOf: itself, factory: createGuard });
}

function itself(request: unknown): unknown {
  return request;
}

/**
 * Makes a guard for an adapter of this package, whose own types say of which limiter it is and that its options are
 * for it.
 */
export function makeGuard<Request, By extends string = never, Unit extends string = never>(
  limiter: object,
  said: AnyGuardOptions<Request> | undefined,
  adapter: Adapter<Request>,
): Guard<Request, By, Unit> {
  const given = limiter as AnyLimiter | AnyLimiterOptions;
  const problems = new Problems('the guard and of its limiter');
  const settings = problems.attempt(() =>
    readGuardOptions(said === undefined ? {} : said, (request: Request) =>
      adapter.addressOf(request),
    ),
  );
  problems.attempt(() => checkLimiterOrOptions(given));
  problems.throwAll();
  const made = toLimiter(given);
  try {
    checkTogether(made, said, settings);
  } catch (error) {
    if (made !== given) {
      void made.close();
    }
    throw error;
  }
  return new LimiterGuard(made, settings, adapter) as unknown as Guard<Request, By, Unit>;
}

/** Reports options that would make every request fail under the limits of this limiter. */
function checkTogether<Request>(
  limiter: AnyLimiter,
  said: AnyGuardOptions<Request> | undefined,
  { cost, limits, wait }: GuardSettings<Request>,
): void {
  const problems = new Problems('the guard');
  problems.attempt(() => {
    if (said?.identify === undefined && limiter.limits[0]?.by !== undefined) {
      throw invalidOption(
        'identify',
        'given where limits say `by`',
        undefined,
        'Return the parts that they count by: (request) => ({ ip: … }).',
      );
    }
  });
  if (typeof limits !== 'function' && wait !== undefined) {
    const governing = limits ?? limiter.limits;
    problems.attempt(() => {
      if (lendsPlaces(governing)) {
        throw waitsForPlaces(governing, NO_WAIT);
      }
    });
  }
  if (typeof cost !== 'function') {
    const plan = typeof limits === 'function' ? 'unknown' : limits;
    problems.attempt(() => checkCost('cost', cost, limiter.limits, plan));
  }
  problems.throwAll();
}

const UNCOUNTED: Pass = { pass: true, headers: [] };

/** For a client that left while its request waited. No adapter sends it. */
const GONE: Refused = { pass: false, status: 499, headers: [], body: '' };

const NO_WAIT = 'Leave `wait` out.';

function callOf(
  cost: GivenCost | undefined,
  limits: readonly AnyLimit[] | undefined,
): { cost?: GivenCost; limits?: readonly AnyLimit[] } {
  return {
    ...(cost === undefined ? {} : { cost }),
    ...(limits === undefined ? {} : { limits }),
  };
}

class LimiterGuard<Request> {
  readonly limiter: AnyLimiter;
  readonly #settings: GuardSettings<Request>;
  readonly #adapter: Adapter<Request>;
  readonly #making: Making | undefined;
  readonly #hasUnits: boolean;
  readonly #waiting: WaitingRequests | undefined;
  readonly #warned = new Set<string>();

  constructor(limiter: AnyLimiter, settings: GuardSettings<Request>, adapter: Adapter<Request>) {
    this.limiter = limiter;
    this.#settings = settings;
    this.#adapter = adapter;
    this.#waiting = settings.wait && new WaitingRequests(limiter, settings.wait);
    this.#hasUnits = limiter.limits.some(({ unit }) => unit !== undefined);
    // On workerd a guard on Redis has to be made for each request.
    this.#making = adapter.factory && !onWorkerd ? new Making(adapter.factory) : undefined;
  }

  /** Awaits only promises: each `await` of a plain value would cost every request a turn. */
  async check(request: Request, part?: object, client?: ClientOf): Promise<Verdict> {
    const { skip } = this.#settings;
    // oxlint-disable-next-line unbound-method -- it is not called
    this.#making?.noteUse(this.check, this.limiter);
    try {
      if (skip !== undefined && (await skip(request))) {
        return UNCOUNTED;
      }
      const asked = this.#settings.identify(request);
      const identity = (isPromise(asked) ? await asked : asked) as Identity | undefined | null;
      if (identity === undefined || identity === null || identity === '') {
        return await (this.#settings.unidentified === 'pass'
          ? UNCOUNTED
          : this.#refuseUnidentified(request, part));
      }
      const isWhole = this.limiter.limits[0]?.by === undefined;
      if (isWhole && !this.#isUsable(identity, [])) {
        return await this.#refuseUnidentified(request, part);
      }
      const price = this.#costOf(request);
      const cost = isPromise(price) ? await price : price;
      const plan = this.#limitsOf(request);
      const limits = isPromise(plan) ? await plan : plan;
      const governing = limits ?? this.limiter.limits;
      // The limits of the call may count by further parts.
      if (!isWhole && !this.#isUsable(identity, governing)) {
        return await this.#refuseUnidentified(request, part);
      }
      const lending = lendsPlaces(governing);
      if (lending && this.#waiting !== undefined) {
        throw waitsForPlaces(governing, NO_WAIT);
      }
      let decision: Decision;
      let isQueueFull = false;
      if (this.#waiting === undefined) {
        decision = await this.#decide(identity, cost, limits, lending);
      } else {
        const turn = await this.#waiting.decide(identity, callOf(cost, limits), client);
        if (turn === undefined) {
          return GONE;
        }
        ({ decision, isQueueFull } = turn);
      }
      if (!decision.allowed) {
        this.#note(request, part, decision, governing, identity);
        const fields = this.#fieldsOf(decision, governing, identity);
        return await this.#refuseLimited(request, part, decision, fields, isQueueFull);
      }
      const finish = this.#finishOf(request, decision);
      try {
        this.#note(request, part, decision, governing, identity);
        const headers = this.#fieldsOf(decision, governing, identity);
        return finish === undefined ? { pass: true, headers } : { pass: true, headers, finish };
      } catch (error) {
        finish?.('aborted');
        throw error;
      }
    } catch (error) {
      // `throw undefined` would look like "no error" to a framework, and the request would go on.
      if (!error) {
        throw new Error('A function of the guard threw nothing.', { cause: error });
      }
      throw error;
    }
  }

  #note(
    request: Request,
    part: object | undefined,
    decision: Decision,
    limits: readonly AnyLimit[],
    identity: Identity,
  ): void {
    noteDecision(request, decision);
    noteCharge(this.#adapter.requestOf(request), part, this.limiter, limits, identity);
  }

  /**
   * Only undefined, null and '' mean that the request has no identity. Any other invalid identity is refused, never
   * let through uncounted.
   */
  #isUsable(identity: unknown, limits: readonly AnyLimit[]): boolean {
    const fault = faultUnder(this.limiter.limits, limits, identity);
    if (fault !== undefined) {
      this.#warnOnce(
        'identify',
        'DRL_INVALID_IDENTITY',
        `\`identify\` returned a value that is no identity, and the request was refused: ${fault.message}`,
      );
    }
    return fault === undefined;
  }

  #refuseLimited(
    request: Request,
    part: object | undefined,
    decision: Exclude<Decision, AllowedDecision>,
    fields: HeaderFields,
    isQueueFull = false,
  ): Promise<Refused> {
    const headers = [...fields];
    if (!decision.degraded && decision.retryAfterMs !== undefined) {
      headers.push(['Retry-After', retryAfterOf(decision.retryAfterMs)]);
    }
    const status = decision.degraded ? 503 : isForbidden(decision) ? 403 : 429;
    const body = makeProblem(decision, isQueueFull ? QUEUE_FULL : undefined);
    const refusal = { status, headers, body, decision } as const;
    return this.#refuse(request, part, isQueueFull ? { ...refusal, isQueueFull } : refusal);
  }

  #refuseUnidentified(request: Request, part: object | undefined): Promise<Verdict> {
    return this.#refuse(request, part, {
      status: 400,
      headers: [],
      body: UNIDENTIFIED,
      decision: undefined,
    });
  }

  #costOf(request: Request): GivenCost | undefined | Promise<GivenCost> {
    const { cost } = this.#settings;
    return typeof cost === 'function' ? cost(request) : cost;
  }

  #limitsOf(
    request: Request,
  ): readonly AnyLimit[] | undefined | Promise<readonly AnyLimit[] | undefined> {
    const { limits } = this.#settings;
    return typeof limits === 'function' ? limits(request) : limits;
  }

  #decide(
    identity: Identity,
    cost: GivenCost | undefined,
    limits: readonly AnyLimit[] | undefined,
    lending: boolean,
  ): Promise<Decision> {
    // Passing options, even the usual ones, costs reading them.
    const isUsual = cost === undefined || (cost === 1 && !this.#hasUnits);
    if (isUsual && limits === undefined && !lending) {
      return this.limiter.allow(identity);
    }
    const call = callOf(cost, limits);
    return lending
      ? // A response may stream for longer than a lease lasts.
        this.limiter.acquire(identity, { ...call, heartbeat: true })
      : this.limiter.allow(identity, call);
  }

  /** Writes no fields for a decision without facts. */
  #fieldsOf(decision: Decision, limits: readonly AnyLimit[], identity: Identity): HeaderFields {
    const { writeHeaders, partitionSecret } = this.#settings;
    if (decision.degraded || decision.reason === 'impossible' || decision.reason === 'unlimited') {
      return [];
    }
    try {
      return writeHeaders(decision, limits, partitionsOf(identity, partitionSecret));
    } catch (error) {
      this.#warnOf('headers', error);
      return [];
    }
  }

  #finishOf(request: Request, decision: Decision): Finish | undefined {
    const { counts, waitUntil, maxHoldMs } = this.#settings;
    if (counts === undefined && !('release' in decision)) {
      return undefined; // the usual case: nothing to give back
    }
    return giveBackAfter(this.limiter, decision, {
      counts: counts && ((response) => counts(response, request)),
      maxHoldMs,
      onOverheld: () => {
        this.#warnOnce(
          'maxHold',
          'DRL_HELD_TOO_LONG',
          'A request held a place for as long as `maxHold` allows, and the place was freed before its response had ended. Choose a longer `maxHold` where responses take that long.',
        );
      },
      onCountFailed: () => this.#warnOf('count'),
      keepAlive:
        waitUntil &&
        ((work) => {
          try {
            waitUntil(work, request);
          } catch {
            this.#warnOf('waitUntil');
          }
        }),
    });
  }

  /** @param problem the refusal as a problem, without the fields that describe its form */
  async #refuse(
    request: Request,
    part: object | undefined,
    problem: RefusalResponse,
  ): Promise<Refused> {
    // The parts of a request are answered together, so none of them is a page.
    const negotiates = this.#settings.negotiate && part === undefined;
    const form = negotiates ? formFor(acceptOf(this.#adapter.requestOf(request))) : 'problem';
    const refusal = inForm(form, negotiates, problem);
    const { status, headers, body } = refusal;
    const answer = await this.#settings.onRefused?.(request, refusal);
    if (answer === 'throw') {
      throw thrownRefusal(refusal);
    }
    if (answer !== undefined && answer !== 'default') {
      try {
        const replacement = answer instanceof Response ? await readReplacement(answer) : answer;
        const added = this.#addedFields(replacement);
        return { pass: false, ...replace(refusal, replacement, added) };
      } catch {
        this.#warnOf('onRefused');
      }
    }
    const verdict: Refused = { pass: false, status, headers, body };
    if (form !== 'problem') {
      notePage(verdict);
    }
    return verdict;
  }

  #addedFields({ headers }: Replacement): HeaderFields {
    try {
      return readFields(headers);
    } catch (error) {
      this.#warnOf('onRefused.headers', error);
      return [];
    }
  }

  /** Includes the reason only if no text of the application can be part of it. */
  #warnOf(option: keyof typeof CONSEQUENCES, error?: unknown): void {
    const why = error instanceof FieldError ? ` ${error.message}.` : '';
    this.#warnOnce(
      option,
      'DRL_HOOK_FAILED',
      `The option \`${option}\` failed for a request, ${CONSEQUENCES[option]}.${why}`,
    );
  }

  #warnOnce(option: string, code: string, message: string): void {
    if (!this.#warned.has(option)) {
      this.#warned.add(option);
      process.emitWarning(`${message} Further cases are not reported.`, {
        type: 'RateLimiterWarning',
        code,
      });
    }
  }
}

/** If a function of the application throws, only its own result is missing from the request. */
const CONSEQUENCES = {
  count: 'which counts',
  waitUntil: 'whose place and charge are given back all the same, unless the platform stops first',
  headers: 'which gets no rate limit fields',
  onRefused: 'which gets the usual answer',
  'onRefused.headers': 'which gets the answer without these fields',
} as const;
