import type { RedisPort } from '../port.ts';
import type { IoredisClient } from './ioredis.ts';
import type { NodeRedisClient, NodeRedisCluster } from './node-redis.ts';
import type { UpstashClient } from './upstash.ts';
import type { GlideClient } from './valkey-glide.ts';

/**
 * A client of the application: ioredis (5, 6), iovalkey, node-redis (4, 5, 6) or valkey-glide (2), plain or
 * cluster, or @upstash/redis (1), recognised by its shape; or a `RedisPort` for any other. It stays yours: this library never closes it.
 */
export type RedisClient =
  | IoredisClient
  | NodeRedisClient
  | NodeRedisCluster
  | GlideClient
  | UpstashClient
  | RedisPort;
