import { sharedByCopies } from '../../base/copies.ts';
import { invalidOption } from '../../base/errors.ts';
import { warnOfSettings } from './settings-warnings.ts';
import { Connection } from '../connection/connection.ts';
import type { QueuedCall } from '../connection/queued-call.ts';
import { BunPort, isAnyBunRedis, isBunRedis } from './bun.ts';
import { ioredisPort, isIoredis } from './ioredis.ts';
import { isNodeRedisSentinel, NodeRedisSentinelPort } from './node-redis-sentinel.ts';
import { isNodeRedis, isNodeRedisCluster, isInLegacyMode, nodeRedisPort } from './node-redis.ts';
import { OpenedPort } from './from-url.ts';
import type { ClientLibrary } from './client-library.ts';
import { isRedisPort } from '../port.ts';
import type { RedisPort } from '../port.ts';
import type { Script } from '../connection/script.ts';
import { digestOfUrl, readRedisUrl } from './url.ts';
import { glidePort, isGlide, isGlideCluster } from './valkey-glide.ts';
import { isUpstash, upstashPort } from './upstash.ts';
import type { RedisClient } from './client.ts';

/** One limiter's hold on a connection. `release` closes it if this library opened it and no other limiter uses it. */
export interface ConnectionHold<C extends QueuedCall> {
  readonly connection: Connection<C>;
  release(): Promise<void>;
}

/** One connection per client and script, so that all limiters on a client share its batches and its bounds. */
const byClient = sharedByCopies(
  'connections by client',
  () => new WeakMap<object, Connection<never>>(),
);

interface Opened {
  readonly connection: Connection<never>;
  readonly port: OpenedPort;
  holders: number;
}

/** Connections opened here, by the digest of their URL: limiters with the same URL and deadline share one. */
const byUrl = sharedByCopies('connections by URL', () => new Map<string, Opened>());

export function connectionOfClient<C extends QueuedCall>(
  client: RedisClient,
  script: Script<C>,
): ConnectionHold<C> {
  let connection = byClient.get(client) as Connection<C> | undefined;
  if (connection === undefined) {
    connection = new Connection(makePort(client), script);
    byClient.set(client, connection as unknown as Connection<never>);
  }
  return { connection, release: () => Promise.resolve() };
}

/** The connection on a client; undefined before the first call. */
export function connectionOf(client: RedisClient): Connection<never> | undefined {
  return byClient.get(client);
}

export function connectionOfUrl<C extends QueuedCall>(
  url: string,
  cluster: boolean,
  timeoutMs: number,
  sharded: boolean,
  library: Promise<ClientLibrary>,
  script: Script<C>,
): ConnectionHold<C> {
  const name = `${cluster} ${timeoutMs} ${sharded} ${digestOfUrl(url)}`;
  let opened = byUrl.get(name);
  if (opened === undefined) {
    const port = new OpenedPort(library, readRedisUrl(url), cluster, timeoutMs, sharded);
    const connection = new Connection(port, script);
    opened = { connection: connection as unknown as Connection<never>, port, holders: 0 };
    byUrl.set(name, opened);
  }
  const { connection, port } = opened;
  opened.holders += 1;
  let held = true;
  return {
    connection,
    release: async () => {
      if (held) {
        held = false;
        opened.holders -= 1;
        if (opened.holders === 0) {
          byUrl.delete(name);
          connection.end();
          await port.close();
        }
      }
    },
  };
}

/** Throws for a value that is no client, so that no limiter is made on it. */
export function checkClient(client: unknown): asserts client is RedisClient {
  if (
    typeof client !== 'object' ||
    client === null ||
    !(
      isRedisPort(client) ||
      isIoredis(client) ||
      isGlide(client) ||
      isNodeRedis(client) ||
      isNodeRedisSentinel(client) ||
      isUpstash(client) ||
      isBunRedis(client)
    )
  ) {
    throw invalidOption(
      'redis',
      'a URL, a client of ioredis, iovalkey, node-redis, valkey-glide, @upstash/redis or Bun, or a RedisPort',
      client,
      cureOf(client),
    );
  }
}

/** Whether it is a client of a cluster, where all keys of a call have to be in one slot. */
export function isClusterClient(client: RedisClient): boolean {
  if (isRedisPort(client)) {
    return client.nodeOf !== undefined;
  }
  if (isIoredis(client)) {
    return client.isCluster === true;
  }
  return isGlide(client)
    ? isGlideCluster(client)
    : isNodeRedis(client) && isNodeRedisCluster(client);
}

function cureOf(client: unknown): string {
  if (typeof client === 'object' && client !== null) {
    if (isAnyBunRedis(client)) {
      return 'Before Bun 1.4 its client gives callers the replies to others after a lost connection: update Bun, or use ioredis.';
    }
    if (isInLegacyMode(client)) {
      return 'A node-redis 4 client in legacy mode answers by callbacks: pass `client.duplicate({ legacyMode: false })`.';
    }
  }
  return 'Pass the client object itself, not its promise or its options.';
}

export function makePort(client: RedisClient): RedisPort {
  warnOfSettings(client);
  if (isRedisPort(client)) {
    return client;
  }
  if (isIoredis(client)) {
    return ioredisPort(client);
  }
  if (isUpstash(client)) {
    return upstashPort(client);
  }
  if (isBunRedis(client)) {
    return new BunPort(client);
  }
  if (isNodeRedisSentinel(client)) {
    return new NodeRedisSentinelPort(client);
  }
  return isGlide(client) ? glidePort(client) : nodeRedisPort(client);
}
