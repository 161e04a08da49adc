// @ts-check
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { own, startFaultProxy, startRedis } from '../../kit/servers/index.mjs';

/**
 * @typedef {import('./soak.worker.mjs').Sample} Sample
 * @typedef {import('./soak.worker.mjs').Tally} Tally
 * @typedef {import('../../kit/servers/index.mjs').RedisServer} RedisServer
 * @typedef {import('../../kit/servers/index.mjs').FaultProxy} FaultProxy
 */

/**
 * The faults, each for a given time; each ends with the server as it was before.
 *
 * @type {Readonly<Record<string, (redis: RedisServer, proxy: FaultProxy, ms: number) => Promise<void>>>}
 */
const faults = {
  'stopped (SIGSTOP)': async (redis, _, ms) => {
    await redis.stop();
    await sleep(ms);
    await redis.cont();
  },
  'killed, and started empty': async (redis, _, ms) => {
    await redis.kill();
    await redis.restart({ downMs: ms });
  },
  'connections cut every 50 ms': async (_, proxy, ms) => {
    await proxy.cut({ everyMs: 50, reset: true });
    await sleep(ms);
    await proxy.pass();
  },
  'nothing comes through': async (_, proxy, ms) => {
    await proxy.stall();
    await sleep(ms);
    await proxy.pass();
  },
  'connections refused': async (_, proxy, ms) => {
    await proxy.refuse();
    await sleep(ms);
    await proxy.pass();
  },
  'replies lost after execution': async (_, proxy, ms) => {
    await proxy.dropReplies();
    await sleep(ms);
    await proxy.pass();
  },
  'half a reply': async (_, proxy, ms) => {
    await proxy.halfReply(3, { times: 1 });
    await sleep(ms);
    await proxy.pass();
  },
  'garbage for a reply': async (_, proxy, ms) => {
    await proxy.garbage('HTTP/1.1 400 Bad Request\r\n\r\n', { times: 1 });
    await sleep(ms);
    await proxy.pass();
  },
  'slow, around the deadline': async (_, proxy, ms) => {
    await proxy.delay(100, 150);
    await sleep(ms);
    await proxy.pass();
  },
  'out of memory': async (redis, _, ms) => {
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await sleep(ms);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
  },
  'script cache flushed again and again': async (redis, _, ms) => {
    const until = performance.now() + ms;
    while (performance.now() < until) {
      await redis.command('SCRIPT', 'FLUSH');
      await sleep(5);
    }
  },
};

/** The longest fault, and how long it must be calm before memory is measured. */
const LONGEST_FAULT_MS = 3_000;
const CALM_MS = 3_000;

/**
 * Runs a process under load with one random fault after another. Compares what it holds at the end with what it held at
 * the start.
 *
 * @param {object} options
 * @param {number} options.minutes
 * @param {number} [options.perSecond] decisions asked for
 * @param {number} [options.faultEveryMs]
 * @param {() => number} options.random from 0 to less than 1
 * @param {(line: string) => void} [options.report]
 * @returns {Promise<{ samples: Sample[], tally: Tally, exitMs: number, exitCode: number, keysWithoutTtl: number, seen: string[] }>}
 */
export async function soak({
  minutes,
  perSecond = 2_000,
  faultEveryMs = 10_000,
  random,
  report = () => {},
}) {
  const redis = await startRedis();
  const proxy = await startFaultProxy(redis);
  const orders = JSON.stringify({ url: proxy.url, perSecond });
  const child = own(
    fork(new URL('soak.worker.mjs', import.meta.url), [orders], {
      execArgv: ['--expose-gc', '--unhandled-rejections=strict'],
    }),
  );
  const exited = once(child, 'exit');
  /** @param {'sample' | 'end'} [word] */
  const ask = async (word) => {
    const answer = once(child, 'message');
    if (word !== undefined) child.send(word);
    const [first] = await Promise.race([answer, exited.then(() => [undefined])]);
    if (first === undefined) throw new Error('the process ended by itself');
    return first;
  };
  try {
    await ask();
    /** @type {Sample[]} */
    const samples = [];
    /** @type {string[]} */
    const seen = [];
    const names = Object.keys(faults);
    const until = performance.now() + minutes * 60_000;
    let next = performance.now() + faultEveryMs;
    for (;;) {
      await sleep(Math.max(0, next - performance.now()));
      next += faultEveryMs;
      const sample = /** @type {Sample} */ (await ask('sample'));
      samples.push(sample);
      report(
        `${(sample.heap / 2 ** 20).toFixed(1)} MiB  ${JSON.stringify(sample.resources)}  ${sample.listeners} listeners`,
      );
      if (performance.now() >= until) break;
      // Every fault occurs once before any occurs again.
      const round = seen.slice(seen.length - (seen.length % names.length));
      const left = names.filter((name) => !round.includes(name));
      const name = /** @type {string} */ (left[Math.floor(random() * left.length)] ?? names[0]);
      seen.push(name);
      const ms = Math.round(Math.min(LONGEST_FAULT_MS, faultEveryMs - CALM_MS) * random());
      report(`  ${name}, ${ms} ms`);
      await faults[name]?.(redis, proxy, ms);
    }
    const tally = /** @type {Tally} */ (await ask('end'));
    const since = performance.now();
    const [exitCode] = await exited;
    const exitMs = performance.now() - since;
    const { length: keysWithoutTtl } = await redis.keysWithoutTtl();
    return { samples, tally, exitMs, exitCode, keysWithoutTtl, seen };
  } finally {
    child.kill('SIGKILL');
    await proxy.close();
    await redis.close();
  }
}

/** Bytes that may come and go between two samples without being a leak. */
const HEAP_SLACK = 1.5 * 2 ** 20;

/**
 * Lists everything that grew from the first third of the samples to the last third; empty if nothing did.
 *
 * @param {readonly Sample[]} samples
 * @returns {string[]}
 */
export function growth(samples) {
  const third = Math.max(1, Math.floor(samples.length / 3));
  // Before the first fault the connection has not made all of its own objects.
  const early = samples.slice(1, 1 + third);
  const late = samples.slice(-third);
  /** @type {string[]} */
  const grown = [];
  /** @param {string} what @param {(sample: Sample) => number} read @param {number} slack */
  const compare = (what, read, slack) => {
    const [before, after] = [early, late].map((part) => Math.min(...part.map(read)));
    if (after === undefined || before === undefined || after > before + slack) {
      grown.push(`${what}: ${before}, then ${after}`);
    }
  };
  compare('heap, bytes', ({ heap }) => heap, HEAP_SLACK);
  compare('listeners of the process', ({ listeners }) => listeners, 0);
  compare('calls in flight', ({ inFlight }) => inFlight, 0);
  for (const kind of new Set(samples.flatMap(({ resources }) => Object.keys(resources)))) {
    compare(kind, ({ resources }) => resources[kind] ?? 0, 0);
  }
  return grown;
}
