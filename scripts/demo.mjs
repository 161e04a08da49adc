/** `npm run demo`, on a machine with only Node and npm. Its flags: `npm run demo -- --help`. */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { readDemoOptions, USAGE } from '../demo/options.mjs';
import { Problem } from '../demo/problem.mjs';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

/** Whether every source was compiled after its last change. */
function distIsCurrent() {
  const src = path.join(root, 'src');
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .every((file) => {
      const made = path.join(root, 'dist', file.replace(/\.ts$/, '.js'));
      return changedAt(made) >= changedAt(path.join(src, file));
    });
}

/** @param {string} file */
function changedAt(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

async function demo() {
  const options = readDemoOptions(process.argv.slice(2), process.env);
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  ensurePackages();
  if (!distIsCurrent()) {
    console.log('Building the package ...');
    await build();
  }
  if (options.privateRedis && process.env['REDIS_SERVER'] === undefined) ensureRedisServer();
  const { run } = await import('../demo/main.mjs');
  return run(options);
}

try {
  process.exitCode = await demo();
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  console.error(error.message);
  if (error.exitCode === 2) console.error('npm run demo -- --help lists the flags.');
  process.exitCode = error.exitCode;
}
