/** Ten times the limiter's `timeoutMs`: a server that is silent for so long is connected to anew. */
const silenceMs = 2_500;

/** 50 ms, doubling, up to a second: real decisions are back within a second of the server's own return. */
const reconnectDelay = (attempt: number): number => Math.min(1_000, 50 * 2 ** Math.min(attempt, 5));

/** `new Redis({ ...ioredisSettings, host, port })`, of ioredis and of iovalkey. */
export const ioredisSettings = {
  maxRetriesPerRequest: 0, // a command whose reply was lost is not sent again
  enableOfflineQueue: false,
  connectTimeout: 1_000,
  socketTimeout: silenceMs,
  retryStrategy: reconnectDelay,
  reconnectOnError: (error: Error): boolean => error.message.startsWith('READONLY'),
};

/** `new Cluster(nodes, ioredisClusterSettings)`. */
export const ioredisClusterSettings = {
  redisOptions: { maxRetriesPerRequest: 0, connectTimeout: 1_000, socketTimeout: silenceMs },
  retryDelayOnFailover: 0, // a decision is not to wait for it; the next one is tried anyway
  retryDelayOnClusterDown: 0,
  clusterRetryStrategy: reconnectDelay,
};

/** `new Redis({ ...ioredisProxySettings, host, port })`, through Twemproxy and the like: they know no `HELLO`, `INFO` or `CLIENT`. */
export const ioredisProxySettings = {
  ...ioredisSettings,
  enableReadyCheck: false,
  disableClientInfo: true,
  protocol: 2 as const,
};

/** `createClient({ ...nodeRedisSettings, … })`; `createCluster({ rootNodes, defaults: nodeRedisSettings })`. */
export const nodeRedisSettings = {
  disableOfflineQueue: true,
  pingInterval: silenceMs / 4, // an idle connection would be taken for a silent one
  socket: { connectTimeout: 1_000, socketTimeout: silenceMs, reconnectStrategy: reconnectDelay },
};

/** `createClient({ ...nodeRedisProxySettings, … })`, through the same; version 6 needs `RESP: 2`, too, and version 5 must not have it. */
export const nodeRedisProxySettings = {
  ...nodeRedisSettings,
  disableClientInfo: true,
};

/** `GlideClient.createClient({ ...glideSettings, addresses })`; `GlideClusterClient` takes the same. */
export const glideSettings = {
  requestTimeout: 1_000, // beyond the limiter's `timeoutMs`: it does not know that the event loop was blocked
  connectionBackoff: { numberOfRetries: 5, factor: 50, exponentBase: 2 },
};
