import { RateLimiterError, StoreError } from '../../base/errors.ts';
import { publishStoreState } from '../../observe/channels.ts';
import type { StoreStateMessage } from '../../observe/messages.ts';
import { causeOf } from './clean-cause.ts';
import type { ConnectionState } from './connection-state.ts';

/** Why a server does not answer, as far as the client knows; and what is told of its coming and going. */
export class Outage {
  readonly #state: ConnectionState;
  readonly #name: string;
  #away: RateLimiterError | undefined;
  /** What the client had last failed with when all was well again: no cause of anything that came later. */
  #outlived: unknown;
  #ended = false;

  constructor(state: ConnectionState, name: string) {
    this.#state = state;
    this.#name = name;
  }

  /** The connection is closed on purpose: that is no news. */
  end(): void {
    this.#ended = true;
  }

  /** Something was answered. */
  answered(): void {
    this.#outlived = this.#state.lastError;
  }

  /** The connection stands. */
  over(): void {
    this.#away = undefined;
    this.answered();
  }

  /** What the client says of the present trouble, if it says anything. */
  get cause(): unknown {
    const { lastError } = this.#state;
    return lastError === this.#outlived ? undefined : causeOf(lastError);
  }

  /** One error for all calls until the connection is back. With the first who needs it the outage is told. */
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
