// @ts-check
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { readValue } from './resp.mjs';

/**
 * @typedef {object} ShardingProxy
 * @property {string} host
 * @property {number} port
 * @property {string} url
 * @property {(key: string) => number} shardOf the index of the server that holds a key
 * @property {() => Promise<void>} close
 */

/** Index of the first key in a command. The proxy answers all other commands of these tests itself. */
const FIRST_KEY = { EVAL: 3, EVALSHA: 3, GET: 1, SET: 1, DEL: 1, PTTL: 1 };

/**
 * Starts a proxy that distributes keys over independent servers, as Twemproxy, Envoy's Redis proxy and predixy do. Each
 * command goes to the server of its first key, whatever its other keys are. The proxy answers `PING` and `QUIT` itself.
 * Any other command without a key gets an error, as from Envoy, or ends the connection, as with Twemproxy.
 *
 * @param {readonly { host: string, port: number }[]} servers
 * @param {object} [options]
 * @param {boolean} [options.hashTags] whether only what stands between the first `{` and the next `}` of a key counts,
 *   where a key has them (false)
 * @param {'error' | 'close'} [options.unsupported] what a command without a key gets ('error')
 * @returns {Promise<ShardingProxy>}
 */
export async function startShardingProxy(
  servers,
  { hashTags = false, unsupported = 'error' } = {},
) {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  /** @param {string} key */
  const shardOf = (key) => {
    const tag = hashTags ? /\{([^}]+)\}/.exec(key)?.[1] : undefined;
    return (
      createHash('md5')
        .update(tag ?? key)
        .digest()
        .readUInt32BE() % servers.length
    );
  };

  const listener = createServer((client) => {
    /** Replies leave in the order of their commands. @type {{ reply?: Buffer }[]} */
    const pending = [];
    const links = servers.map(({ host, port }) => {
      const link = connect({ host, port });
      /** @type {{ reply?: Buffer }[]} */
      const asked = [];
      eachValue(link, (bytes) => {
        const slot = asked.shift();
        if (slot) slot.reply = bytes;
        flush();
      });
      return { link, asked };
    });
    const all = [client, ...links.map(({ link }) => link)];
    const end = () => {
      for (const socket of all) {
        socket.destroy();
        sockets.delete(socket);
      }
    };
    for (const socket of all) {
      sockets.add(socket);
      socket.setNoDelay(true).on('error', end).on('close', end);
    }
    function flush() {
      while (pending[0]?.reply) client.write(/** @type {Buffer} */ (pending.shift()?.reply));
    }
    eachValue(client, (bytes, command) => {
      const name = String(command[0]).toUpperCase();
      const at = /** @type {Record<string, number>} */ (FIRST_KEY)[name];
      const key = at === undefined ? undefined : command[at];
      /** @type {{ reply?: Buffer }} */
      const slot = {};
      pending.push(slot);
      if (key !== undefined) {
        const { link, asked } = /** @type {typeof links[number]} */ (links[shardOf(String(key))]);
        asked.push(slot);
        link.write(bytes);
      } else if (name === 'PING') {
        slot.reply = Buffer.from('+PONG\r\n');
      } else if (name === 'QUIT') {
        slot.reply = Buffer.from('+OK\r\n');
      } else if (unsupported === 'close') {
        end();
      } else {
        slot.reply = Buffer.from(`-ERR unsupported command '${name.toLowerCase()}'\r\n`);
      }
      flush();
    });
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (listener.address());
  return {
    host: '127.0.0.1',
    port,
    url: `redis://127.0.0.1:${port}`,
    shardOf,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

/**
 * @param {import('node:net').Socket} socket
 * @param {(bytes: Buffer, value: any) => void} onValue each whole value, as it came and as it reads
 */
function eachValue(socket, onValue) {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let read = readValue(rest, at); read; read = readValue(rest, at)) {
      onValue(rest.subarray(at, read.end), read.value);
      at = read.end;
    }
    rest = rest.subarray(at);
  });
}
