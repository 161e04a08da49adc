import { createServer } from 'node:net';
import { Problem } from './problem.mjs';

/** The demo trusts any API key, so it listens on loopback only. */
export const HOST = '127.0.0.1';

const TRIES = 100;

/**
 * The first free port from `wanted` on; for 0 any free port.
 * @param {number} wanted
 * @returns {Promise<number>}
 */
export async function freePortFrom(wanted) {
  const last = Math.min(wanted + TRIES - 1, 65_535);
  for (let port = wanted; port <= last; port++) {
    try {
      return await probe(port);
    } catch (error) {
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
      if (code !== 'EADDRINUSE') throw new Problem(`${message}. Choose another with --port.`);
    }
  }
  throw new Problem(`All ports from ${wanted} to ${last} are taken. Choose others with --port.`);
}

/**
 * @param {number} port
 * @returns {Promise<number>}
 */
function probe(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, HOST, () => {
      const address = server.address();
      const found = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(found));
    });
  });
}
