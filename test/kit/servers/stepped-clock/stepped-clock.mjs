// @ts-check
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { privateFolder } from '../reaper.mjs';
import { startRedis } from '../redis-server.mjs';

/**
 * @typedef {object} SteppedClock
 * @property {number} offsetMs how far the clock is from the true one now
 * @property {(ms: number) => void} step moves it by `ms`, on from where it is; back when negative. Fractions count down
 *   to the microsecond. Blocks for two milliseconds; whatever a server answers afterwards is by the new clock
 * @property {() => void} restore makes it the true one again, which is a step, too
 * @property {Record<string, string>} env what a process needs in its environment to have this clock
 * @property {() => void} close
 */

/** After this time each server has forgotten what it read of the clock before. */
const REREAD_MS = 2;

/**
 * Explains why clocks cannot be stepped on this machine, for the name of a skipped test. Undefined if they can.
 *
 * @returns {string | undefined}
 */
export function steppedClockMissing() {
  if (process.platform !== 'linux')
    return `clocks can be stepped on Linux only, this is ${process.platform}`;
  return compile().missing;
}

/**
 * A wall clock for one or several servers (`startRedis({ clock })`), which a test steps without touching the machine's
 * clock. Servers that share one clock step together.
 *
 * @returns {SteppedClock}
 * @throws when `steppedClockMissing()` says why
 */
export function createSteppedClock() {
  const missing = steppedClockMissing();
  if (missing !== undefined) throw new Error(missing);
  const dir = privateFolder('clock');
  const path = join(dir, 'offset');
  const file = openSync(path, 'w');
  let micros = 0n;
  /** @param {bigint} value */
  const set = (value) => {
    const bytes = Buffer.from(BigInt64Array.of(value).buffer);
    writeSync(file, bytes, 0, bytes.length, 0);
    micros = value;
    // Valkey 9 reads the wall clock once per millisecond, and adds to it what its monotonic clock has counted since.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REREAD_MS);
  };
  set(0n);
  return {
    get offsetMs() {
      return Number(micros) / 1000;
    },
    step: (ms) => set(micros + BigInt(Math.round(ms * 1000))),
    restore: () => set(0n),
    env: { LD_PRELOAD: compile().library, STEPPED_CLOCK_FILE: path },
    close: () => {
      closeSync(file);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/**
 * Starts a server with its own clock, and checks that `TIME` reports that clock.
 *
 * @param {import('../redis-server.mjs').RedisOptions} [options]
 * @returns {Promise<{ redis: import('../redis-server.mjs').RedisServer, clock: SteppedClock, close: () => Promise<void> }>}
 * @example
 * const { redis, clock, close } = await startSteppedRedis();
 * clock.step(-3_600_000);
 * clock.restore();
 * await close();
 */
export async function startSteppedRedis(options = {}) {
  const clock = createSteppedClock();
  const redis = await startRedis({ ...options, clock });
  const close = async () => {
    await redis.close();
    clock.close();
  };
  clock.step(3_600_000);
  const early = (await timeOf(redis)) - Date.now();
  clock.restore();
  const late = (await timeOf(redis)) - Date.now();
  if (Math.abs(early - 3_600_000) > 5000 || Math.abs(late) > 5000) {
    await close();
    throw new Error(
      `this server does not follow the stepped clock: off by ${early} ms instead of one hour`,
    );
  }
  return { redis, clock, close };
}

/**
 * Returns `TIME` as Unix milliseconds with a fraction.
 *
 * @param {import('../redis-server.mjs').RedisServer} redis
 * @returns {Promise<number>}
 */
export async function timeOf(redis) {
  const [seconds, micros] = await redis.command('TIME');
  return Number(seconds) * 1000 + Number(micros) / 1000;
}

/** @type {{ library: string, missing: string | undefined } | undefined} */
let compiled;

/** @returns {{ library: string, missing: string | undefined }} */
function compile() {
  if (compiled) return compiled;
  const library = join(privateFolder('stepped-clock'), 'stepped-clock.so');
  const source = fileURLToPath(new URL('stepped-clock.c', import.meta.url));
  /** @type {string[]} */
  const failures = [];
  for (const compiler of process.env['CC'] ? [process.env['CC']] : ['cc', 'gcc', 'clang']) {
    const { status, error, stderr } = spawnSync(
      compiler,
      ['-shared', '-fPIC', '-O2', '-o', library, source],
      {
        encoding: 'utf8',
      },
    );
    if (status === 0) return (compiled = { library, missing: undefined });
    failures.push(error ? `no ${compiler}` : `${compiler}: ${stderr.trim().split('\n')[0]}`);
  }
  return (compiled = {
    library,
    missing: `stepping a clock needs a C compiler (${failures.join(', ')})`,
  });
}
