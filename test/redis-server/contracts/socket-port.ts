import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { PortState, RedisPort } from 'distributed-rate-limiter';
import { RespError, encodeCommand, readValue } from '../../kit/servers/index.mjs';

/** A minimal client and its port in one: a socket, pending replies, and a state. */
export class SocketPort implements RedisPort {
  state: PortState = 'connecting';
  lastError: unknown;
  readonly #listeners: (() => void)[] = [];
  readonly #waiting: { resolve(value: unknown): void; reject(error: unknown): void }[] = [];
  #socket: Socket;

  constructor(address: { readonly port: number; readonly host: string }) {
    const open = (): Socket => {
      let rest = Buffer.alloc(0);
      return connect(address)
        .on('connect', () => this.#become('ready'))
        .on('data', (bytes) => {
          rest = Buffer.concat([rest, bytes]);
          for (let read = readValue(rest, 0); read; read = readValue(rest, 0)) {
            rest = rest.subarray(read.end);
            const { resolve, reject } = this.#waiting.shift()!;
            (read.value instanceof RespError ? reject : resolve)(read.value);
          }
        })
        .on('error', (error) => (this.lastError = error))
        .on('close', () => {
          for (const { reject } of this.#waiting.splice(0)) reject(new Error('The socket ended'));
          this.#become('away');
          setTimeout(() => this.#socket.closed && (this.#socket = open()), 20).unref();
        });
    };
    this.#socket = open();
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  send(command: string, args: readonly string[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(encodeCommand([command, ...args]));
    });
  }

  isReply(error: unknown): boolean {
    return error instanceof RespError;
  }

  async close(): Promise<void> {
    this.#socket.removeAllListeners('close').destroy();
  }

  #become(state: PortState): void {
    this.state = state;
    for (const listener of this.#listeners) listener();
  }
}
