/** A Lua script as the build embeds it. Its text never depends on data. */
export interface ScriptSource {
  readonly text: string;
  /** SHA-1 of the text in hexadecimal digits: its name in the server's script cache. */
  readonly sha1: string;
}

/** The front of a queue of calls, encoded as one script call. */
export interface Encoded {
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** Number of calls encoded, from the front of the queue. */
  readonly taken: number;
}

/** A script as a typed value: calls in, each call's answer out. */
export interface Script<C> {
  readonly source: ScriptSource;
  encode(calls: readonly C[], from: number): Encoded;
  /**
   * Settles every call from the reply to its batch, which was first sent at `sentAtMs` of the monotonic clock. `node` is
   * the node of a cluster that replied, else empty. Throws on an invalid reply. May submit a call again instead if the
   * reply proves that the call has not run.
   */
  settle(calls: readonly C[], reply: unknown, sentAtMs: number, node: string): void;
  /** Takes the reply for calls that had failed before it came: they took effect nevertheless. */
  settleLate?(calls: readonly C[], reply: unknown): void;
}
