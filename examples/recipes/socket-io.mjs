/** Socket.IO: how many connections an address holds, and how many events it sends. */
import { createServer } from 'node:http';
import { concurrency, RateLimiter } from 'distributed-rate-limiter';
import { Server } from 'socket.io';
import { run } from '../shared/node-server.mjs';
import { place } from '../shared/place.mjs';

const connections = new RateLimiter({
  ...place,
  namespace: 'socket-io-connections',
  limits: [concurrency({ max: 2, ttl: '30s' })],
});
const events = new RateLimiter({ ...place, namespace: 'socket-io-events', rate: 5, period: '1m' });

const server = createServer();
const io = new Server(server);

io.use(async (socket, next) => {
  try {
    const { conn, handshake } = socket;
    const lease = await connections.acquire(handshake.address, { heartbeat: true });
    if (!lease.allowed) {
      const { reason } = lease;
      next(Object.assign(new Error('too many connections'), { data: { reason } }));
      return;
    }
    // The connection below the socket closes even if the handshake never ends, and may have closed already.
    const free = () => lease.release().catch(() => {});
    if (conn.readyState === 'closed') {
      await free();
    } else {
      conn.once('close', free);
    }
    next();
  } catch (error) {
    next(error);
  }
});

io.on('connection', (socket) => {
  socket.use(async (packet, next) => {
    try {
      const decision = await events.allow(socket.handshake.address);
      if (decision.allowed) {
        next();
        return;
      }
      // A refused event reaches no handler. A client that asked for an acknowledgement learns why.
      const acknowledge = packet.at(-1);
      if (typeof acknowledge === 'function') {
        acknowledge({ error: 'rate_limited', retryAfterMs: decision.retryAfterMs });
      }
    } catch (error) {
      next(error);
    }
  });
  socket.on('say', (text, acknowledge) => acknowledge({ said: text }));
});

await run(server, {
  ready: () => Promise.all([connections.ready(), events.ready()]),
  async close() {
    await io.close();
    await Promise.all([connections.close(), events.close()]);
  },
});
