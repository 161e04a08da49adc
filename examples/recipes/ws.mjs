/** Plain `ws`: how many connections an address holds, and how many messages it sends. */
import { createServer, STATUS_CODES } from 'node:http';
import { concurrency, RateLimiter } from 'distributed-rate-limiter';
import { createGuard, identifyByAddress } from 'distributed-rate-limiter/http';
import { WebSocketServer } from 'ws';
import { run } from '../shared/node-server.mjs';
import { place } from '../shared/place.mjs';

const connections = new RateLimiter({
  ...place,
  namespace: 'ws-connections',
  limits: [concurrency({ max: 2, ttl: '30s' })],
});
const messages = new RateLimiter({ ...place, namespace: 'ws-messages', rate: 5, period: '1m' });
/** The client's address; for users, what a login says of the upgrade request. */
const identify = identifyByAddress();
/** Decides on upgrade requests. A place is renewed until the socket closes. */
const guard = createGuard(connections, { identify, maxHold: '24d' });

const sockets = new WebSocketServer({ noServer: true });
sockets.on('connection', (socket, request) => {
  // Read once: a socket that has closed no longer knows its address.
  const identity = identify(request);
  socket.on('message', async (data) => {
    try {
      const decision = await messages.allow(identity);
      if (decision.allowed) {
        socket.send(`you said ${data}`);
      } else {
        const { reason, retryAfterMs } = decision;
        socket.send(JSON.stringify({ error: 'rate_limited', reason, retryAfterMs }));
      }
    } catch {
      socket.close(1011);
    }
  });
});

const server = createServer((_, response) => response.writeHead(426).end());
server.on('upgrade', (request, socket, head) => void upgrade(request, socket, head));

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:stream').Duplex} socket
 * @param {Buffer} head
 */
async function upgrade(request, socket, head) {
  socket.on('error', () => socket.destroy());
  const verdict = await guard.check(request).catch(() => undefined);
  if (verdict?.pass !== true) {
    const { status, headers, body } = verdict ?? { status: 500, headers: [], body: '' };
    const fields = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fields}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
    return;
  }
  // The raw socket closes even if the handshake fails, and may have closed during the decision.
  const free = () => verdict.finish?.('aborted');
  if (socket.destroyed) {
    free();
  } else {
    socket.once('close', free);
    sockets.handleUpgrade(request, socket, head, (opened) => {
      sockets.emit('connection', opened, request);
    });
  }
}

await run(server, {
  ready: () => Promise.all([connections.ready(), messages.ready()]),
  async close() {
    await Promise.all([connections.close(), messages.close()]);
  },
});
