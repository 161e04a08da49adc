/**
 * `ready`: the connection is established and calls are sent. `connecting`: the first attempt to connect, or the first
 * after a loss, is under way or announced; calls are held for a bounded time. `away`: there is no connection, and the
 * last attempt failed; calls are answered in the same turn, and nothing is sent. A port that goes from `ready` to
 * `connecting` has lost its connection.
 */
export type PortState = 'connecting' | 'ready' | 'away';

/**
 * The interface between the Redis store and a client library. Clients of ioredis, node-redis, valkey-glide,
 * `@upstash/redis` and Bun are recognised by their shape; for any other pass an object of this type as `redis`.
 *
 * @example
 * const port: RedisPort = {
 *   get state() { return client.connected ? 'ready' : 'away' },
 *   onStateChange: (listener) => { client.on('up', listener).on('down', listener) },
 *   send: (command, args) => client.command([command, ...args]),
 *   isReply: (error) => error instanceof client.ServerError,
 * };
 * new RateLimiter({ redis: port, rate: 100, period: '1m' });
 */
export interface RedisPort {
  readonly state: PortState;
  /** The server's name in metrics and logs: `host:port`, never a password. Default `'redis'`. */
  readonly address?: string | undefined;
  /** The last error that kept the client from connecting, if the client gives it. */
  readonly lastError?: unknown;
  /**
   * While `connecting`, if the client gives it: when the attempt began or will begin, in milliseconds by
   * `performance.now()`. A call is not held for an attempt that begins after the call's deadline.
   */
  readonly attemptAt?: number | undefined;
  /** Calls the listener after every change of `state`. */
  onStateChange(listener: () => void): void;
  /**
   * Sends one command, once, and resolves with the server's reply: arrays, numbers and strings. `key` is one
   * of its keys; all of them are in one slot.
   */
  send(command: 'EVALSHA' | 'EVAL', args: readonly string[], key: string): Promise<unknown>;
  /** Whether a rejection of `send` is the server's own answer, as opposed to an error of the client. */
  isReply(error: unknown): boolean;
  /** For a cluster: the name of the node that serves a slot, so that a node's outage does not affect the others. */
  readonly nodeOf?: (slot: number) => string | undefined;
  /** Closes the connection. Called only on connections that this library opened. */
  close?(): Promise<void>;
}

export function isRedisPort(value: object): value is RedisPort {
  const port = value as Partial<RedisPort>;
  return (
    typeof port.send === 'function' &&
    typeof port.isReply === 'function' &&
    typeof port.onStateChange === 'function'
  );
}
