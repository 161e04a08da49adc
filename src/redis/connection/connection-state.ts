import { openingMs } from '../../base/opening.ts';
import { monotonicMs } from '../../base/timers.ts';
import type { PortState, RedisPort } from '../port.ts';

/**
 * `idle`: nothing has been opened. `opening`: the first attempt to connect. `ready`: calls are sent. `reopening`: the
 * connection was lost and the client is about to open it again. `away`: calls are answered without Redis.
 */
export type Phase = 'idle' | 'opening' | 'ready' | 'reopening' | 'away';

/**
 * Follows what a client says of its connection, and says until when a call may wait for one. A call waits for the
 * first attempt to connect, and for one attempt after a loss; later attempts go on while calls are answered without
 * Redis.
 */
export class ConnectionState {
  readonly #port: RedisPort;
  #told: PortState | undefined;
  #phase: Phase = 'idle';
  /** When opening began, or when the connection was lost. */
  #since = 0;
  /** Opening happens once: a client that failed and tries again is away. */
  #opened = false;
  /** Something was answered on the present connection: what never answered is not waited for after a loss. */
  #proven = false;
  /** What a getter of the port threw. */
  #thrown: unknown;

  constructor(port: RedisPort) {
    this.#port = port;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** The client's own word. A client that cannot say it has no connection. */
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

  /** Notes that the server has answered. */
  answered(): void {
    this.#proven = true;
  }

  /** Takes in what the client says now. True where the phase changes. `isSilent`: whether the server did not answer. */
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
   * The instant up to which a call with this deadline may wait for the connection; `-Infinity` for not at all. What this
   * process lost to its own slowness, `lostMs`, is not taken from the time for the first one.
   */
  heldUntil(timeoutMs: number, lostMs: number): number {
    const { attemptAt } = this.#port;
    if (this.#phase === 'opening') {
      return Math.max(this.#since, attemptAt ?? this.#since) + openingMs(timeoutMs) + lostMs;
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
