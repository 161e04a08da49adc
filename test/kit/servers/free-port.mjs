// @ts-check
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below 32768, where Linux begins to take ports for outgoing connections. Otherwise a server that is restarted on its
// port might find an outgoing connection using it.
const LOWEST = 20_000;
const HIGHEST = 29_999;

/** @type {Set<number>} */
const givenOut = new Set();

/**
 * Finds a TCP port of 127.0.0.1 without a listener, which this process was not given before.
 *
 * Another process may still take the port first: the caller must be ready to ask for another.
 *
 * @returns {Promise<number>}
 * @throws after 200 taken ports
 */
export async function freePort() {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(LOWEST, HIGHEST + 1);
    if (givenOut.has(port)) continue;
    givenOut.add(port);
    if (await canListen(port)) return port;
  }
  throw new Error(`no free port between ${LOWEST} and ${HIGHEST} on 127.0.0.1`);
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function canListen(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
