import type { PortState } from '../../../src/redis/port.ts';
import { FakeClient } from './fake-client.ts';
import type { Send } from './fake-client.ts';

/** One send, settled by the test. */
export interface Sent extends Send {
  /** Answers with one value per key. */
  reply(): void;
  replyWith(value: unknown): void;
  reject(error: unknown): void;
}

/**
 * A client whose server answers when the test says so. A cluster has two nodes: one for even slots, one for odd slots.
 */
export class FakePort extends FakeClient {
  readonly sent: Sent[] = [];
  nodeOf?: (slot: number) => string | undefined;
  /** Simulates a client that throws instead of rejecting. */
  throws: Error | undefined;

  constructor(state: PortState = 'ready', { cluster = false } = {}) {
    super(state);
    if (cluster) this.nodeOf = (slot) => `node-${slot % 2}`;
  }

  protected receive(send: Send): Promise<unknown> {
    if (this.throws !== undefined) throw this.throws;
    return new Promise((resolve, reject) => {
      this.sent.push({
        ...send,
        reply: () => resolve(send.keys.map((each) => `answer to ${each}`)),
        replyWith: resolve,
        reject,
      });
    });
  }
}
