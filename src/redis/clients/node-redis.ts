import { clearInterval, clearTimeout, setInterval, setTimeout } from '../../base/timers.ts';
import { errorDepth } from './error-depth.ts';
import { warnOnce } from './warn-once.ts';
import { isRedisPort } from '../port.ts';
import type { PortState, RedisPort } from '../port.ts';

interface NodeRedisBase {
  readonly isOpen: boolean;
  readonly isReady?: boolean;
  /** Present only on a plain client. */
  readonly options?: { readonly socket?: object | undefined } | undefined;
  connect(): Promise<unknown>;
  destroy?(): unknown;
  /** The name of `destroy` in version 4. */
  disconnect?(): unknown;
  on(event: string, listener: (error?: unknown) => void): unknown;
  listenerCount?(event: string): number;
}

/** A client of node-redis (4, 5 or 6), known by its shape. */
export interface NodeRedisClient extends NodeRedisBase {
  sendCommand(args: string[]): Promise<unknown>;
}

/** A cluster client of node-redis (4, 5 or 6). */
export interface NodeRedisCluster extends NodeRedisBase {
  sendCommand(key: string, isReadonly: boolean, args: string[]): Promise<unknown>;
  readonly slots: readonly ({ readonly master: { readonly address: string } } | undefined)[];
}

export function isNodeRedis(client: object): client is NodeRedisClient | NodeRedisCluster {
  const { isOpen, sendCommand, connect } = client as Partial<NodeRedisClient>;
  return (
    typeof isOpen === 'boolean' &&
    typeof sendCommand === 'function' &&
    typeof connect === 'function' &&
    !('getMasterNode' in client) && // a Sentinel client, whose `sendCommand` takes other arguments
    !isInLegacyMode(client)
  );
}

/** Legacy mode of version 4: `sendCommand` takes a callback and returns nothing. */
export function isInLegacyMode(client: object): boolean {
  const { options } = client as { options?: { legacyMode?: unknown } };
  return options?.legacyMode === true;
}

export function isNodeRedisCluster(
  client: NodeRedisClient | NodeRedisCluster,
): client is NodeRedisCluster {
  return 'slots' in client;
}

export function nodeRedisPort(client: NodeRedisClient | NodeRedisCluster): RedisPort {
  return isNodeRedisCluster(client) ? new ClusterPort(client) : new PlainPort(client);
}

/** Connects a client that its maker left unconnected; the event `error` reports a failure too. */
export function connectNodeRedis(client: object): void {
  const { isOpen } = client as Partial<NodeRedisBase>;
  if (isOpen === false && !isRedisPort(client)) {
    (client as NodeRedisBase).connect().catch(() => {});
  }
}

/** Closes the client at once, in spite of calls under way. */
export function endNodeRedis(client: NodeRedisBase): void {
  if (client.destroy !== undefined) {
    client.destroy();
  } else {
    Promise.resolve(client.disconnect?.()).catch(() => {}); // it was closed already
  }
}

/**
 * The error for bytes that are not the Redis protocol. node-redis drops them and keeps the connection, on which every
 * later reply then answers the previous command.
 */
export function isOutOfStep(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Unknown RESP type');
}

/** Matches the client's own errors that extend a class other than `Error`, in versions 5 and 6. */
const MAINTENANCE = /^(?:Socket|Command) timeout during maintenance/;

/**
 * Whether an error is an `ErrorReply`, which the client makes of what the server answers, in a minified bundle too.
 * Version 4 takes the stack of it, and of nothing else. Versions 5 and 6 throw subclasses of it. Errors of Node.js
 * have a `code`.
 */
export function isErrorReply(error: Error): boolean {
  const hasNoStack = Object.hasOwn(error, 'stack') && error.stack === undefined;
  return (
    hasNoStack || (errorDepth(error) > 1 && !('code' in error) && !MAINTENANCE.test(error.message))
  );
}

const PROOF_MS = 1_000;
const ASK_MS = 20;

abstract class NodeRedisPort<Client extends NodeRedisBase> {
  protected readonly client: Client;
  readonly address: string | undefined;
  lastError: unknown;
  #wasReady: boolean;
  /** The connection was just lost: if the client reconnects, it says so in this turn. */
  #lost = false;
  /** Whether the connection attempt that calls would wait for has failed, or does not exist. */
  #failed = false;
  /** Whether there was an earlier connection, or an attempt failed. */
  #reconnecting = false;
  #outOfStep = false;
  readonly #listeners: (() => void)[] = [];

  constructor(client: Client) {
    this.client = client;
    this.address = addressOf(client);
    this.#wasReady = isReady(client);
    client.on('error', (error) => {
      this.lastError = error;
      if (isOutOfStep(error)) {
        this.#outOfStep = true;
        this.note(true);
      } else if (!isReady(client)) {
        this.#noteLoss();
      }
    });
    client.on('reconnecting', () => {
      this.note(!this.#lost);
      this.#lost = false;
    });
    client.on('ready', () => {
      this.#outOfStep = false;
      this.#wasReady = true;
      if (this.#reconnecting && client.destroy === undefined) {
        void this.#proveInStep();
      }
      this.#reconnecting = false;
    });
    for (const event of ['ready', 'connect']) {
      client.on(event, () => this.note(this.#failed && !isReady(client)));
    }
    for (const event of ['terminated', 'end', 'disconnect']) {
      client.on(event, () => this.note(true));
    }
  }

  get state(): PortState {
    if (isReady(this.client) && !this.#outOfStep) {
      return 'ready';
    }
    return this.client.isOpen && !this.#failed ? 'connecting' : 'away';
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  isReply(error: unknown): boolean {
    return error instanceof Error && isErrorReply(error);
  }

  async close(): Promise<void> {
    endNodeRedis(this.client);
  }

  #noteLoss(): void {
    this.#reconnecting = true;
    this.#failed = true;
    this.#lost = this.#wasReady;
    this.#wasReady = false;
    // A client says that it reconnects only after the error: calls may wait only if it does.
    queueMicrotask(() => {
      this.#lost = false;
      this.note(this.#failed);
    });
  }

  /**
   * Version 4 keeps a partly read array when a connection breaks off in it. Later replies then fill that array and go to
   * the wrong commands. An array that comes back as asked for proves that this has not happened.
   */
  async #proveInStep(): Promise<void> {
    this.#outOfStep = true;
    const refuse = (): void => {
      const text =
        'The node-redis 4 client is out of step with the server since its connection broke off in a reply: it is not used any more. Make a new client.';
      this.lastError = new Error(text);
      warnOnce(this.client, 'DRL_CLIENT_OUT_OF_STEP', text);
      this.note(true);
    };
    const word = `in step ${Math.random()}`;
    const overdue = setTimeout(refuse, PROOF_MS);
    overdue.unref();
    const reply = await this.send('EVAL', ['return {ARGV[1]}', '0', word], '').catch(() => {});
    clearTimeout(overdue);
    if (Array.isArray(reply) && reply[0] === word) {
      this.#outOfStep = false;
      this.note(false);
    } else if (reply !== undefined) {
      refuse();
    }
  }

  abstract send(command: string, args: readonly string[], key: string): Promise<unknown>;

  protected note(failed: boolean): void {
    this.#failed = failed;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

/** A socket's options are of several kinds, and each is optional. */
function addressOf(client: NodeRedisBase): string | undefined {
  if ('slots' in client) {
    return undefined;
  }
  const socket: { host?: unknown; port?: unknown; path?: unknown } = client.options?.socket ?? {};
  const { host = 'localhost', port = 6379, path } = socket;
  return typeof path === 'string' ? path : `${String(host)}:${String(port)}`;
}

class PlainPort extends NodeRedisPort<NodeRedisClient> implements RedisPort {
  override send(command: string, args: readonly string[]): Promise<unknown> {
    return this.client.sendCommand([command, ...args]);
  }
}

class ClusterPort extends NodeRedisPort<NodeRedisCluster> implements RedisPort {
  override send(command: string, args: readonly string[], key: string): Promise<unknown> {
    return this.client.sendCommand(key, false, [command, ...args]);
  }

  constructor(client: NodeRedisCluster) {
    super(client);
    if (client.destroy === undefined && !isReady(client)) {
      // Version 4 is open before it knows a node, and has no event for when it knows one.
      const asking = setInterval(() => {
        if (isReady(client)) {
          clearInterval(asking);
          this.note(false);
        }
      }, ASK_MS);
      asking.unref();
    }
  }

  nodeOf(slot: number): string | undefined {
    return this.client.slots[slot]?.master.address;
  }
}

function isReady(client: NodeRedisBase & Partial<Pick<NodeRedisCluster, 'slots'>>): boolean {
  const knowsNodes = client.destroy !== undefined || client.slots?.[0] !== undefined;
  return client.isReady ?? (client.isOpen && knowsNodes);
}
