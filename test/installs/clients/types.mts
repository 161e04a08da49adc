/**
 * Compiles each client against its own types, without a cast. `client-types.test.ts` runs the compiler where they are
 * installed.
 */
import { RateLimiter } from 'distributed-rate-limiter';
import { Redis as Upstash } from '@upstash/redis';
import { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import * as ioredis5 from 'ioredis-5';
import * as iovalkey from 'iovalkey';
import * as redis4 from 'redis-4';
import * as redis5 from 'redis-5';

const limits = { rate: 100, period: '1m' } as const;

void new RateLimiter({ redis: new ioredis5.Redis(), ...limits });
void new RateLimiter({ redis: new ioredis5.Cluster([]), ...limits });
void new RateLimiter({ redis: new iovalkey.Redis(), ...limits });
void new RateLimiter({ redis: new iovalkey.Cluster([]), ...limits });
void new RateLimiter({ redis: redis4.createClient(), ...limits });
void new RateLimiter({ redis: redis4.createCluster({ rootNodes: [] }), ...limits });
void new RateLimiter({ redis: redis5.createClient(), ...limits });
void new RateLimiter({ redis: redis5.createCluster({ rootNodes: [] }), ...limits });
void new RateLimiter({ redis: redis5.createClientPool(), ...limits });
void new RateLimiter({
  redis: redis5.createSentinel({ name: 'a', sentinelRootNodes: [] }),
  ...limits,
});
void new RateLimiter({ redis: new Upstash({ url: 'https://h', token: 't' }), ...limits });
void new RateLimiter({ redis: Upstash.fromEnv(), ...limits });
void new RateLimiter({ redis: await GlideClient.createClient({ addresses: [] }), ...limits });
void new RateLimiter({
  redis: await GlideClusterClient.createClient({ addresses: [] }),
  ...limits,
});
// @ts-expect-error a promise of a client
void new RateLimiter({ redis: GlideClient.createClient({ addresses: [] }), ...limits });
