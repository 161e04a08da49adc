// @ts-check
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.mjs';
import { findPrometheus } from './promtool.mjs';
import { own, privateFolder } from './reaper.mjs';
import { waitUntil } from './wait-until.mjs';

/**
 * @typedef {object} Series one result of an instant query
 * @property {Readonly<Record<string, string>>} labels
 * @property {number} value
 *
 * @typedef {object} Prometheus
 * @property {string} url
 * @property {(expr: string) => Promise<Series[]>} query rejects with what Prometheus says of an expression that is wrong
 * @property {() => Promise<void>} close
 */

/**
 * Starts a real Prometheus for a test, on a free port of 127.0.0.1, with its data in a private folder. It is ready when
 * the promise resolves, and ends with this process at the latest.
 *
 * @param {{ targets: readonly string[], everyMs?: number }} options `host:port` of what it scrapes, each second
 * @returns {Promise<Prometheus>}
 * @example
 * const prometheus = await startPrometheus({ targets: ['127.0.0.1:3000'] });
 * await prometheus.query('up');
 */
export async function startPrometheus({ targets, everyMs = 1_000 }) {
  const program = findPrometheus('prometheus');
  const folder = privateFolder('prometheus');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = join(folder, 'prometheus.yaml');
  writeFileSync(
    config,
    // YAML includes JSON.
    JSON.stringify({
      global: { scrape_interval: `${everyMs}ms`, scrape_timeout: `${everyMs}ms` },
      scrape_configs: [{ job_name: 'test', static_configs: [{ targets }] }],
    }),
  );
  const logFile = join(folder, 'prometheus.log');
  const log = openSync(logFile, 'w');
  const flags = {
    'config.file': config,
    'storage.tsdb.path': join(folder, 'data'),
    'web.listen-address': `127.0.0.1:${port}`,
    'log.level': 'warn',
  };
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child = own(spawn(program, args, { cwd: folder, stdio: ['ignore', log, log] }));
  closeSync(log);
  child.unref();
  let ended = false;
  const gone = new Promise((resolve) => {
    child.once('exit', resolve).once('error', resolve);
  }).then(() => (ended = true));
  const close = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  try {
    await waitUntil('Prometheus', async () => (await fetch(`${url}/-/ready`)).ok, {
      timeoutMs: 30_000,
      giveUp: () => ended,
    });
  } catch (error) {
    await close();
    throw new Error(`Prometheus did not start:\n${readFileSync(logFile, 'utf8')}`, {
      cause: error,
    });
  }
  return {
    url,
    close,
    query: async (expr) => {
      const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expr)}`);
      /** @type {{ status: string, error?: string, data: { result: { metric: Record<string, string>, value: [number, string] }[] } }} */
      const { status, error, data } = /** @type {any} */ (await response.json());
      if (status !== 'success') throw new Error(`${expr}: ${error}`);
      return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
    },
  };
}
