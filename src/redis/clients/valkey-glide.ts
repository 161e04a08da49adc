import { monotonicMs, sleep } from '../../base/timers.ts';
import type { PortState, RedisPort } from '../port.ts';
import { errorDepth } from './error-depth.ts';

/** A client of valkey-glide (2), plain or cluster, known by its shape. */
export interface GlideClient {
  customCommand(args: string[], options?: { decoder?: number }): Promise<unknown>;
  close(errorMessage?: string): void;
}

/** valkey-glide's `Decoder.String`: gives replies as strings under any `defaultDecoder` of the client. */
const AS_TEXT = { decoder: 1 };
/** Shortest time between two reads of the slot map after unanswered calls. */
const REFRESH_MS = 1_000;
/** Shortest time between two reads otherwise: the client follows a moved slot without an event. */
const LATEST_REFRESH_MS = 10_000;
const SLOTS = 16_384;
/**
 * How long a call stays unanswered beyond the client's own deadline. If that deadline counted as an answer, a hanging
 * server would seem to fail call by call. Then each call would wait for its whole deadline.
 */
const SILENCE_MS = 1_000;

export function isGlide(client: object): client is GlideClient {
  const { customCommand, close } = client as Partial<GlideClient>;
  return typeof customCommand === 'function' && typeof close === 'function';
}

export function isGlideCluster(client: GlideClient): boolean {
  return 'invokeScriptWithRoute' in client;
}

export function glidePort(client: GlideClient): RedisPort {
  return isGlideCluster(client) ? new GlideClusterPort(client) : new GlidePort(client);
}

/** The server's error, in the server's own words. */
class GlideReplyError extends Error {
  override readonly name = 'ReplyError';
}

/** valkey-glide's names for server errors; it leaves all others as they are. */
const CODES: Readonly<Record<string, string>> = {
  Ask: 'ASK',
  BusyLoadingError: 'LOADING',
  ClusterDown: 'CLUSTERDOWN',
  CrossSlot: 'CROSSSLOT',
  ExecAbortError: 'EXECABORT',
  MasterDown: 'MASTERDOWN',
  Moved: 'MOVED',
  NoScriptError: 'NOSCRIPT',
  NotBusy: 'NOTBUSY',
  PermissionDenied: 'NOPERM',
  ReadOnly: 'READONLY',
  ResponseError: 'ERR',
  TryAgain: 'TRYAGAIN',
};

/** How far below `Error` a `RequestError` is: it extends `ValkeyError`, and `TimeoutError` and the like extend it. */
const REQUEST_ERROR_DEPTH = 2;

/**
 * `An error was signalled by the server: - NoScriptError: No matching script.` or `OOM: command not allowed`. The
 * client's own errors are other classes (`TimeoutError`, `ConnectionError`, …), or begin in another way. Classes are
 * told apart by what they extend, as a minified bundle has other names.
 */
function replyOf(error: unknown): GlideReplyError | undefined {
  if (!(error instanceof Error) || errorDepth(error) !== REQUEST_ERROR_DEPTH) {
    return undefined;
  }
  const [, kind, code, text = ''] =
    /^(?:An error was signalled by the server: - (\w+)|([A-Z][A-Z0-9_]*))(?:: (.*))?$/s.exec(
      error.message,
    ) ?? [];
  const first = kind === undefined ? code : (CODES[kind] ?? `ERR ${kind}`);
  return first === undefined
    ? undefined
    : new GlideReplyError(`${first} ${text}`, { cause: error });
}

/** The client's type hides the field. */
function isClosed(client: GlideClient): boolean {
  return (client as { isClosed?: unknown }).isClosed === true;
}

/** A `TimeoutError`: the client's own deadline has passed. */
function isTimeout(error: unknown): boolean {
  return (
    error instanceof Error &&
    errorDepth(error) > REQUEST_ERROR_DEPTH &&
    /^(?:operation )?timed out$/i.test(error.message)
  );
}

/**
 * valkey-glide does not report whether it is connected. A lost connection shows in calls that time out, which the lanes of
 * a `Connection` notice and bound. The client's end shows in the first call after it.
 */
class GlidePort implements RedisPort {
  protected readonly client: GlideClient;
  lastError: unknown;
  state: PortState = 'ready';
  readonly #listeners: (() => void)[] = [];

  constructor(client: GlideClient) {
    this.client = client;
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async send(command: string, args: readonly string[]): Promise<unknown> {
    try {
      return await this.client.customCommand([command, ...args], AS_TEXT);
    } catch (error) {
      // A closed client fails pending calls with the message passed to `close`.
      const reply = isClosed(this.client) ? undefined : replyOf(error);
      const failure = reply ?? this.noteFailure(error);
      if (isTimeout(error)) {
        await sleep(SILENCE_MS, undefined, { ref: false });
      }
      throw failure;
    }
  }

  isReply(error: unknown): boolean {
    return error instanceof GlideReplyError;
  }

  protected noteFailure(error: unknown): unknown {
    this.lastError = error;
    if (isClosed(this.client)) {
      this.become('away');
    }
    return error;
  }

  protected become(state: PortState): void {
    this.state = state;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

class GlideClusterPort extends GlidePort implements RedisPort {
  override state: PortState = 'connecting';
  /** Slot -> node. */
  readonly #nodes = Array.from<string | undefined>({ length: SLOTS });
  #askedAt = -Infinity;

  constructor(client: GlideClient) {
    super(client);
    void this.#askForNodes();
  }

  /** valkey-glide hides its own slot map. A stale map of ours does not spread a node's outage to other nodes. */
  nodeOf(slot: number): string | undefined {
    return this.#nodes[slot];
  }

  override async send(command: string, args: readonly string[]): Promise<unknown> {
    if (monotonicMs() - this.#askedAt > LATEST_REFRESH_MS) {
      void this.#askForNodes();
    }
    return super.send(command, args);
  }

  protected override noteFailure(error: unknown): unknown {
    if (monotonicMs() - this.#askedAt > REFRESH_MS) {
      void this.#askForNodes();
    }
    return super.noteFailure(error);
  }

  async #askForNodes(): Promise<void> {
    this.#askedAt = monotonicMs();
    try {
      const ranges = (await this.client.customCommand(
        ['CLUSTER', 'SLOTS'],
        AS_TEXT,
      )) as readonly SlotRange[];
      // A node that has left the cluster answers as well, and knows none.
      if (ranges.length > 0) {
        this.#nodes.fill(undefined);
      }
      for (const [first, last, [host, port]] of ranges) {
        this.#nodes.fill(`${host}:${port}`, first, last + 1);
      }
    } catch (error) {
      super.noteFailure(error);
    }
    if (this.state === 'connecting') {
      this.become('ready');
    }
  }
}

/** A row of `CLUSTER SLOTS`: first slot, last slot, primary. */
type SlotRange = readonly [
  first: number,
  last: number,
  primary: readonly [host: string, port: number],
];
