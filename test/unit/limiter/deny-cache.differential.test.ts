import { expect, test } from 'vitest';
import { loadEngine } from '../../kit/deny-cache/engine.ts';
import { compareWorlds } from '../../kit/deny-cache/histories.ts';
import { askBeside } from '../../kit/deny-cache/remote.ts';
import { check } from '../../kit/random.mjs';

const STEPS = Number(process.env['DRL_STEPS'] ?? 4_000);

test.each([
  ['random histories come to the same with the cache and without, but for `source`', compareWorlds],
  ['each refusal by the cache is one that the server would give at that instant', askBeside],
])('%s', { timeout: 3_600_000 }, async (_, run) => {
  const engine = await loadEngine();
  const sources = { store: 0, deny_cache: 0, none: 0 };
  let steps = 0;
  await check({ until: () => steps >= STEPS }, async (random) => {
    steps += await run(engine, random, sources);
  });
  console.log(`${steps} calls:`, sources);
  expect(sources.deny_cache).toBeGreaterThan(steps / 100);
});
