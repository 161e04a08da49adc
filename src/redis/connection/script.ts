/** A Lua script as the build embeds it. Its text never depends on data. */
export interface ScriptSource {
  readonly text: string;
  /** SHA-1 of the text in hexadecimal digits: its name in the server's script cache. */
  readonly sha1: string;
}

/** As much of a queue of calls as one script call takes. */
export interface Encoded {
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** How many calls, from the front of the queue. */
  readonly taken: number;
}

/** A script as a typed value: calls in, each call's answer out. */
export interface Script<C> {
  readonly source: ScriptSource;
  encode(calls: readonly C[], from: number): Encoded;
  /**
   * Settles every call, from the reply to the batch that they made, which was sent at `sentAtMs` of the monotonic clock.
   * Throws on a reply of another form. A call that the reply proves not to have run may be submitted again instead.
   */
  settle(calls: readonly C[], reply: unknown, sentAtMs: number): void;
  /** The same for calls that have failed before the reply came: they took effect all the same. */
  settleLate?(calls: readonly C[], reply: unknown): void;
}
