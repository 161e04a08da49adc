import type { NodeState, StoreStats } from '../../observe/stats.ts';

/** The present state of a connection. */
interface Condition {
  readonly inFlight: number;
  readonly nodes: Readonly<Record<string, NodeState>>;
}

/** Counts of one connection. Refers to the connection weakly, so that it can be garbage-collected. */
export class StoreCounts {
  calls = 0;
  entries = 0;
  keys = 0;
  noScript = 0;
  lateReplies = 0;
  writtenOff = 0;
  readonly #connection: WeakRef<Condition>;

  constructor(connection: Condition) {
    this.#connection = new WeakRef(connection);
  }

  stats(): StoreStats {
    const connection = this.#connection.deref();
    return Object.freeze({
      calls: this.calls,
      entries: this.entries,
      keys: this.keys,
      noScript: this.noScript,
      lateReplies: this.lateReplies,
      writtenOff: this.writtenOff,
      inFlight: connection?.inFlight ?? 0,
      nodes: Object.freeze(connection?.nodes ?? {}),
    });
  }
}
