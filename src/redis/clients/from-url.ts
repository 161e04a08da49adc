import { isIP } from 'node:net';
import { monotonicMs, setImmediate } from '../../base/timers.ts';
import { ioredisPort } from './ioredis.ts';
import type { IoredisClient } from './ioredis.ts';
import { endNodeRedis, isOutOfStep, nodeRedisPort } from './node-redis.ts';
import type { NodeRedisClient, NodeRedisCluster } from './node-redis.ts';
import type { PortState, RedisPort } from '../port.ts';
import { unusable } from './client-library.ts';
import type { ClientLibrary } from './client-library.ts';
import type { RedisAddress } from './url.ts';

const CONNECT_TIMEOUT_MS = 1_000;
/**
 * Reconnects to a server that has not answered for this many deadlines: after a failover the address may lead to another
 * server. Long enough that a blocked event loop is not taken for a silent server.
 */
const SILENT_DEADLINES = 10;
const MIN_SILENCE_MS = 1_000;
/** Bound on the wait, so that Redis decides again within this time of the server's return. */
const MAX_RECONNECT_DELAY_MS = 1_000;
/** ioredis counts attempts from 1, node-redis from 0. */
const FIRST_ATTEMPT = 1;
/** Calls wait no longer than this for the library to load. */
const MAX_LOAD_MS = 30_000;

/**
 * When to reconnect: at once after a loss, at most once a second; then after 50 ms, doubling up to a second. A tenth of
 * the delay is random, so that processes do not reconnect in step.
 */
function reconnectDelays(): (attempt: number) => number {
  let atOnceAt = Number.NEGATIVE_INFINITY;
  return (attempt) => {
    const now = monotonicMs();
    if (attempt <= FIRST_ATTEMPT && now - atOnceAt > MAX_RECONNECT_DELAY_MS) {
      atOnceAt = now;
      return 0;
    }
    const delayMs = Math.min(MAX_RECONNECT_DELAY_MS, 50 * 2 ** Math.min(attempt, 10));
    return delayMs * (0.9 + Math.random() / 10);
  };
}

/** TLS announces only names of servers (SNI). An address is checked against the certificate nevertheless. */
function serverName(host: string): { servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {};
}

type Ioredis = new (options: object) => IoredisClient;
type IoredisCluster = new (nodes: readonly object[], options: object) => IoredisClient;

/** Where to connect, and how long a server may be silent. */
interface Opening {
  readonly address: RedisAddress;
  readonly cluster: boolean;
  readonly silenceMs: number;
  /** Behind a proxy that shards, which may close a connection that sends anything but scripts and pings. */
  readonly sharded: boolean;
}

function openIoredis(
  library: Record<string, unknown>,
  { address, cluster, silenceMs, sharded }: Opening,
): IoredisClient {
  const { host, port, path, tls, username, password, database, family } = address;
  const options = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: serverName(host) } : {}),
    ...(family === undefined ? {} : { family }),
    connectTimeout: CONNECT_TIMEOUT_MS,
    // ioredis waits this long when it leaves a server, even if the socket is closed already, and its timer keeps the
    // process alive.
    disconnectTimeout: 100,
    socketTimeout: silenceMs,
    // Nothing is queued or resent: a call that was not answered must not be charged twice.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    lazyConnect: true,
    ...(sharded ? { enableReadyCheck: false, disableClientInfo: true, protocol: 2 } : {}),
  };
  if (cluster) {
    const Cluster = library['Cluster'] as IoredisCluster;
    return new Cluster([{ host, port }], {
      redisOptions: options,
      // ioredis connects to a node at its first call. The first calls wait for that, up to their deadline.
      enableOfflineQueue: true,
      scaleReads: 'master',
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      // While a slot moves, calls have to be sent again in another way. ioredis tries 16 times before it says so.
      retryDelayOnTryAgain: 1,
      slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
      clusterRetryStrategy: reconnectDelays(),
      lazyConnect: true,
    });
  }
  const Redis = library['Redis'] as Ioredis;
  return new Redis({
    ...options,
    ...(path === undefined ? { host, port } : { path }),
    db: database,
    enableOfflineQueue: false,
    retryStrategy: reconnectDelays(),
  });
}

function openNodeRedis(
  library: Record<string, unknown>,
  { address, cluster, silenceMs, sharded }: Opening,
): NodeRedisClient | NodeRedisCluster {
  const { host, port, path, tls, username, password, database, family } = address;
  const options = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    disableOfflineQueue: true,
    // Without pings an idle connection would be taken for a silent one.
    pingInterval: silenceMs / 4,
    ...(sharded ? { disableClientInfo: true } : {}),
    // Without it version 6 sends `HELLO`; with it version 5 does.
    ...(sharded && 'DEFAULT_RESP' in library ? { RESP: 2 } : {}),
  };
  const socket = {
    ...(path === undefined ? { host, port } : { path }),
    ...(tls ? { tls: true, ...serverName(host) } : {}),
    ...(family === undefined ? {} : { family }),
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: silenceMs,
    reconnectStrategy: reconnectDelays(),
  };
  if (cluster) {
    const { host: _host, port: _port, ...everyNode } = socket as Record<string, unknown>;
    return (library['createCluster'] as (options: object) => NodeRedisCluster)({
      rootNodes: [{ socket }],
      defaults: { ...options, socket: everyNode },
    });
  }
  return (library['createClient'] as (options: object) => NodeRedisClient)({
    ...options,
    socket,
    database,
  });
}

/** Whether a client's own timer ended an attempt to connect. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && /ETIMEDOUT|Connection timeout/.test(error.message);
}

/** A connection that this library opens from a URL, with settings under which no command is ever resent. */
export class OpenedPort implements RedisPort {
  nodeOf?: (slot: number) => string | undefined;
  readonly address: string;
  #error: unknown;
  readonly #listeners: (() => void)[] = [];
  #port: RedisPort | undefined;
  #failed = false;
  #wasReady = false;
  readonly #silenceMs: number;
  /** node-redis does not close a connection that is silent or out of step. */
  #reconnect: (() => void) | undefined;
  #silentSince: number | undefined;
  #closed = false;
  readonly #opening: Promise<void>;
  /** While the library loads, the latest instant at which it is expected; then the instant at which it was loaded. */
  #loadedAt = monotonicMs() + MAX_LOAD_MS;

  constructor(
    library: Promise<ClientLibrary>,
    address: RedisAddress,
    cluster: boolean,
    timeoutMs: number,
    sharded = false,
  ) {
    if (cluster) {
      this.nodeOf = (slot) => this.#port?.nodeOf?.(slot);
    }
    this.address = address.path ?? `${address.host}:${address.port}`;
    const silenceMs = Math.max(MIN_SILENCE_MS, SILENT_DEADLINES * timeoutMs);
    this.#silenceMs = silenceMs;
    this.#opening = this.#open(library, { address, cluster, silenceMs, sharded }).catch(
      (error: unknown) => {
        this.#error = error;
        this.#failed = true;
        this.#changed();
      },
    );
  }

  get lastError(): unknown {
    return this.#error ?? this.#port?.lastError;
  }

  get attemptAt(): number | undefined {
    return this.#port?.attemptAt ?? this.#loadedAt;
  }

  get state(): PortState {
    if (this.#failed || this.#closed) {
      return 'away';
    }
    const state = this.#port?.state ?? 'connecting';
    // A process that starts slowly may not have read its socket before the client's own timer was due. The client tries
    // again at once, and that timer must not decide how long calls wait.
    return state === 'away' && !this.#wasReady && isTimeout(this.lastError) ? 'connecting' : state;
  }

  onStateChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  send(command: 'EVALSHA' | 'EVAL', args: readonly string[], key: string): Promise<unknown> {
    const reply = this.#port!.send(command, args, key);
    if (this.#reconnect !== undefined) {
      this.#watch(reply);
    }
    return reply;
  }

  isReply(error: unknown): boolean {
    return this.#port?.isReply(error) === true;
  }

  /** Checks when the server last answered: the socket's own timer does not fire while the client writes. */
  #watch(reply: Promise<unknown>): void {
    const now = monotonicMs();
    const since = (this.#silentSince ??= now);
    const heard = (): void => {
      this.#silentSince = undefined;
    };
    reply.then(heard, heard);
    if (now - since > this.#silenceMs) {
      // An answer may lie in a socket that a blocked event loop has yet to read.
      setImmediate(() => {
        if (this.#silentSince === since && !this.#closed) {
          this.#silentSince = undefined;
          this.#reconnect?.();
        }
      });
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#opening;
    await this.#port?.close?.();
  }

  async #open(loading: Promise<ClientLibrary>, opening: Opening): Promise<void> {
    const library = await loading;
    this.#loadedAt = monotonicMs();
    if (!this.#closed) {
      try {
        this.#connect(library, opening);
      } catch (cause) {
        throw unusable(library, cause);
      }
    }
  }

  #connect(library: ClientLibrary, opening: Opening): void {
    if (library.name === 'ioredis') {
      const client = openIoredis(library.exports, opening);
      this.#listen(client, ioredisPort(client));
    } else {
      const client = openNodeRedis(library.exports, opening);
      const connect = (): void => {
        client.connect().catch(() => {}); // the event `error` reports it too
      };
      this.#reconnect = () => {
        endNodeRedis(client);
        connect();
      };
      client.on('error', (error) => {
        if (isOutOfStep(error)) {
          this.#reconnect?.();
        }
      });
      const port = nodeRedisPort(client);
      connect();
      this.#listen(client, port);
    }
  }

  #listen(client: IoredisClient | NodeRedisClient | NodeRedisCluster, port: RedisPort): void {
    port.onStateChange(() => this.#changed());
    this.#port = port;
    this.#changed();
  }

  #changed(): void {
    this.#wasReady ||= this.#port?.state === 'ready';
    for (const listener of this.#listeners) {
      listener();
    }
  }
}
