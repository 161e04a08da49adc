import { clearInterval, setInterval } from '../../base/timers.ts';
import type { PortState, RedisPort } from '../port.ts';
import { isErrorReply } from './node-redis.ts';

/** A Sentinel client of node-redis (5 or 6), known by its shape. */
export interface NodeRedisSentinel {
  readonly isOpen: boolean;
  connect(): Promise<unknown>;
  destroy(): Promise<unknown>;
  on(event: string, listener: (error?: unknown) => void): unknown;
  listenerCount?(event: string): number;
  /** The primary to which the client has a connection that is ready. */
  getMasterNode(): object | undefined;
  _execute(isReadonly: boolean, run: (primary: Primary) => Promise<unknown>): Promise<unknown>;
}

interface Primary {
  sendCommand(words: string[]): Promise<unknown>;
}

export function isNodeRedisSentinel(client: object): client is NodeRedisSentinel {
  const { isOpen, getMasterNode, _execute } = client as Partial<NodeRedisSentinel>;
  return (
    typeof isOpen === 'boolean' &&
    typeof getMasterNode === 'function' &&
    typeof _execute === 'function'
  );
}

const ASK_MS = 20;

/** The client has no event for the loss of a primary, nor for its return: its state is read at each call. */
export class NodeRedisSentinelPort implements RedisPort {
  readonly #client: NodeRedisSentinel;
  lastError: unknown;
  #asking: NodeJS.Timeout | undefined;
  readonly #listeners: (() => void)[] = [];

  constructor(client: NodeRedisSentinel) {
    this.#client = client;
    client.on('error', (error) => (this.lastError = error));
  }

  get state(): PortState {
    if (!this.#client.isOpen) {
      return 'away';
    }
    if (this.#client.getMasterNode() !== undefined) {
      return 'ready';
    }
    this.#asking ??= setInterval(this.#ask, ASK_MS).unref();
    return 'connecting';
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Sends the command once. The client's own `sendCommand` sends a command again whose reply was lost, unless its setting
   * `maxCommandRediscovers` is 0, which cannot be read. The client gets the error too, so that it looks for a new
   * primary, and calls again: then nothing is sent.
   */
  send(command: string, args: readonly string[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let sent: Promise<unknown> | undefined;
      this.#client
        // oxlint-disable-next-line no-underscore-dangle -- all other methods hide the connection
        ._execute(false, (primary) => {
          if (sent !== undefined) {
            return Promise.resolve();
          }
          sent = primary.sendCommand([command, ...args]);
          sent.then(resolve, reject);
          return sent;
        })
        .catch(reject);
    });
  }

  isReply(error: unknown): boolean {
    return error instanceof Error && isErrorReply(error);
  }

  async close(): Promise<void> {
    this.#client.destroy().catch(() => {}); // it waits for what it is doing
  }

  readonly #ask = (): void => {
    if (this.state !== 'connecting') {
      clearInterval(this.#asking);
      this.#asking = undefined;
      for (const listener of this.#listeners) {
        listener();
      }
    }
  };
}
