import { openingMs } from '../../base/opening.ts';
import { monotonicMs } from '../../base/timers.ts';
import type { PortState, RedisPort } from '../port.ts';
import { Lateness } from './lateness.ts';

/**
 * `idle`: nothing has been opened. `opening`: the first attempt to connect. `ready`: calls are sent. `reopening`: the
 * connection was lost and the client is about to open it again. `away`: calls are answered without Redis.
 */
export type Phase = 'idle' | 'opening' | 'ready' | 'reopening' | 'away';

/**
 * Follows the state of a client's connection, and decides until when a call may wait for one. A call waits for the first
 * attempt to connect, and for one attempt after a loss. Later attempts go on while calls are answered without Redis.
 */
export class ConnectionState {
  readonly #port: RedisPort;
  #told: PortState | undefined;
  #phase: Phase = 'idle';
  /** When opening began, or when the connection was lost. */
  #since = 0;
  /** Opening happens once: a client that failed and tries again counts as away. */
  #opened = false;
  /** The server has answered on the present connection. Without an answer calls do not wait after a loss. */
  #proven = false;
  /** The error that a getter of the port threw. */
  #thrown: unknown;
  /** Measured until the server has answered, or failed to, for the first time. */
  readonly #lateness = new Lateness();
  #starting = true;

  constructor(port: RedisPort) {
    this.#port = port;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Whether a call may wait for a connection, if its deadline allows it. */
  get isConnecting(): boolean {
    return this.#phase === 'opening' || this.#phase === 'reopening';
  }

  /** The state that the client reports; `away` if reading it throws. */
  get port(): PortState {
    try {
      return this.#port.state;
    } catch (error) {
      this.#thrown = error;
      return 'away';
    }
  }

  get lastError(): unknown {
    return this.#thrown ?? this.#port.lastError;
  }

  /** Milliseconds that this process has lost to its own slowness while it started. */
  get lostMs(): number {
    return this.#lateness.lostMs;
  }

  /** Notes that a call waits for the connection. */
  awaited(): void {
    if (this.#starting && this.#phase === 'opening') {
      this.#lateness.start();
    }
  }

  /** Notes that the server has answered. */
  answered(): void {
    this.#proven = true;
    this.endStart();
  }

  /** The start is over: the server has answered, or failed to. */
  endStart(): void {
    this.#starting = false;
    this.#lateness.stop();
  }

  /** Reads the client's state. True if the phase changes. `isSilent`: whether the server has stopped answering. */
  follow(isSilent: () => boolean): boolean {
    const { port } = this;
    if (port === this.#told) {
      return false;
    }
    this.#told = port;
    const before = this.#phase;
    switch (port) {
      case 'ready':
        this.#become('ready');
        break;
      case 'connecting':
        if (before === 'ready') {
          this.#become(this.#proven && !isSilent() ? 'reopening' : 'away');
        } else if (!this.#opened) {
          this.#become('opening');
        }
        break;
      case 'away':
        this.#become('away');
    }
    return this.#phase !== before;
  }

  /**
   * The instant until which a call with this deadline may wait for the connection; `-Infinity` for not at all. The time
   * for the first connection is extended by what this process lost to its own slowness.
   */
  heldUntil(timeoutMs: number): number {
    const { attemptAt } = this.#port;
    if (this.#phase === 'opening') {
      return Math.max(this.#since, attemptAt ?? this.#since) + openingMs(timeoutMs) + this.lostMs;
    }
    if (this.#phase === 'reopening') {
      const until = this.#since + timeoutMs;
      return attemptAt !== undefined && attemptAt >= until ? -Infinity : until;
    }
    return -Infinity;
  }

  #become(phase: Phase): void {
    if (phase === this.#phase) {
      return;
    }
    if (phase === 'ready') {
      this.#proven = false;
      this.#thrown = undefined;
    } else {
      this.#since = monotonicMs();
    }
    this.#opened ||= phase === 'opening' || phase === 'ready';
    this.#phase = phase;
  }
}
