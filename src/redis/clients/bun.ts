import { monotonicMs } from '../../base/timers.ts';
import type { PortState, RedisPort } from '../port.ts';

/** A `RedisClient` of Bun (1.4), known by its shape. */
export interface BunRedisClient {
  readonly connected: boolean;
  readonly bufferedAmount: number;
  connect(): Promise<unknown>;
  close(): void;
  send(command: string, args: string[]): Promise<unknown>;
  /** Not called: Bun before 1.4 has no such method. */
  evalsha(sha1: string, ...args: never[]): Promise<unknown>;
}

export function isBunRedis(client: object): client is BunRedisClient {
  return isAnyBunRedis(client) && typeof (client as Partial<BunRedisClient>).evalsha === 'function';
}

/**
 * Also of a version before 1.4, which is not used: once it has lost a connection it settles each command with the reply to
 * a later one.
 */
export function isAnyBunRedis(client: object): boolean {
  const { connected, bufferedAmount, connect, send } = client as Partial<BunRedisClient>;
  return (
    typeof connected === 'boolean' &&
    typeof bufferedAmount === 'number' &&
    typeof connect === 'function' &&
    typeof send === 'function'
  );
}

/** The shortest time between two attempts to connect, in milliseconds. */
const RETRY_MS = 50;

/**
 * The client has no event for the loss of a connection: its state is read at each call. `connect()` tells of the next
 * connection, and makes one where the client has given up, as it does by default after half a minute.
 */
export class BunPort implements RedisPort {
  readonly #client: BunRedisClient;
  lastError: unknown;
  #isConnecting = false;
  /** Whether the last attempt to connect has failed. */
  #failed = false;
  #retryAt = 0;
  readonly #listeners: (() => void)[] = [];

  constructor(client: BunRedisClient) {
    this.#client = client;
  }

  get state(): PortState {
    if (this.#client.connected) {
      return 'ready';
    }
    void this.#connect();
    return this.#failed ? 'away' : 'connecting';
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  send(command: string, args: readonly string[]): Promise<unknown> {
    return this.#client.send(command, args as string[]);
  }

  isReply(error: unknown): boolean {
    return (error as { code?: unknown } | undefined)?.code === 'ERR_REDIS_SERVER_ERROR';
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #connect(): Promise<void> {
    if (this.#isConnecting || monotonicMs() < this.#retryAt) {
      return;
    }
    this.#isConnecting = true;
    try {
      await this.#client.connect();
      this.#failed = false;
    } catch (error) {
      this.lastError = error;
      this.#failed = true;
      this.#retryAt = monotonicMs() + RETRY_MS;
    }
    this.#isConnecting = false;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}
