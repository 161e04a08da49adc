/** Tests that need the client libraries of test/installs/clients beside those of the root: the group `clients`. */
export const CLIENT_TESTS: readonly string[] = [
  ...[
    'client-settings',
    'cluster',
    'ioredis',
    'node-redis',
    'node-redis-pool',
    'node-redis-sentinel',
    'resends',
    'sharding',
    'slots-apart',
    'upstash',
    'url',
    'valkey-glide',
  ].map((name) => `test/redis-server/contracts/${name}.test.ts`),
  'test/redis-server/privacy/errors.test.ts',
  'test/redis-server/telemetry/nodes.test.ts',
  'test/redis-server/workers/define-limiter.test.ts',
];
