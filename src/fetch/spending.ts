import type { AnyLimit } from '../algorithms/limit.ts';
import type { Decision } from '../base/decision.ts';
import { listenForAbort } from '../base/abort.ts';
import { invalidOption, RateLimiterError, StoreError } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import type { RefusedDecision } from '../limiter/rate-limit-exceeded.ts';
import { RateLimitExceeded } from '../limiter/rate-limit-exceeded.ts';
import type { NotHeldDecision } from '../limiter/reservation.ts';
import type { Settlement } from '../limiter/settlement.ts';
import { bytesOf, tokensIn } from './usage.ts';
import type { ModelUsage, Progress } from './usage.ts';

/** Units by name, or a number in a limiter without units. */
export type Units = number | Readonly<Record<string, number>>;

/** A reservation of whatever units. */
export interface AnyReservation {
  readonly cost: Units;
  add(cost: unknown): Promise<Decision | NotHeldDecision>;
  settle(actual: unknown): Promise<Settlement<string>>;
  cancel(): Promise<Settlement<string>>;
}

/** A limiter that reserves, of whatever parts and units. */
export interface ReservingLimiter {
  readonly limits: readonly AnyLimit[];
  /** Absent in limiters of an older version. */
  readonly observes?: boolean;
  reserve(identity: AnyIdentity, options: unknown): Promise<unknown>;
  observe?(identity: AnyIdentity, response: unknown, options: unknown): Promise<unknown>;
}

/** How the calls of one limiter are paid for. */
export interface SpendingSettings {
  readonly limiter: ReservingLimiter;
  /** The units of a usage. */
  readonly price: (usage: ModelUsage) => Units;
  /** Output tokens that are paid for at a time. */
  readonly stepTokens: number;
  readonly ttl: string;
  /** What `observe` is to be told of the limiter's unit; undefined if the provider's answers are not observed. */
  readonly observing: { readonly unit?: string } | undefined;
}

/**
 * Reserves the estimate of one call.
 *
 * @throws (rejects) `RateLimitExceeded` if it is refused; otherwise like `reserve`.
 */
export async function reserveCall(
  settings: SpendingSettings,
  identity: AnyIdentity,
  estimate: ModelUsage,
  cost: Units,
): Promise<Spending> {
  const { limiter, ttl } = settings;
  const reservation = await limiter.reserve(identity, { cost, ttl });
  const decision = reservation as Decision;
  if (!decision.allowed) throw new RateLimitExceeded(decision as RefusedDecision);
  return new Spending(settings, identity, reservation as AnyReservation, estimate, cost);
}

/** What one call has spent, from its reservation to its settlement. */
export class Spending {
  readonly #settings: SpendingSettings;
  readonly #identity: AnyIdentity;
  readonly #reservation: AnyReservation;
  /** Units charged so far. */
  #paid: Units;
  #inputTokens: number;
  #outputBytes = 0;
  #pieces = 0;
  #outputTokens = 0;
  #raw: unknown;
  /** Whether anything of an answer has come. */
  #began = false;
  #ended: Promise<void> | undefined;

  constructor(
    settings: SpendingSettings,
    identity: AnyIdentity,
    reservation: AnyReservation,
    estimate: ModelUsage,
    cost: Units,
  ) {
    this.#settings = settings;
    this.#identity = identity;
    this.#reservation = reservation;
    this.#inputTokens = estimate.inputTokens;
    this.#paid = cost;
  }

  /**
   * Counts a piece of an answer, and pays for the next step if it costs more than is paid for.
   *
   * @throws (rejects) `RateLimitExceeded` if that is refused: then the piece must not be passed on.
   */
  async spend({ text, inputTokens, outputTokens, raw }: Progress): Promise<void> {
    const before = this.#outputTokens;
    this.#inputTokens = inputTokens ?? this.#inputTokens;
    this.#raw = raw ?? this.#raw;
    this.#began ||= text !== '' || inputTokens !== undefined;
    if (outputTokens !== undefined) {
      this.#outputTokens = outputTokens;
    } else if (text !== '') {
      // A piece is a token at least.
      this.#pieces += 1;
      this.#outputBytes += bytesOf(text);
      this.#outputTokens = Math.max(before, this.#pieces, tokensIn(this.#outputBytes));
    }
    // What is only reported has been passed on before: it is settled, into debt where limits have `maxDebt`.
    const due = text === '' ? undefined : excess(this.#price(this.#outputTokens), this.#paid);
    if (due === undefined) return;
    const ahead = this.#outputTokens + this.#settings.stepTokens;
    const step = excess(this.#price(ahead), this.#paid) ?? due;
    const decision = await this.#reservation.add(step);
    if (!decision.allowed) {
      this.#outputTokens = before;
      throw decision.reason === 'not_held'
        ? expired(this.#settings.ttl)
        : new RateLimitExceeded(decision as RefusedDecision);
    }
    this.#paid = sum(this.#paid, step);
  }

  /**
   * Aligns the limiter with what the provider says is left. Best after the call is settled: what a settlement gives back
   * raises what may pass. If the store gives no answer, `onError` was called, and the next response tells.
   */
  async observe(response: object): Promise<void> {
    const { limiter, observing } = this.#settings;
    if (observing === undefined) return;
    try {
      await limiter.observe!(this.#identity, response, observing);
    } catch (error) {
      if (!isOfStore(error)) throw error;
    }
  }

  /** Settles by the provider's report. */
  settle(usage: ModelUsage): Promise<void> {
    return this.#end(() => this.#reservation.settle(this.#settings.price(usage)));
  }

  /** Settles by what has come; gives back all if nothing has. */
  settleSpent(): Promise<void> {
    return this.#began
      ? this.#end(() => this.#reservation.settle(this.#price(this.#outputTokens)))
      : this.cancel();
  }

  /** Gives back all. */
  cancel(): Promise<void> {
    return this.#end(() => this.#reservation.cancel());
  }

  #price(outputTokens: number): Units {
    return this.#settings.price({
      inputTokens: this.#inputTokens,
      outputTokens,
      raw: this.#raw,
    });
  }

  /** The first end counts. */
  #end(send: () => Promise<unknown>): Promise<void> {
    this.#ended ??= settleTwice(send);
    return this.#ended;
  }
}

/**
 * Settles, and again if the store gave no answer: a settlement takes effect once. If the store stays silent, `onError`
 * was called, the estimate stays charged, and the answer is not withheld for that.
 */
async function settleTwice(send: () => Promise<unknown>): Promise<void> {
  for (let tries = 2; tries > 0; tries--) {
    try {
      await send();
      return;
    } catch (error) {
      if (error instanceof RateLimiterError && error.code === 'ERR_LIMITER_CLOSED') return;
      if (!(error instanceof StoreError)) throw error;
    }
  }
}

function isOfStore(error: unknown): boolean {
  return (
    error instanceof StoreError ||
    (error instanceof RateLimiterError && error.code === 'ERR_LIMITER_CLOSED')
  );
}

/** What `payFor` needs to know of a stream. */
export interface PaidStream<Part> {
  /** What a part tells. */
  readonly read: (part: Part) => readonly Progress[];
  /** The part that tells of a refusal, if the stream does not fail of one. */
  readonly refusal?: (error: unknown) => Part;
  /** The signal of the call: a caller that aborts may not read on. */
  readonly signal: AbortSignal | null | undefined;
}

/**
 * Passes a stream on as far as it is paid for, and settles when it ends, fails, is cancelled, or its call is aborted.
 * Where the next step is refused, the source is cancelled, and the stream fails with `RateLimitExceeded`.
 */
export function payFor<Part>(
  source: ReadableStream<Part>,
  spending: Spending,
  { read, refusal, signal }: PaidStream<Part>,
): ReadableStream<Part> {
  const reader = source.getReader();
  const end = (): Promise<void> => {
    stopListening?.();
    return spending.settleSpent();
  };
  const stopListening = signal
    ? listenForAbort(signal, () => void end().catch(() => {}))
    : undefined;
  return new ReadableStream<Part>(
    {
      async pull(controller) {
        const next = await reader.read().catch(async (error: unknown) => {
          await end();
          throw error;
        });
        if (next.done) {
          await end();
          controller.close();
          return;
        }
        try {
          for (const progress of read(next.value)) await spending.spend(progress);
          controller.enqueue(next.value);
        } catch (error) {
          reader.cancel(error).catch(() => {});
          await end();
          if (refusal === undefined) throw error;
          controller.enqueue(refusal(error));
          controller.close();
        }
      },
      async cancel(reason) {
        reader.cancel(reason).catch(() => {});
        await end();
      },
    },
    // Nothing is read, and so paid for, before it is asked for.
    { highWaterMark: 0 },
  );
}

/** The units of `all` beyond those of `paid`, by name those that are more; undefined if there are none. */
function excess(all: Units, paid: Units): Units | undefined {
  if (typeof all === 'number' || typeof paid === 'number') {
    const more = Number(all) - Number(paid);
    return more > 0 ? more : undefined;
  }
  const more = Object.entries(all)
    .map(([unit, units]) => [unit, units - (paid[unit] ?? 0)] as const)
    .filter(([, units]) => units > 0);
  return more.length === 0 ? undefined : Object.fromEntries(more);
}

function sum(one: Units, other: Units): Units {
  if (typeof one === 'number' || typeof other === 'number') return Number(one) + Number(other);
  const all = { ...one };
  for (const [unit, units] of Object.entries(other)) all[unit] = (all[unit] ?? 0) + units;
  return all;
}

function expired(ttl: string): RateLimiterError {
  return invalidOption(
    'ttl',
    'longer than a call takes',
    ttl,
    'The reservation of this call expired, so nothing more could be charged. Choose a longer `ttl`.',
  );
}
