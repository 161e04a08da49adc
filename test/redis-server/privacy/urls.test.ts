import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import { install } from '../../kit/fakes/installed.ts';

const password = 'correct-horse-battery-staple';
let redis: Awaited<ReturnType<typeof startRedis>>;
beforeAll(async () => {
  redis = await startRedis({ password });
});
afterAll(() => redis.close());

// node-redis itself keeps the options of the last client as one string.
test('a URL with a password is dropped from memory with its last limiter', async () => {
  const project = install(['ioredis']);
  const program = fileURLToPath(new URL('urls.program.mjs', import.meta.url));
  const reversed = password.split('').toReversed().join('');
  const env = { NODE_OPTIONS: '--expose-gc' };
  const printed = await project.run(program, [String(redis.port), reversed], env);
  project.remove();
  expect(printed.trim()).toBe('forgotten');
});
