import type { PortState, RedisPort } from 'distributed-rate-limiter';

/** One call of `send`, with its arguments taken apart. */
export interface Send {
  readonly command: 'EVALSHA' | 'EVAL';
  readonly script: string;
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** The key that decides which server gets it. */
  readonly key: string;
}

/** An error reply of the server, which `isReply` recognizes. */
export class ReplyError extends Error {}

/** A client without a network, in the state that the test sets. Subclasses say how a send ends. */
export abstract class FakeClient implements RedisPort {
  lastError: unknown;
  attemptAt: number | undefined;
  #state: PortState;
  readonly #listeners: (() => void)[] = [];

  constructor(state: PortState = 'ready') {
    this.#state = state;
  }

  get state(): PortState {
    return this.#state;
  }

  /** Notifies the listeners, as a client must at every change. */
  become(state: PortState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }

  get listeners(): number {
    return this.#listeners.length;
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  send(command: 'EVALSHA' | 'EVAL', args: readonly string[], key: string): Promise<unknown> {
    const [script = '', count = ''] = args;
    const end = 2 + Number(count);
    return this.receive({
      command,
      script,
      keys: args.slice(2, end),
      args: args.slice(end),
      key,
    });
  }

  protected abstract receive(send: Send): Promise<unknown>;

  isReply(error: unknown): boolean {
    return error instanceof ReplyError;
  }
}
