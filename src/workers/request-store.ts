import type { Clock } from '../base/clock.ts';
import { realTime } from '../base/timers.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import type { LocalView } from '../stores/local-view.ts';
import { RedisStore } from '../stores/redis.ts';
import type { Call, Store } from '../stores/store.ts';
import type { RequestClient } from './request-client.ts';

/** State in Redis, asked through whatever client the request has at the time. */
export class RequestStore implements Store {
  readonly clock: Clock = {
    nowMicros: () => this.#store?.clock.nowMicros() ?? Date.now() * 1_000,
  };
  readonly time: Clock = realTime;
  readonly isShared = true;
  readonly #source: RequestClient;
  readonly #timeoutMs: number;
  readonly #sharded: boolean;
  #client: RedisClient | undefined;
  #store: RedisStore | undefined;

  constructor(source: RequestClient, timeoutMs: number, sharded: boolean) {
    this.#source = source;
    this.#timeoutMs = timeoutMs;
    this.#sharded = sharded;
  }

  submit(call: Call): void {
    this.#current().submit(call);
  }

  local(): LocalView<Call> {
    return this.#current().local();
  }

  warn(code: string, text: string): void {
    this.#current().warn(code, text);
  }

  /** The client closes by itself. */
  async close(): Promise<void> {}

  #current(): RedisStore {
    const client = this.#source.use(this.#timeoutMs);
    if (this.#store === undefined || client !== this.#client) {
      this.#client = client;
      this.#store = new RedisStore(client, false, this.#timeoutMs, this.#sharded);
    }
    return this.#store;
  }
}
