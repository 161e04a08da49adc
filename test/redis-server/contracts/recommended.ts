/** Ten times the limiter's `timeoutMs`: the client reconnects when a server has been silent for this long. */
const silenceMs = 2_500;

/** 50 ms, doubling, up to 1 s: real decisions are back within a second of the server's own return. */
const reconnectDelay = (attempt: number): number => Math.min(1_000, 50 * 2 ** Math.min(attempt, 5));

/** `new Redis({ ...ioredisSettings, host, port })`, of ioredis and of iovalkey. */
export const ioredisSettings = {
  maxRetriesPerRequest: 0, // a command whose reply was lost is not resent
  enableOfflineQueue: false,
  connectTimeout: 1_000,
  socketTimeout: silenceMs,
  retryStrategy: reconnectDelay,
  reconnectOnError: (error: Error): boolean => error.message.startsWith('READONLY'),
};

/** `new Cluster(nodes, ioredisClusterSettings)`. */
export const ioredisClusterSettings = {
  redisOptions: { maxRetriesPerRequest: 0, connectTimeout: 1_000, socketTimeout: silenceMs },
  retryDelayOnFailover: 0, // no decision waits for a failover
  retryDelayOnClusterDown: 0,
  clusterRetryStrategy: reconnectDelay,
};

/** `new Redis({ ...ioredisProxySettings, host, port })`, through Twemproxy and the like, which know no `HELLO`, `INFO` or `CLIENT`. */
export const ioredisProxySettings = {
  ...ioredisSettings,
  enableReadyCheck: false,
  disableClientInfo: true,
  protocol: 2 as const,
};

/** `createClient({ ...nodeRedisSettings, … })`; `createCluster({ rootNodes, defaults: nodeRedisSettings })`. */
export const nodeRedisSettings = {
  disableOfflineQueue: true,
  pingInterval: silenceMs / 4, // without pings an idle connection would look silent
  socket: { connectTimeout: 1_000, socketTimeout: silenceMs, reconnectStrategy: reconnectDelay },
};

/** `createClient({ ...nodeRedisProxySettings, … })`, through Twemproxy and the like; version 6 needs `RESP: 2` too, version 5 must not have it. */
export const nodeRedisProxySettings = {
  ...nodeRedisSettings,
  disableClientInfo: true,
};

/** `GlideClient.createClient({ ...glideSettings, addresses })`; `GlideClusterClient` takes the same. */
export const glideSettings = {
  requestTimeout: 1_000, // above `timeoutMs`: a shorter one would take a blocked event loop for a hung server
  connectionBackoff: { numberOfRetries: 5, factor: 50, exponentBase: 2 },
};

/** `new RedisClient(url, bunSettings)`, of Bun: for a client of the limiter's own. */
export const bunSettings = {
  connectionTimeout: 1_000,
  idleTimeout: silenceMs, // the client closes when the server is silent, and the next call connects it again
  enableOfflineQueue: false,
};
