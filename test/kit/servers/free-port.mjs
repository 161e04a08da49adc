// @ts-check
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below 32768, where Linux starts to take ports for outgoing connections: a server that is killed and started again
// on its port must not find that some client's outgoing connection has it.
const LOWEST = 20_000;
const HIGHEST = 29_999;

/** @type {Set<number>} */
const givenOut = new Set();

/**
 * A TCP port of 127.0.0.1 that nobody listens on, and that this process has not been given before.
 *
 * Another process can still take it before you do: whoever binds it must be ready to ask for another one.
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
