import type { PortState, RedisPort } from '../../src/redis/port.ts';

/** One send, settled by hand. */
export interface Sent {
  readonly command: 'EVALSHA' | 'EVAL';
  readonly script: string | undefined;
  readonly keys: readonly string[];
  readonly key: string;
  /** Answers with one value per key. */
  reply(): void;
  replyWith(value: unknown): void;
  reject(error: unknown): void;
}

export class ServerError extends Error {}

/** A client whose server answers when the test says so. On a cluster the node is the slot's hundred. */
export class FakePort implements RedisPort {
  readonly sent: Sent[] = [];
  lastError: unknown;
  nodeOf?: (slot: number) => string | undefined;
  /** For a client that throws instead of rejecting. */
  throws: Error | undefined;
  #state: PortState;
  readonly #listeners: (() => void)[] = [];

  constructor(state: PortState = 'ready', { cluster = false } = {}) {
    this.#state = state;
    if (cluster) this.nodeOf = (slot) => `node-${slot % 2}`;
  }

  get state(): PortState {
    return this.#state;
  }

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
    if (this.throws !== undefined) throw this.throws;
    const keys = args.slice(2, 2 + Number(args[1]));
    return new Promise((resolve, reject) => {
      this.sent.push({
        command,
        script: args[0],
        keys,
        key,
        reply: () => resolve(keys.map((each) => `answer to ${each}`)),
        replyWith: resolve,
        reject,
      });
    });
  }

  isReply(error: unknown): boolean {
    return error instanceof ServerError;
  }
}
