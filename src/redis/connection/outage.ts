import { RateLimiterError, StoreError } from '../../base/errors.ts';
import { publishStoreState } from '../../observe/channels.ts';
import type { StoreStateMessage } from '../../observe/messages.ts';
import { causeOf } from './clean-cause.ts';
import type { ConnectionState } from './connection-state.ts';

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

  /** The server has answered. */
  answered(): void {
    this.#outlived = this.#state.lastError;
  }

  /** The connection is established. */
  over(): void {
    this.#away = undefined;
    this.answered();
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
          : new StoreError('store_away', 'There is no connection to Redis', { cause });
      this.tell('away', '', this.#away);
    }
    return this.#away;
  }

  tell(state: StoreStateMessage['state'], node: string, error?: RateLimiterError): void {
    if (!this.#ended) {
      const message = { state, store: this.#name, node };
      publishStoreState(error === undefined ? message : { ...message, error });
    }
  }
}
