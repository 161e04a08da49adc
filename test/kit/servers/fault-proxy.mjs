// @ts-check
import { connect, createServer } from 'node:net';
import { freePort } from './free-port.mjs';
import { readValue } from './resp.mjs';

/**
 * @typedef {object} Which
 * @property {(command: string[]) => boolean} [only] which commands are hit; default `scriptCalls`, so that clients
 *   can still say hello
 * @property {number} [times] how many of them (all)
 */

/**
 * The fate of one command. `instead`: the proxy answers, and the command never reaches the server. `lost`, `half`,
 * `garbage`: the server executes it, and the reply is damaged.
 *
 * @typedef {{ kind: 'pass' } | { kind: 'instead', bytes: Buffer } | { kind: 'lost', cut: boolean }
 *   | { kind: 'half', length: number } | { kind: 'garbage', bytes: Buffer }} Fate
 */

/** @type {Fate} */
const PASS = { kind: 'pass' };

// After these commands the server sends messages unasked, so replies no longer match commands one to one.
const STREAMING = new Set(['SUBSCRIBE', 'PSUBSCRIBE', 'SSUBSCRIBE', 'MONITOR', 'SYNC', 'PSYNC']);

/**
 * @param {string[]} command
 * @returns {boolean} whether it runs a script or a function
 */
export function scriptCalls([name = '']) {
  return /^(?:EVAL|EVALSHA|FCALL)(?:_RO)?$/i.test(name);
}

/** @returns {true} */
export function everyCommand() {
  return true;
}

/**
 * Starts a TCP proxy on a free port of 127.0.0.1, in front of a server, with faults that tests switch while it runs.
 * Proxies can be chained to combine faults.
 *
 * @param {{ port: number, host?: string }} target such as a `RedisServer`; need not listen yet
 * @returns {Promise<FaultProxy>}
 * @example
 * const proxy = await startFaultProxy(redis);
 * const client = new Redis(proxy.url);
 * await proxy.stall();
 * await proxy.pass();
 * await proxy.reply('-BUSY Redis is busy running a script.');
 * await proxy.close();
 */
export async function startFaultProxy(target) {
  for (let attempt = 1; ; attempt++) {
    const proxy = new FaultProxy(target.host ?? '127.0.0.1', target.port, await freePort());
    try {
      await proxy.pass();
      return proxy;
    } catch (error) {
      if (attempt === 5) throw error;
    }
  }
}

/**
 * One fault is on at a time, from the call of its method until `pass()`. Commands and connections already hit stay hit.
 * A connection whose replies are partly missing cannot be repaired; the next change ends it.
 *
 * Traffic other than the plain Redis protocol (TLS, inline commands), and all traffic after a subscription or
 * `MONITOR`, is forwarded as bytes. No commands are counted then, and only the faults `delay`, `stall`, `refuse` and
 * `cut` apply.
 */
export class FaultProxy {
  host = '127.0.0.1';
  /** @type {number} */
  port;
  /** `redis://127.0.0.1:<port>` @type {string} */
  url;
  /** Name of the current fault; `pass` without a fault. */
  fault = 'pass';

  /** @type {{ host: string, port: number }} */
  #target;
  /** @type {import('node:net').Server | undefined} */
  #listener;
  /** @type {Set<Relay>} */
  #relays = new Set();
  /** @type {NodeJS.Timeout | undefined} */
  #cutting;
  /** @type {(command: string[]) => Fate} */
  #fateOf = () => PASS;
  #connections = 0;
  #bytesFromClients = 0;
  #bytesFromServer = 0;
  #hits = 0;
  /** @type {Record<string, number>} */
  #commands = {};

  /**
   * @param {string} targetHost
   * @param {number} targetPort
   * @param {number} port
   */
  constructor(targetHost, targetPort, port) {
    this.#target = { host: targetHost, port: targetPort };
    this.port = port;
    this.url = `redis://${this.host}:${port}`;
  }

  /** Ends the fault. Forwards the bytes that a stall or a delay held back first. */
  async pass() {
    await this.#become('pass');
  }

  /**
   * Delays all bytes, in order.
   *
   * @param {number} toServerMs
   * @param {number} [toClientMs] the same
   */
  async delay(toServerMs, toClientMs = toServerMs) {
    await this.#become('delay', { toServerMs, toClientMs });
  }

  /** Accepts connections and keeps them open, but forwards nothing, either way, until the next change. */
  async stall() {
    await this.#become('stall', { held: true });
  }

  /** Ends connections and refuses new ones (`ECONNREFUSED`), as when the server's process is gone. */
  async refuse() {
    await this.#become('refuse', { listening: false });
    this.#cutAll(false);
  }

  /**
   * Ends all connections, now and then every `everyMs`; new connections work in between.
   *
   * @param {{ everyMs?: number, reset?: boolean }} [options] `reset`: with `ECONNRESET` instead of an orderly end
   */
  async cut({ everyMs, reset = false } = {}) {
    await this.#become(everyMs === undefined ? 'pass' : 'cut');
    this.#cutAll(reset);
    if (everyMs !== undefined)
      this.#cutting = setInterval(() => this.#cutAll(reset), everyMs).unref();
  }

  /**
   * The server executes commands, but their replies are lost. From the first hit on, the connection delivers no reply,
   * while its commands still reach the server.
   *
   * @param {Which & { cut?: boolean }} [options] `cut`: the connection ends in place of the first lost reply
   */
  async dropReplies({ cut = false, ...which } = {}) {
    await this.#hit('dropReplies', which, () => ({ kind: 'lost', cut }));
  }

  /**
   * The reply breaks off after `length` bytes, and from then on the connection is silent both ways.
   *
   * @param {number} length
   * @param {Which} [which]
   */
  async halfReply(length, which) {
    await this.#hit('halfReply', which, () => ({ kind: 'half', length }));
  }

  /**
   * The server executes the command, and the client receives these bytes in place of its reply.
   *
   * @param {string | Buffer} [bytes] default: not the Redis protocol
   * @param {Which} [which]
   */
  async garbage(bytes = 'HTTP/1.1 400 Bad Request\r\n\r\n', which) {
    await this.#hit('garbage', which, () => ({ kind: 'garbage', bytes: Buffer.from(bytes) }));
  }

  /**
   * Answers in place of the server, which never sees these commands. All other commands reach it, and the order of
   * replies is kept.
   *
   * @param {string | ((command: string[]) => string | undefined)} answer a reply as on the wire, such as
   *   `-LOADING Redis is loading the dataset in memory`, the line's end may be left out; a function may answer
   *   `undefined` to let a command through
   * @param {Which} [which]
   */
  async reply(answer, which) {
    await this.#hit('reply', which, (command) => {
      const text = typeof answer === 'string' ? answer : answer(command);
      if (text === undefined) return PASS;
      return { kind: 'instead', bytes: Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`) };
    });
  }

  /**
   * Counts traffic since the start or `resetCounts()`. `open` counts the connections open now, `hits` the commands that
   * a fault has hit. `commands` counts by upper-case name, whether hit or not.
   *
   * @returns {{ connections: number, open: number, bytesFromClients: number, bytesFromServer: number, hits: number, commands: Record<string, number> }}
   */
  get counts() {
    return {
      connections: this.#connections,
      open: this.#relays.size,
      bytesFromClients: this.#bytesFromClients,
      bytesFromServer: this.#bytesFromServer,
      hits: this.#hits,
      commands: { ...this.#commands },
    };
  }

  resetCounts() {
    this.#connections = 0;
    this.#bytesFromClients = 0;
    this.#bytesFromServer = 0;
    this.#hits = 0;
    this.#commands = {};
  }

  /** Ends all connections and closes the port. */
  async close() {
    await this.refuse();
    this.fault = 'closed';
  }

  /**
   * @param {string} fault
   * @param {Which | undefined} which
   * @param {(command: string[]) => Fate} fate
   */
  async #hit(fault, { only = scriptCalls, times = Infinity } = {}, fate) {
    let left = times;
    await this.#become(fault, {
      fateOf: (command) => {
        if (left <= 0 || !only(command)) return PASS;
        const decided = fate(command);
        if (decided.kind !== 'pass') {
          left -= 1;
          this.#hits += 1;
        }
        return decided;
      },
    });
  }

  /**
   * @param {string} fault
   * @param {{ listening?: boolean, held?: boolean, toServerMs?: number, toClientMs?: number, fateOf?: (command: string[]) => Fate }} [how]
   */
  async #become(
    fault,
    { listening = true, held = false, toServerMs = 0, toClientMs = 0, fateOf = () => PASS } = {},
  ) {
    if (this.fault === 'closed') throw new Error('the proxy is closed');
    clearInterval(this.#cutting);
    this.fault = fault;
    this.#fateOf = fateOf;
    this.#lanes = { held, toServerMs, toClientMs };
    for (const relay of this.#relays) {
      if (relay.broken) relay.end(false);
      else relay.set(this.#lanes);
    }
    if (listening) await this.#listen();
    else await this.#stopListening();
  }

  /** @type {{ held: boolean, toServerMs: number, toClientMs: number }} */
  #lanes = { held: false, toServerMs: 0, toClientMs: 0 };

  async #listen() {
    if (this.#listener) return;
    const listener = createServer({ noDelay: true }, (client) => this.#accept(client));
    this.#listener = listener;
    try {
      await new Promise((resolve, reject) => {
        listener.once('error', reject);
        listener.listen(this.port, this.host, () => resolve(undefined));
      });
    } catch (error) {
      this.#listener = undefined;
      throw error;
    }
    listener.unref();
  }

  async #stopListening() {
    const listener = this.#listener;
    this.#listener = undefined;
    // The callback of `close` would wait for the connections, which the caller ends next. The port is free at once.
    listener?.close();
  }

  /** @param {import('node:net').Socket} client */
  #accept(client) {
    this.#connections += 1;
    const relay = new Relay(client, connect({ ...this.#target, noDelay: true }), {
      bytesFromClient: (count) => (this.#bytesFromClients += count),
      bytesFromServer: (count) => (this.#bytesFromServer += count),
      fateOf: (command) => {
        const name = (command[0] ?? '').toUpperCase();
        this.#commands[name] = (this.#commands[name] ?? 0) + 1;
        return this.#fateOf(command);
      },
      ended: () => this.#relays.delete(relay),
    });
    relay.set(this.#lanes);
    this.#relays.add(relay);
  }

  /** @param {boolean} reset */
  #cutAll(reset) {
    for (const relay of this.#relays) relay.end(reset);
  }
}

/**
 * @typedef {object} Watcher
 * @property {(count: number) => void} bytesFromClient
 * @property {(count: number) => void} bytesFromServer
 * @property {(command: string[]) => Fate} fateOf
 * @property {() => void} ended
 */

/** One client's connection, and its connection to the server. */
class Relay {
  /** Whether replies are partly missing, so that the connection is unusable. */
  broken = false;

  #client;
  #server;
  #watcher;
  #toServer;
  #toClient;
  #requests = new Splitter();
  #replies = new Splitter();
  /** Fates of the commands not yet answered, in order. @type {Fate[]} */
  #expected = [];
  #asBytes = false;
  #deaf = false;
  #ended = false;

  /**
   * @param {import('node:net').Socket} client
   * @param {import('node:net').Socket} server
   * @param {Watcher} watcher
   */
  constructor(client, server, watcher) {
    this.#client = client.unref();
    this.#server = server.unref();
    this.#watcher = watcher;
    this.#toServer = new Lane(server);
    this.#toClient = new Lane(client);
    client.on('data', (chunk) => {
      watcher.bytesFromClient(chunk.length);
      this.#fromClient(chunk);
    });
    server.on('data', (chunk) => {
      watcher.bytesFromServer(chunk.length);
      this.#fromServer(chunk);
    });
    // The end is queued like bytes: bytes sent before it still arrive, even after a stall or a delay.
    for (const [from, lane] of /** @type {const} */ ([
      [client, this.#toServer],
      [server, this.#toClient],
    ])) {
      from.on('error', () => {});
      from.once('end', () => lane.finish());
      from.once('close', () => {
        lane.finish();
        if (client.destroyed && server.destroyed) this.#over();
      });
    }
  }

  /** @param {{ held: boolean, toServerMs: number, toClientMs: number }} how */
  set({ held, toServerMs, toClientMs }) {
    this.#toServer.set(held, toServerMs);
    this.#toClient.set(held, toClientMs);
  }

  /** @param {boolean} reset */
  end(reset) {
    if (reset) this.#client.resetAndDestroy();
    else this.#client.destroy();
    this.#server.destroy();
    this.#over();
  }

  #over() {
    if (this.#ended) return;
    this.#ended = true;
    this.#toServer.drop();
    this.#toClient.drop();
    this.#watcher.ended();
  }

  /** @param {Buffer} chunk */
  #fromClient(chunk) {
    if (this.#deaf) return;
    if (this.#asBytes) return this.#toServer.send(chunk);
    /** @type {Buffer[]} */
    const onward = [];
    for (const { bytes, value } of this.#requests.split(chunk)) {
      const command = Array.isArray(value) ? value.map(String) : [];
      const fate = this.#watcher.fateOf(command);
      this.#expected.push(fate);
      if (fate.kind !== 'instead') onward.push(bytes);
      if (STREAMING.has((command[0] ?? '').toUpperCase())) this.#asBytes = true;
    }
    if (this.#requests.foreign) this.#asBytes = true;
    if (this.#asBytes) onward.push(this.#requests.rest());
    if (onward.length > 0) this.#toServer.send(Buffer.concat(onward));
    this.#answerInstead();
  }

  /** @param {Buffer} chunk */
  #fromServer(chunk) {
    if (this.broken) return;
    if (this.#asBytes) return this.#toClient.send(Buffer.concat([this.#replies.rest(), chunk]));
    for (const { bytes, push } of this.#replies.split(chunk)) {
      const fate = (push ? undefined : this.#expected.shift()) ?? PASS;
      switch (fate.kind) {
        case 'lost':
          this.broken = true;
          if (fate.cut) this.end(false);
          return;
        case 'half':
          this.#toClient.send(bytes.subarray(0, fate.length));
          this.broken = true;
          this.#deaf = true;
          return;
        case 'garbage':
          this.#toClient.send(fate.bytes);
          break;
        case 'pass':
        case 'instead':
          this.#toClient.send(bytes);
          break;
      }
      this.#answerInstead();
    }
    if (this.#replies.foreign) {
      this.#asBytes = true;
      this.#toClient.send(this.#replies.rest());
    }
  }

  /** The proxy's own answer waits until the server has answered all earlier commands. */
  #answerInstead() {
    if (this.broken) return;
    for (let next = this.#expected[0]; next?.kind === 'instead'; next = this.#expected[0]) {
      this.#toClient.send(next.bytes);
      this.#expected.shift();
    }
  }
}

/** Splits a stream into whole values of the Redis protocol, whatever its chunks. */
class Splitter {
  /** Whether the stream is not the Redis protocol. */
  foreign = false;
  /** @type {Buffer} */
  #rest = Buffer.alloc(0);

  /**
   * @param {Buffer} chunk
   * @returns {{ bytes: Buffer, value: import('./resp.mjs').Reply, push: boolean }[]} the values complete so far
   */
  split(chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const values = [];
    let at = 0;
    try {
      for (let read = readValue(bytes, at); read; read = readValue(bytes, at)) {
        values.push({ bytes: bytes.subarray(at, read.end), value: read.value, push: read.push });
        at = read.end;
      }
    } catch {
      this.foreign = true;
    }
    this.#rest = bytes.subarray(at);
    return values;
  }

  /** Takes out the incomplete rest. */
  rest() {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest;
  }
}

/** One direction: bytes arrive in order, after a delay, or not at all while held. */
class Lane {
  #to;
  #held = false;
  #delayMs = 0;
  /** `undefined` is the end. @type {{ due: number, bytes: Buffer | undefined }[]} */
  #queue = [];
  #finished = false;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** @param {import('node:net').Socket} to */
  constructor(to) {
    this.#to = to;
  }

  /**
   * @param {boolean} held
   * @param {number} delayMs of bytes sent from now on
   */
  set(held, delayMs) {
    this.#held = held;
    this.#delayMs = delayMs;
    this.#deliver();
  }

  /** @param {Buffer} bytes */
  send(bytes) {
    if (this.#finished || bytes.length === 0) return;
    this.#queue.push({ due: performance.now() + this.#delayMs, bytes });
    this.#deliver();
  }

  finish() {
    if (this.#finished) return;
    this.#finished = true;
    this.#queue.push({ due: performance.now() + this.#delayMs, bytes: undefined });
    this.#deliver();
  }

  drop() {
    this.#finished = true;
    this.#queue.length = 0;
    clearTimeout(this.#timer);
  }

  #deliver() {
    clearTimeout(this.#timer);
    if (this.#held) return;
    for (let next = this.#queue[0]; next; next = this.#queue[0]) {
      const early = next.due - performance.now();
      if (early > 0) {
        this.#timer = setTimeout(() => this.#deliver(), early);
        return;
      }
      this.#queue.shift();
      if (next.bytes) this.#to.write(next.bytes);
      else this.#to.destroySoon();
    }
  }
}
