import { monotonicMs } from '../../base/timers.ts';
import type { PortState, RedisPort } from '../port.ts';
import { errorDepth } from './error-depth.ts';
import { TRY_AGAIN } from '../connection/resend.ts';

/** A client of ioredis (5 or 6) or of iovalkey, plain, sentinel or cluster, known by its shape. */
export interface IoredisClient {
  readonly status: string;
  call(command: string, ...args: string[]): Promise<unknown>;
  connect(): Promise<unknown>;
  disconnect(): void;
  on(event: string, listener: (what?: unknown) => void): unknown;
  listenerCount?(event: string): number;
  readonly options: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined;
    readonly maxRetriesPerRequest?: number | null | undefined;
    /** Present only on a cluster. */
    readonly retryDelayOnFailover?: number | undefined;
    readonly maxRedirections?: number | undefined;
    readonly clusterNodeRetryStrategy?: unknown;
    readonly keyPrefix?: string | undefined;
    readonly host?: string | undefined;
    readonly port?: number | undefined;
    /** Present only for a unix socket. */
    readonly path?: string | null | undefined;
    /** Present only for a primary that Sentinels watch. */
    readonly sentinels?: readonly unknown[] | null | undefined;
    readonly name?: string | null | undefined;
    readonly redisOptions?: IoredisClient['options'] | undefined;
  };
  readonly isCluster?: boolean;
  /** By slot, the addresses of its nodes, the primary first. Present only on a cluster. */
  readonly slots?: readonly (readonly string[] | undefined)[];
}

export function isIoredis(client: object): client is IoredisClient {
  const { status, call, connect } = client as Partial<IoredisClient>;
  return typeof status === 'string' && typeof call === 'function' && typeof connect === 'function';
}

/**
 * The settings that stop the client from resending a command whose reply was lost and which the server may have run.
 * Empty if it never resends. (A command resent after an answer such as `MOVED` or `CLUSTERDOWN` has not run.)
 */
export function resendCures(client: IoredisClient): readonly string[] {
  const { options } = client;
  if (client.isCluster !== true) {
    return resendsOnReconnect(options) ? [ON_RECONNECT] : [];
  }
  const {
    redisOptions = {},
    retryDelayOnFailover = 100,
    maxRedirections = 16,
    clusterNodeRetryStrategy,
  } = options;
  const cures: string[] = [];
  // A cluster client retries a failed command on a node that it chooses, unless it follows no redirections.
  if (retryDelayOnFailover > 0 && !(maxRedirections <= 0)) {
    cures.push('`retryDelayOnFailover: 0`');
  }
  // A node's client ends with its connection unless it may reconnect by itself.
  if (typeof clusterNodeRetryStrategy === 'function' && resendsOnReconnect(redisOptions)) {
    cures.push(`${ON_RECONNECT} in \`redisOptions\``);
  }
  return cures;
}

const ON_RECONNECT = '`maxRetriesPerRequest: 0` or `autoResendUnfulfilledCommands: false`';

function resendsOnReconnect(options: IoredisClient['options']): boolean {
  const { autoResendUnfulfilledCommands = true, maxRetriesPerRequest } = options;
  return autoResendUnfulfilledCommands && maxRetriesPerRequest !== 0;
}

/** The prefix that the client adds to every key. */
export function keyPrefixOf({ options }: IoredisClient): string {
  return options.keyPrefix ?? options.redisOptions?.keyPrefix ?? '';
}

export function ioredisPort(client: IoredisClient): RedisPort {
  return client.isCluster === true ? new IoredisClusterPort(client) : new IoredisPort(client);
}

class IoredisPort implements RedisPort {
  protected readonly client: IoredisClient;
  readonly address: string | undefined;
  lastError: unknown;
  attemptAt: number | undefined;
  #wasReady: boolean;
  /** Whether the attempt to connect for which calls could wait has failed. */
  #failed: boolean;
  readonly #listeners: (() => void)[] = [];

  constructor(client: IoredisClient) {
    this.client = client;
    this.address = addressOf(client.options);
    this.#wasReady = client.status === 'ready';
    this.#failed = client.status === 'reconnecting';
    client.on('error', (error) => (this.lastError = error));
    client.on('ready', () => {
      this.#wasReady = true;
      this.#note(false);
    });
    client.on('close', () => {
      const lost = this.#wasReady;
      this.#wasReady = false;
      this.#note(!lost);
    });
    // A plain client's event carries the milliseconds until its next attempt.
    client.on('reconnecting', (delayMs) => {
      this.attemptAt = typeof delayMs === 'number' ? monotonicMs() + delayMs : undefined;
      this.#note(this.#failed);
    });
    client.on('end', () => this.#note(true));
    if (client.status === 'wait') {
      client.connect().catch((error: unknown) => (this.lastError = error));
    }
  }

  get state(): PortState {
    switch (this.client.status) {
      case 'ready':
        return 'ready';
      case 'wait':
      case 'close':
      case 'reconnecting':
      case 'connecting':
      case 'connect':
        return this.#failed ? 'away' : 'connecting';
      default:
        return 'away';
    }
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Sends the name in lower case: in capitals iovalkey finds no key in the command, and on a cluster sends it to any node. */
  send(command: string, args: readonly string[]): Promise<unknown> {
    return this.client.call(command.toLowerCase(), ...args);
  }

  /** ioredis adds its `command` to the server's errors, and to one error of its own. Class names may be minified. */
  isReply(error: unknown): boolean {
    return (
      error instanceof Error &&
      Object.hasOwn(error, 'command') &&
      errorDepth(error) > 0 &&
      !error.message.startsWith('Command aborted')
    );
  }

  async close(): Promise<void> {
    this.client.disconnect();
  }

  #note(failed: boolean): void {
    this.#failed = failed;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

function addressOf(options: IoredisClient['options']): string | undefined {
  const { sentinels, name, path, host, port } = options;
  if (sentinels !== undefined && sentinels !== null) {
    return name ?? undefined;
  }
  return path ?? (host === undefined ? undefined : `${host}:${port}`);
}

class IoredisClusterPort extends IoredisPort {
  /** ioredis makes an error of its own of the last of many replies. */
  override isReply(error: unknown): boolean {
    return super.isReply(error) || (error instanceof Error && TRY_AGAIN.test(error.message));
  }

  nodeOf(slot: number): string | undefined {
    return this.client.slots?.[slot]?.[0];
  }
}
