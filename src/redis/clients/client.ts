import type { RedisPort } from '../port.ts';
import type { BunRedisClient } from './bun.ts';
import type { IoredisClient } from './ioredis.ts';
import type { NodeRedisSentinel } from './node-redis-sentinel.ts';
import type { NodeRedisClient, NodeRedisCluster } from './node-redis.ts';
import type { UpstashClient } from './upstash.ts';
import type { GlideClient } from './valkey-glide.ts';

/**
 * A client of the application, recognised by its shape: of ioredis (5, 6), iovalkey, node-redis (4, 5, 6) or
 * valkey-glide (2), plain, cluster or Sentinel; of `@upstash/redis` (1); Bun's `RedisClient` (1.4); or a `RedisPort` for
 * any other. It stays yours: this library never closes it.
 */
export type RedisClient =
  | IoredisClient
  | NodeRedisClient
  | NodeRedisCluster
  | NodeRedisSentinel
  | GlideClient
  | UpstashClient
  | BunRedisClient
  | RedisPort;
