import { invalidOption } from '../base/errors.ts';
import { openingMs } from '../base/opening.ts';
import { monotonicMs, sleep } from '../base/timers.ts';
import { checkRequest } from '../base/workerd.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import { checkClient, connectionOf } from '../redis/clients/connect.ts';
import { connectNodeRedis } from '../redis/clients/node-redis.ts';
import { warnTogether } from '../redis/clients/warn-once.ts';
import { isRedisPort } from '../redis/port.ts';

/** How long a client stays open after a request's last call. */
const IDLE_MS = 100;

/**
 * What a platform passes to a handler beside the request: `ctx` on Cloudflare Workers, `c.executionCtx` in Hono.
 *
 * @example
 * limits.forRequest({ waitUntil: (promise) => event.waitUntil(promise) });
 */
export interface RequestContext {
  /** Keeps the request alive, after its response too, until the promise is settled. */
  waitUntil(promise: Promise<unknown>): void;
}

/**
 * The client of one request. It is made for the request's first call, closed when no call has come for a while, and made
 * anew for a later one, such as the `settle` after a long answer. Nothing tells a request's last call.
 */
export class RequestClient {
  readonly #make: () => unknown;
  readonly #context: RequestContext;
  readonly #warned: Set<string>;
  #client: RedisClient | undefined;
  #usedAt = 0;
  /** How long it stays open for calls that the client has not settled: a server that hangs may never answer. */
  #unsettledMs = IDLE_MS;

  /** @param warned what was warned of clients that the same function made */
  constructor(make: () => unknown, context: RequestContext, warned: Set<string>) {
    checkRequest(this);
    this.#make = make;
    this.#context = context;
    this.#warned = warned;
  }

  /** The client for a call that is made now, with this deadline. */
  use(timeoutMs: number): RedisClient {
    checkRequest(this);
    this.#unsettledMs = Math.max(this.#unsettledMs, openingMs(timeoutMs) + timeoutMs);
    this.#usedAt = monotonicMs();
    return (this.#client ??= this.#open());
  }

  #open(): RedisClient {
    const client = this.#make();
    checkClient(client);
    if (isRedisPort(client) && client.close === undefined) {
      throw invalidOption(
        'redis',
        'a function whose RedisPort has `close`',
        client,
        'The client of a request is closed when the request is over.',
      );
    }
    warnTogether(client, this.#warned);
    connectNodeRedis(client);
    this.#context.waitUntil(this.#closeWhenIdle(client));
    return client;
  }

  async #closeWhenIdle(client: RedisClient): Promise<void> {
    let idleMs;
    let isBusy;
    do {
      await sleep(IDLE_MS);
      idleMs = monotonicMs() - this.#usedAt;
      isBusy = (connectionOf(client)?.inFlight ?? 0) > 0 && idleMs < this.#unsettledMs;
    } while (isBusy || idleMs < IDLE_MS);
    this.#client = undefined;
    const connection = connectionOf(client);
    connection?.end();
    await connection?.port.close?.();
  }
}
