/** Serves until the process is told to end. */
import { once } from 'node:events';
import { port, runUntilTold } from './place.mjs';

/**
 * @param {import('node:http').Server} server
 * @param {{ ready(): Promise<unknown>, close(): Promise<void> }} limiter
 */
export async function run(server, limiter) {
  // Until Redis answers, requests would pass unlimited.
  await limiter.ready();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  await runUntilTold(address.port, async () => {
    server.close();
    server.closeIdleConnections();
    await once(server, 'close');
    await limiter.close();
  });
}
