// @ts-check
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { own, startFaultProxy, startRedis } from '../../kit/servers/index.mjs';
import { MARGIN_MS } from './caller.mjs';
import { clients } from './clients.mjs';

/**
 * Calls `close()` during each fault, in processes that must then end by themselves.
 *
 * @typedef {import('../../kit/servers/fault-proxy.mjs').FaultProxy} FaultProxy
 */

/**
 * @typedef {object} Closing
 * @property {string} name
 * @property {boolean} thorough whether it is left to `npm run faults`
 * @property {((proxy: FaultProxy) => Promise<void>) | undefined} before what happens before the process connects
 * @property {((proxy: FaultProxy) => Promise<void>) | undefined} after what happens once it has made real decisions
 */

/** @type {readonly Closing[]} */
export const closings = [
  { name: 'nothing', thorough: true, before: undefined, after: undefined },
  { name: 'a hang', thorough: false, before: undefined, after: (proxy) => proxy.stall() },
  { name: 'an outage', thorough: false, before: undefined, after: (proxy) => proxy.refuse() },
  { name: 'half a reply', thorough: true, before: undefined, after: (proxy) => proxy.halfReply(5) },
  {
    name: 'refused connections',
    thorough: false,
    before: (proxy) => proxy.refuse(),
    after: undefined,
  },
  {
    name: 'a hang from the start',
    thorough: false,
    before: (proxy) => proxy.stall(),
    after: undefined,
  },
];

/**
 * @typedef {object} ClosingRow
 * @property {string} client
 * @property {number} closeMs from `close()` with calls in flight until it has settled
 * @property {number} exitMs from there to the end of the process
 */

/** More processes at once would slow each other down and distort the figures. */
const KINDS = ['urlWithIoredis', 'urlWithNodeRedis', 'ioredis', 'nodeRedis'];

/**
 * Starts one process for each client, all at once.
 *
 * @param {Closing} closing
 * @returns {Promise<ClosingRow[]>}
 */
export async function runClosing({ before, after }) {
  const redis = await startRedis();
  const proxy = await startFaultProxy(redis);
  try {
    await before?.(proxy);
    const running = KINDS.map((kind) => startCloser(kind, proxy.url, !before));
    await Promise.all(running.map(({ prepared }) => prepared));
    await after?.(proxy);
    return await Promise.all(running.map(({ finish }) => finish()));
  } finally {
    await proxy.close();
    await redis.close();
  }
}

/**
 * @param {string} kind
 * @param {string} url
 * @param {boolean} ready whether it waits for real decisions first
 */
function startCloser(kind, url, ready) {
  const { name, lingersMs } = clients[/** @type {keyof typeof clients} */ (kind)];
  const child = own(
    fork(new URL('closing.worker.mjs', import.meta.url), [kind, url, String(ready)], {
      execArgv: ['--unhandled-rejections=strict'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    }),
  );
  let reported = '';
  let printed = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => (reported += text));
  child.stderr?.setEncoding('utf8').on('data', (text) => (printed += text));
  /** @type {Promise<number | null>} */
  const ended = new Promise((resolve) => child.once('close', resolve));
  return {
    prepared: new Promise((resolve, reject) => {
      child.once('message', resolve);
      void ended.then((code) => reject(new Error(`${name} ended with ${code}\n${printed}`)));
    }),
    /** @returns {Promise<ClosingRow>} */
    finish: async () => {
      child.send('close');
      // A process that does not end fails the test, instead of blocking it.
      const ending = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const code = await ended;
      clearTimeout(ending);
      assert.equal(code, 0, `${name}: ended with ${code}\n${printed}`);
      /** @type {{ closeMs: number, boundMs: number, exitMs: number }} */
      const { closeMs, boundMs, exitMs } = JSON.parse(reported);
      assert.ok(closeMs <= boundMs, `${name}: closed after ${Math.round(closeMs)} ms`);
      const exitBoundMs = lingersMs + 1_000 + MARGIN_MS;
      assert.ok(exitMs <= exitBoundMs, `${name}: ended after ${Math.round(exitMs)} ms`);
      return { client: name, closeMs, exitMs };
    },
  };
}
