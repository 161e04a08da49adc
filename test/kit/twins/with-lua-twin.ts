import { afterAll, beforeAll } from 'vitest';
import { startRedis } from '../servers/index.mjs';
import type { RedisServer } from '../servers/index.mjs';

/** Starts a server with a Lua twin before the tests of the enclosing block, and ends both after them. */
export function withLuaTwin<Lua extends { close(): unknown }>(twins: {
  open(redis: RedisServer): Promise<Lua>;
}): { redis: RedisServer; lua: Lua } {
  const twin = {} as { redis: RedisServer; lua: Lua };
  beforeAll(async () => {
    twin.redis = await startRedis();
    twin.lua = await twins.open(twin.redis);
  });
  afterAll(async () => {
    await twin.lua?.close();
    await twin.redis?.close();
  });
  return twin;
}
