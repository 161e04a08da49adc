import { RateLimiterError, StoreError } from '../../base/errors.ts';
import { publishStoreState } from '../../observe/channels.ts';
import type { StoreStateMessage } from '../../observe/messages.ts';
import { causeOf } from './clean-cause.ts';
import type { ConnectionState } from './connection-state.ts';
import type { Lane } from './lane.ts';

/** Why a server does not answer, as far as the client knows. Publishes the changes of a store's state. */
export class Outage {
  readonly #state: ConnectionState;
  readonly #name: string;
  #away: RateLimiterError | undefined;
  /** The client's last error at the time the connection recovered; not the cause of later failures. */
  #outlived: unknown;
  #ended = false;

  constructor(state: ConnectionState, name: string) {
    this.#state = state;
    this.#name = name;
  }

  /** The connection is closed on purpose: its end is not reported. */
  end(): void {
    this.#ended = true;
  }

  /** A server has answered: if it hung, that is over. */
  answered(lane: Lane<unknown>): void {
    this.#state.answered();
    this.#outlive();
    if (lane.answered()) {
      this.#away = undefined;
      this.tell('ready', lane.node);
    }
  }

  /** The connection is established. */
  over(): void {
    this.#away = undefined;
    this.#outlive();
  }

  /** The client's error about the present outage, if it gives one. */
  get cause(): unknown {
    const { lastError } = this.#state;
    return lastError === this.#outlived ? undefined : causeOf(lastError);
  }

  /** One error for all calls until the connection is back. The outage is reported when the first call needs it. */
  awayError(): RateLimiterError {
    if (this.#away === undefined) {
      const { cause } = this;
      this.#away =
        cause instanceof RateLimiterError
          ? cause
          : new StoreError('store_away', 'There is no connection to Redis.', { cause });
      this.tell('away', '', this.#away);
    }
    return this.#away;
  }

  /** The error for the calls of a batch that failed with this. `isReply`: the server refused them. */
  errorOf(raised: unknown, isReply: boolean, lane: Lane<unknown>): RateLimiterError {
    const cause = causeOf(raised);
    const message = messageOf(raised);
    if (isReply) {
      return new StoreError('store_error', `Redis refused: ${firstWord(message)}.`, { cause });
    }
    // A mistake of the program is no outage. An error that the port itself raised stays a cause.
    if (cause !== raised && cause instanceof RateLimiterError) {
      return cause;
    }
    if (this.#state.port !== 'ready') {
      return this.awayError();
    }
    if (/timed?.?out/i.test(message)) {
      const text = "The client's own timeout came before `timeoutMs`.";
      return new StoreError('store_timeout', text, { cause });
    }
    return this.#lostError(cause, lane);
  }

  /** The error of calls whose connection broke before the client noticed: it may be open again by then. */
  #lostError(cause: unknown, lane: Lane<unknown>): StoreError {
    const error = new StoreError('store_away', 'The connection to Redis was lost.', { cause });
    if (lane.lost()) {
      if (lane.node === '') {
        this.#away = error;
      }
      this.tell('away', lane.node, error);
    }
    return error;
  }

  tell(state: StoreStateMessage['state'], node: string, error?: RateLimiterError): void {
    if (!this.#ended) {
      const message = { state, store: this.#name, node };
      publishStoreState(error === undefined ? message : { ...message, error });
    }
  }

  #outlive(): void {
    this.#outlived = this.#state.lastError;
  }
}

/** The message of an error that a client raised; empty for what is no error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}

/**
 * The error's kind, such as `OOM` or `NOPERM`: the rest of the message may quote arguments. A client that has not logged
 * in and sends more than ten words gets a protocol error instead of `NOAUTH`.
 */
function firstWord(message: string): string {
  if (message.includes('unauthenticated multibulk length')) {
    return 'NOAUTH';
  }
  return /^[A-Z]+/.exec(message)?.[0] ?? 'an error';
}
