/**
 * `npm run try` acts as a new user: it installs the packed package in empty folders and runs the code of the documents
 * against a real Redis server. Arguments choose trials: `npm run try -- express next`; `--list` names them.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { privateFolder, startRedis } from '../test/kit/servers/index.mjs';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';
import { Stopped, TrialRun } from './try/trial.mjs';
import { trials } from './try/trials/index.mjs';

/** @typedef {import('./try/trial.mjs').Trial} Trial */

const names = process.argv.slice(2);
if (names.includes('--list')) {
  for (const { name, title } of trials) console.log(`${name.padEnd(16)} ${title}`);
} else {
  process.exitCode = (await tryAll(chosen(names))) ? 0 : 1;
}

/**
 * @param {readonly string[]} wanted
 * @returns {readonly Trial[]}
 */
function chosen(wanted) {
  const unknown = wanted.filter((name) => !trials.some((trial) => trial.name === name));
  if (unknown.length > 0) {
    const known = trials.map(({ name }) => name).join(', ');
    throw new Error(`No trial is called ${unknown.join(', ')}; there are ${known}.`);
  }
  return wanted.length === 0 ? trials : trials.filter(({ name }) => wanted.includes(name));
}

/**
 * @param {readonly Trial[]} some
 * @returns {Promise<boolean>} whether none failed
 */
async function tryAll(some) {
  ensurePackages();
  ensureRedisServer();
  await build();
  const tarball = pack();
  /** @type {{ name: string, result: string, held: string, seconds: string }[]} */
  const rows = [];
  for (const trial of some) rows.push(await tryOne(trial, tarball));
  console.log('');
  for (const { name, result, held, seconds } of rows) {
    console.log(
      `${name.padEnd(16)} ${result.padEnd(7)} ${held.padStart(6)} ${seconds.padStart(8)}`,
    );
  }
  return rows.every(({ result }) => result !== 'FAILED');
}

/** @returns {string} the file that would be published */
function pack() {
  const folder = privateFolder('packed');
  const args = [
    'pack',
    '--ignore-scripts',
    '--loglevel=error',
    '--json',
    '--pack-destination',
    folder,
  ];
  const packed = execFileSync('npm', args, { cwd: root, encoding: 'utf8' });
  return path.join(folder, JSON.parse(packed)[0].filename);
}

/**
 * @param {Trial} trial
 * @param {string} tarball
 */
async function tryOne(trial, tarball) {
  console.log(`\n${trial.name}: ${trial.title}`);
  const started = performance.now();
  const redis = await startRedis();
  const run = new TrialRun(redis, tarball);
  try {
    await trial.run(run);
  } catch (error) {
    if (!(error instanceof Stopped)) run.must('the trial runs to its end', false, String(error));
  } finally {
    await run.end();
    await redis.close();
  }
  const results = run.claims.map(({ result }) => result);
  const worst = ['FAILED', 'gap', 'ok'].find((result) => results.some((each) => each === result));
  const held = results.filter((result) => result === 'ok').length;
  return {
    name: trial.name,
    result: worst ?? 'FAILED',
    held: `${held}/${results.length}`,
    seconds: `${((performance.now() - started) / 1_000).toFixed(1)} s`,
  };
}
