// @ts-check
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';

/**
 * Implements just enough of the Redis protocol to control servers and to parse a stream. So a test of a client library
 * never depends on that library to arrange or to observe.
 */

/** @typedef {null | boolean | number | string | Error | Reply[] | Map<Reply, Reply>} Reply */

/** An error reply. `code` is its first word, such as `READONLY`. */
export class RespError extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text);
    this.name = 'RespError';
    this.code = text.split(' ', 1)[0] ?? '';
  }
}

/**
 * @param {readonly (string | number | Buffer)[]} args
 * @returns {Buffer}
 */
export function encodeCommand(args) {
  /** @type {Buffer[]} */
  const parts = [Buffer.from(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/**
 * Reads one value (RESP2 or RESP3, a request or a reply) that begins at `at`.
 *
 * Strings are returned as UTF-8 text, integers as numbers, error replies as `RespError` values. A RESP3 push has `push:
 * true`.
 *
 * @param {Buffer} bytes
 * @param {number} at
 * @returns {{ value: Reply, end: number, push: boolean } | undefined} nothing while the value is incomplete
 * @throws when the bytes are no such value
 */
export function readValue(bytes, at) {
  const eol = bytes.indexOf('\r\n', at);
  if (eol < 0) {
    // An unknown type byte stays unknown, however many bytes follow.
    if (at < bytes.length && !'+-:$*_#,(!=%~>|'.includes(String.fromCharCode(bytes[at] ?? 0)))
      throw notResp(bytes, at);
    return undefined;
  }
  const type = String.fromCharCode(bytes[at] ?? 0);
  const line = bytes.toString('utf8', at + 1, eol);
  const next = eol + 2;
  /** @param {Reply} value */
  const whole = (value) => ({ value, end: next, push: false });
  switch (type) {
    case '+':
      return whole(line);
    case '-':
      return whole(new RespError(line));
    case ':':
    case ',':
      return whole(Number(line));
    case '(':
      return whole(line);
    case '_':
      return whole(null);
    case '#':
      return whole(line === 't');
    case '$':
    case '!':
    case '=': {
      const length = Number(line);
      if (length < 0) return whole(null);
      const end = next + length + 2;
      if (bytes.length < end) return undefined;
      const text = bytes.toString('utf8', next, end - 2);
      return {
        value: type === '!' ? new RespError(text) : type === '=' ? text.slice(4) : text,
        end,
        push: false,
      };
    }
    case '*':
    case '~':
    case '>':
    case '%':
    case '|': {
      const length = Number(line);
      if (length < 0) return whole(null);
      const isMap = type === '%' || type === '|';
      /** @type {Reply[]} */
      const items = [];
      let end = next;
      for (let left = isMap ? 2 * length : length; left > 0; left--) {
        const item = readValue(bytes, end);
        if (!item) return undefined;
        items.push(item.value);
        end = item.end;
      }
      // A RESP3 attribute only annotates the value that follows it.
      if (type === '|') return readValue(bytes, end);
      if (!isMap) return { value: items, end, push: type === '>' };
      /** @type {Map<Reply, Reply>} */
      const map = new Map();
      for (let i = 0; i < items.length; i += 2) map.set(items[i] ?? null, items[i + 1] ?? null);
      return { value: map, end, push: false };
    }
    default:
      throw notResp(bytes, at);
  }
}

/**
 * @param {Buffer} bytes
 * @param {number} at
 */
function notResp(bytes, at) {
  return new Error(
    `not the Redis protocol: ${JSON.stringify(bytes.toString('latin1', at, at + 40))}`,
  );
}

/**
 * @typedef {object} RespConnection
 * @property {(...args: (string | number | Buffer)[]) => Promise<any>} command sends one command; rejects with
 *   `RespError` on an error reply, with `Error` when the connection ends first or after `timeoutMs`
 * @property {(listener: (value: Reply) => void) => void} onUnasked hears what comes without a question: `MONITOR`
 *   lines, messages of subscriptions
 * @property {boolean} closed whether it has ended, for whatever reason
 * @property {() => void} close ends it at once; what is pending rejects
 */

/**
 * Opens a connection. An open connection without pending commands does not keep the process alive.
 *
 * @param {{ port?: number, host?: string, path?: string, tls?: import('node:tls').ConnectionOptions, timeoutMs?: number }} where
 *   a `path` is a unix socket; `timeoutMs` bounds the opening and each command (10 s)
 * @returns {Promise<RespConnection>}
 */
export function openResp({ port = 6379, host = '127.0.0.1', path, tls, timeoutMs = 10_000 }) {
  const target = path === undefined ? { port, host } : { path };
  const socket = tls ? connectTls({ ...target, ...tls }) : connectTcp(target);
  /** @type {{ resolve: (value: any) => void, reject: (error: Error) => void, timer: NodeJS.Timeout }[]} */
  const pending = [];
  /** @type {(value: Reply) => void} */
  let unasked = () => {};
  let rest = Buffer.alloc(0);

  /** @param {Error} error */
  function fail(error) {
    socket.destroy();
    for (const { reject, timer } of pending.splice(0)) {
      clearTimeout(timer);
      reject(error);
    }
  }

  socket.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    try {
      for (;;) {
        const read = readValue(rest, at);
        if (!read) break;
        at = read.end;
        const asked = read.push ? undefined : pending.shift();
        if (!asked) {
          unasked(read.value);
          continue;
        }
        clearTimeout(asked.timer);
        if (read.value instanceof Error) asked.reject(read.value);
        else asked.resolve(read.value);
      }
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
    rest = rest.subarray(at);
    if (pending.length === 0) socket.unref();
  });
  socket.on('close', () => fail(new Error('the connection ended')));

  return new Promise((resolve, reject) => {
    const opening = setTimeout(
      () => socket.destroy(new Error(`no connection within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(opening));
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      clearTimeout(opening);
      socket.off('error', reject);
      socket.on('error', fail);
      socket.unref();
      resolve({
        command: (...args) =>
          new Promise((resolveCommand, rejectCommand) => {
            if (socket.destroyed) return rejectCommand(new Error('the connection is closed'));
            const timer = setTimeout(
              () => fail(new Error(`no reply to ${String(args[0])} within ${timeoutMs} ms`)),
              timeoutMs,
            );
            pending.push({ resolve: resolveCommand, reject: rejectCommand, timer });
            socket.ref();
            socket.write(encodeCommand(args));
          }),
        onUnasked: (listener) => {
          unasked = listener;
        },
        get closed() {
          return socket.destroyed;
        },
        close: () => fail(new Error('the connection was closed')),
      });
    });
  });
}
