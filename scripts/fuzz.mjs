/**
 * `npm run fuzz -- --cases 1000000 --seed 7` generates random options, identities, headers, replies, stored states and
 * lives of requests, and checks each against its invariants. Without --seed it chooses a new seed and prints it. A
 * failure prints the seed of its own case. `--area replies` runs one area alone.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ensurePackages, root } from './bootstrap.mjs';
import { ensureRedisServer } from './redis-server.mjs';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: 'random' },
    area: { type: 'string' },
  },
});
const { cases, seed, area } = values;
if (!/^[1-9]\d*$/.test(cases) || !/^(?:random|\d+)$/.test(seed)) {
  console.error('--cases and --seed must be whole numbers.');
  process.exit(1);
}

ensurePackages();
ensureRedisServer();

const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
const flags = ['--disable-console-intercept'];
const { status } = spawnSync(
  process.execPath,
  [vitest, 'run', 'test/redis-server/fuzz', ...flags, ...(area === undefined ? [] : ['-t', area])],
  { cwd: root, env: { ...process.env, DRL_FUZZ: cases, DRL_SEED: seed }, stdio: 'inherit' },
);
process.exitCode = status ?? 1;
