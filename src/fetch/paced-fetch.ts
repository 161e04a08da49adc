import { listenForAbort } from '../base/abort.ts';
import { systemClock, wakeAt } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { invalidOption } from '../base/errors.ts';
import {
  GivenOptions,
  readable,
  readClock,
  readFunction,
  integer,
  readInteger,
} from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { choice } from '../options/other-names.ts';
import { parseRateLimit } from '../reports/parse-rate-limit.ts';
import { describe, isRequest, signalOf } from './request.ts';
import type { Fetch, PacedRequest } from './request.ts';

export interface PacedFetchOptions {
  /** Sends the requests. Default: the global `fetch`, looked up at each call. */
  readonly fetch?: Fetch | undefined;
  /**
   * The longest that one call waits, all its waits together, in milliseconds: 0 to 2,147,483,000. Default 30,000. A
   * wait that would exceed it is skipped: the request is sent, or the response returned, at once. 0: never waits, and
   * so never retries.
   */
  readonly maxWaitMs?: number | undefined;
  /** The most retries of one call: 0 to 100. Default 3. */
  readonly maxRetries?: number | undefined;
  /** Statuses after which a request may be retried: 400 to 599. Default `[429, 503]`. */
  readonly retryStatuses?: readonly number[] | undefined;
  /**
   * Groups requests: those with the same key wait for each other's limits. Default: the URL's origin. The 1,000 keys
   * used last are remembered. An error thrown here rejects the call.
   */
  readonly key?: ((request: PacedRequest) => string) | undefined;
  /**
   * Lengthens each wait by a random part of at most this percentage, so that not all clients return at the same
   * instant: 0 to 100. Default 10.
   */
  readonly jitterPercent?: number | undefined;
  /**
   * The clock on which calls wait, as a `MemoryStore` takes it. Default: the system's clock and timers. Tests pass the
   * `ManualClock` of their store.
   */
  readonly clock?: Clock | undefined;
}

/**
 * A `fetch` that waits as long as the server asks, and no longer.
 *
 * - A response may report that nothing is left (`RateLimit` with `r=0`, or an older form), or be a 429 or 503 that
 *   says when to retry. Later requests of the same `key` then wait until that time before they are sent.
 * - A 429 or 503 that says when to retry is retried after that wait. A 429 was not processed, so every method is
 *   retried; after another status only `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` and `DELETE` (RFC 9110 §9.2.2). The
 *   body must be resendable: a string, `URLSearchParams`, `FormData`, `Blob`, `ArrayBuffer` or a view of one, in
 *   `init`. A stream, or the body of a `Request`, is sent once.
 * - A response that does not say when, or says now, is returned as it is. So is the last one, when `maxRetries` or
 *   `maxWaitMs` is used up.
 * - While units are left, requests are sent at once, without spreading.
 *
 * Aborting the request's signal ends a wait at once, with the signal's reason. `pacedFetch` throws errors of its own
 * only for its options; all others are those of `fetch`.
 *
 * @throws `ERR_INVALID_OPTION` for an unknown option, or one out of its range.
 * @example
 * const paced = pacedFetch({ maxWaitMs: 10_000 });
 * const response = await paced('https://api.example.com/items', { signal: AbortSignal.timeout(20_000) });
 */
export function pacedFetch(options: PacedFetchOptions = {}): Fetch {
  const settings = readable('pacedFetch options', () => readPacedFetchOptions(options));
  const pauses = new Pauses(settings.clock);
  return async (input, init) => {
    const request = describe(input, init);
    if (request === undefined) return settings.fetch(input, init);
    return new PacedCall(settings, pauses, settings.key(request), request.method).run(input, init);
  };
}

type Settings = {
  readonly [Name in keyof PacedFetchOptions]-?: Exclude<PacedFetchOptions[Name], undefined>;
};

/** The longest timer, less the margin that jitter and rounding need. */
const LONGEST_WAIT_MS = 2_147_483_000;

const OPTIONS: OptionSet = {
  of: 'pacedFetch',
  names: ['fetch', 'maxWaitMs', 'maxRetries', 'retryStatuses', 'key', 'jitterPercent', 'clock'],
  otherNames: {
    retries: 'maxRetries',
    maxWait: 'maxWaitMs',
    maxRetryAfter: 'maxWaitMs',
    jitter: choice('jitterPercent', 'a percentage: 10 for a tenth', [
      [true, '10'],
      [false, '0'],
    ]),
    statuses: 'retryStatuses',
    statusCodes: 'retryStatuses',
  },
};

function readPacedFetchOptions(options: unknown): Settings {
  const given = new GivenOptions(OPTIONS, options);
  const settings: Settings = {
    // Looked up at each call, because an instrumentation of fetch may be installed later.
    fetch: given.optional('fetch', readFunction, (...args: Parameters<Fetch>) =>
      fetch(...args),
    ) as Fetch,
    maxWaitMs: given.optional('maxWaitMs', integer(0, LONGEST_WAIT_MS), 30_000),
    maxRetries: given.optional('maxRetries', integer(0, 100), 3),
    retryStatuses: given.optional('retryStatuses', readStatuses, [429, 503]),
    key: given.optional(
      'key',
      readFunction,
      ({ url }: PacedRequest) => url.origin,
    ) as Settings['key'],
    jitterPercent: given.optional('jitterPercent', integer(0, 100), 10),
    clock: given.optional('clock', readClock, systemClock),
  };
  given.end();
  return settings;
}

function readStatuses(option: string, value: unknown): readonly number[] {
  if (!Array.isArray(value)) {
    throw invalidOption(option, 'an array of statuses', value, 'Pass [429, 503].');
  }
  return value.map((status, i) => readInteger(`${option}[${i}]`, status, 400, 599));
}

const MAX_KEYS = 1_000;

/** The end of a key's wait, in Unix milliseconds. */
interface Pause {
  readonly until: number;
}

/** The keys that have to wait; the least recently used are dropped. */
class Pauses {
  readonly #clock: Clock;
  readonly #pauses = new Map<string, Pause>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string): Pause | undefined {
    const pause = this.#pauses.get(key);
    if (pause === undefined) return undefined;
    this.#pauses.delete(key);
    if (pause.until <= nowMs(this.#clock)) return undefined;
    this.#pauses.set(key, pause);
    return pause;
  }

  leftMs(key: string): number {
    const pause = this.get(key);
    return pause === undefined ? 0 : pause.until - nowMs(this.#clock);
  }

  /** Keeps the longer wait, because responses may arrive out of order. */
  extend(key: string, ms: number): void {
    if (ms <= this.leftMs(key)) return;
    this.#pauses.delete(key);
    this.#pauses.set(key, { until: nowMs(this.#clock) + ms });
    if (this.#pauses.size > MAX_KEYS) {
      this.#pauses.delete(this.#pauses.keys().next().value!);
    }
  }

  /** Ends a pause during which a request was served nevertheless. */
  disprove(key: string, pause: Pause | undefined): void {
    if (pause !== undefined && this.#pauses.get(key) === pause) this.#pauses.delete(key);
  }
}

/** One call, with its waits and retries. */
class PacedCall {
  readonly #settings: Settings;
  readonly #pauses: Pauses;
  readonly #key: string;
  readonly #method: string;
  #waitLeftMs: number;

  constructor(settings: Settings, pauses: Pauses, key: string, method: string) {
    this.#settings = settings;
    this.#pauses = pauses;
    this.#key = key;
    this.#method = method;
    this.#waitLeftMs = settings.maxWaitMs;
  }

  async run(...args: Parameters<Fetch>): Promise<Response> {
    const signal = signalOf(...args);
    const replayable = canBeSentAgain(...args);
    for (let retries = 0; ; retries++) {
      await this.#waitForOthers(signal);
      const pause = this.#pauses.get(this.#key);
      const response = await this.#settings.fetch(...args);
      const waitMs = this.#note(response, pause);
      if (
        retries >= this.#settings.maxRetries ||
        !replayable ||
        !this.#mayRetry(response.status) ||
        waitMs === 0 ||
        waitMs > this.#waitLeftMs
      ) {
        return response;
      }
      const stop = drain(response);
      try {
        await this.#wait(waitMs, signal);
      } finally {
        stop();
      }
    }
  }

  async #waitForOthers(signal: AbortSignal | null): Promise<void> {
    for (;;) {
      const ms = this.#pauses.leftMs(this.#key);
      // If a signal is already aborted, fetch itself rejects.
      if (ms <= 0 || ms > this.#waitLeftMs || signal?.aborted === true) return;
      await this.#wait(ms, signal);
    }
  }

  /** Records the wait that the response asks of this key, and returns it in milliseconds from now. */
  #note(response: Response, pause: Pause | undefined): number {
    const { waitMs, limits } = parseRateLimit(response.headers, {
      now: nowMs(this.#settings.clock),
    });
    // With other statuses, Retry-After is about something else: a redirect, or a result that is not ready.
    const refused = this.#settings.retryStatuses.includes(response.status);
    const exhausted = limits.some(({ remaining }) => remaining === 0);
    if (!refused && !exhausted) {
      this.#pauses.disprove(this.#key, pause);
      return 0;
    }
    this.#pauses.extend(this.#key, waitMs);
    return waitMs;
  }

  #mayRetry(status: number): boolean {
    return (
      this.#settings.retryStatuses.includes(status) &&
      (status === 429 || IDEMPOTENT.has(this.#method))
    );
  }

  async #wait(ms: number, signal: AbortSignal | null): Promise<void> {
    const { clock, jitterPercent } = this.#settings;
    const jitterMs = (ms * jitterPercent * Math.random()) / 100;
    const lengthMs = Math.min(Math.ceil(ms + jitterMs), this.#waitLeftMs);
    this.#waitLeftMs -= lengthMs;
    await sleep(clock, lengthMs, signal);
  }
}

/** RFC 9110 §9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
]);

function canBeSentAgain(...[input, init]: Parameters<Fetch>): boolean {
  const body = init?.body;
  if (body === undefined || body === null) {
    // Not every browser exposes a Request's body; without a body the method is sufficient.
    return (
      !isRequest(input) ||
      input.body === null ||
      (input.body === undefined && ['GET', 'HEAD'].includes(input.method))
    );
  }
  return (
    typeof body === 'string' ||
    body instanceof URLSearchParams ||
    body instanceof FormData ||
    body instanceof Blob ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body)
  );
}

/** Unix milliseconds. */
function nowMs(clock: Clock): number {
  return Math.floor(clock.nowMicros() / 1_000);
}

/** Resolves after `ms` on the clock. Rejects with the signal's reason as soon as it is aborted. */
async function sleep(clock: Clock, ms: number, signal: AbortSignal | null): Promise<void> {
  signal?.throwIfAborted();
  let stopListening: (() => void) | undefined;
  await new Promise<void>((resolve, reject) => {
    const cancel = wakeAt(clock, clock.nowMicros() + ms * 1_000, resolve, true);
    if (signal !== null) {
      stopListening = listenForAbort(signal, () => {
        cancel();
        reject(signal.reason as Error);
      });
    }
  }).finally(() => stopListening?.());
}

const DRAINED_BYTES = 65_536;

/**
 * Reads the rest of an unused body, so that its socket can carry the retry; cancels a long one. The returned function
 * cancels a slow one.
 */
function drain({ body }: Response): () => void {
  // Another implementation of fetch may return another kind of stream.
  if (typeof body?.getReader !== 'function' || body.locked) return () => {};
  const reader = body.getReader();
  const cancel = (): void => void reader.cancel().catch(() => {});
  void (async () => {
    for (let left = DRAINED_BYTES; left > 0;) {
      const { done, value } = await reader.read();
      if (done) return;
      left -= value.byteLength;
    }
    cancel();
  })().catch(() => {});
  return cancel;
}
