import type { PortState, RedisPort } from 'distributed-rate-limiter';

/** One call of `send`, with its arguments taken apart. */
export interface Send {
  readonly command: 'EVALSHA' | 'EVAL';
  readonly script: string;
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** The key that says where to send it. */
  readonly key: string;
}

/** What a server answers in place of a result, and `isReply` knows. */
export class ReplyError extends Error {}

/** A client without a network, in the state that the test puts it in. What becomes of a send, others say. */
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

  /** Tells the listeners, as every change must be told. */
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
