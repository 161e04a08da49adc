// @ts-check
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureServer } from '../../../scripts/servers.mjs';
import { freePort } from './free-port.mjs';
import { own, privateFolder } from './reaper.mjs';
import { openResp } from './resp.mjs';
import { makeCertificates } from './tls-certificates.mjs';
import { waitUntil } from './wait-until.mjs';

/**
 * @typedef {object} RedisOptions
 * @property {string} [binary] the program; default `$REDIS_SERVER`, else the server that `$DRL_SERVER` names (`valkey-9`,
 *   see scripts/servers.mjs), else `redis-server` from the PATH
 * @property {Readonly<Record<string, string | number | readonly string[]>>} [config] lines of the configuration file,
 *   by name, over the kit's own; several lines of one name as an array: `{ maxmemory: '1mb', user: ['a on …', 'b on …'] }`
 * @property {string} [password] of the default user
 * @property {readonly string[]} [users] ACL users, each as in `ACL SETUSER`: `'app on >secret ~app:* +eval'`
 * @property {boolean} [tls] listen with TLS only; what a client needs is in `tls` of the server
 * @property {{ env: Record<string, string> }} [clock] a clock of `createSteppedClock()`
 * @property {boolean} [sentinel] run as a Sentinel
 * @property {Readonly<Record<string, string>>} [env] more environment variables for the server
 */

/** @typedef {{ calls: number, usec: number, rejected: number, failed: number }} CommandStat */

/**
 * Starts a real Redis server for a test: on a free port of 127.0.0.1, in a private folder, with nothing saved, and
 * with `DEBUG` allowed. It answers `PING` when the promise resolves. It ends with this process at the latest.
 *
 * @param {RedisOptions} [options]
 * @returns {Promise<RedisServer>}
 * @example
 * const redis = await startRedis();
 * await redis.command('SET', 'greeting', 'hello');
 * await redis.close();
 */
export async function startRedis(options = {}) {
  for (let attempt = 1; ; attempt++) {
    const server = new RedisServer(await freePort(), options);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.close();
      // Another process may take the port between finding it free and listening on it.
      const lostThePort =
        error instanceof Error && error.message.includes('Address already in use');
      if (!lostThePort || attempt === 5) throw error;
    }
  }
}

/**
 * Explains why no server can be started here, for the name of a skipped test. Undefined if one can.
 *
 * @param {string} [binary]
 * @returns {string | undefined}
 */
export function redisMissing(binary = defaultBinary()) {
  const { error } = spawnSync(binary, ['--version']);
  return error ? `no ${binary} on this machine` : undefined;
}

/** One server: running, killed or stopped. Made by `startRedis`. */
export class RedisServer {
  /** @type {number} */
  port;
  host = '127.0.0.1';
  /** Configuration, log and data; removed by `close()`. @type {string} */
  dir;
  /** A unix socket of the same server. @type {string} */
  socketPath;
  /** Where a client connects to, password included: `redis://:secret@127.0.0.1:20123`, or `rediss://`. @type {string} */
  url;
  /**
   * For a TLS server: the PEM texts a client needs, in the form that `tls.connect` takes.
   * @type {{ ca: string, cert: string, key: string } | undefined}
   */
  tls;
  /**
   * For a TLS server: the environment in which a Node process trusts it.
   * @type {{ NODE_EXTRA_CA_CERTS: string } | undefined}
   */
  trusting;

  /** Whether the process is frozen, between `stop()` and `cont()`. */
  stopped = false;

  /** @type {RedisOptions} */
  #options;
  /** @type {string} */
  #binary;
  #controlUser = `kit-${randomBytes(4).toString('hex')}`;
  #controlPassword = randomBytes(16).toString('hex');
  #needsLogin;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;
  /** @type {import('./resp.mjs').RespConnection | undefined} */
  #control;

  /**
   * @param {number} port
   * @param {RedisOptions} [options]
   */
  constructor(port, options = {}) {
    this.port = port;
    this.#options = options;
    this.#binary = options.binary ?? defaultBinary();
    this.#needsLogin = [
      options.password,
      options.users,
      options.config?.['user'],
      options.config?.['requirepass'],
    ].some((access) => access !== undefined);
    this.dir = privateFolder('redis');
    this.socketPath = join(this.dir, 'redis.sock');
    const login = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`;
    this.url = `${options.tls ? 'rediss' : 'redis'}://${login}${this.host}:${port}`;
    this.#writeConfig();
  }

  /** Of the running process; 0 when none runs. */
  get pid() {
    return this.#child?.pid ?? 0;
  }

  /** Whether it should answer: neither killed nor stopped. */
  get answers() {
    return this.#child !== undefined && !this.stopped;
  }

  /** Starts the process again after `kill()`, on the same port and with the data that is in `dir`. */
  async start() {
    if (this.#child) return;
    rmSync(this.socketPath, { force: true });
    const logFile = join(this.dir, 'redis.log');
    const log = openSync(logFile, 'w');
    const child = own(
      spawn(
        this.#binary,
        [join(this.dir, 'redis.conf'), ...(this.#options.sentinel ? ['--sentinel'] : [])],
        {
          cwd: this.dir,
          stdio: ['ignore', log, log],
          env: { ...process.env, ...this.#options.env, ...this.#options.clock?.env },
          // Has its own process group: Ctrl-C in a terminal is for the program under test, which may still need Redis
          // to close.
          detached: true,
        },
      ),
    );
    closeSync(log);
    // A test that forgets `close()` must still be able to end.
    child.unref();
    this.#child = child;
    /** @type {string | undefined} */
    let ended;
    child.once('error', (error) => (ended = error.message));
    child.once('exit', (code, signal) => {
      ended ??= `it ended with ${signal ?? `code ${code}`}`;
      if (this.#child !== child) return;
      this.#child = undefined;
      this.stopped = false;
    });

    try {
      this.#control = await waitUntil(
        `${this.#binary} on port ${this.port}`,
        () => this.#connect(),
        { everyMs: 5, giveUp: () => ended !== undefined },
      );
    } catch (error) {
      await this.kill();
      const logged = readFileSync(logFile, 'utf8').trim().split('\n').slice(-5).join('\n');
      throw new Error(`${this.#binary} did not start: ${ended ?? 'no answer'}\n${logged}`, {
        cause: error,
      });
    }
  }

  /**
   * Sends a command over a connection of the kit's own and returns the decoded reply. An error reply rejects with
   * `RespError`. While the server is stopped it rejects after 10 s.
   *
   * @param {...(string | number | Buffer)} args
   * @returns {Promise<any>}
   */
  async command(...args) {
    if (!this.#child) throw new Error('the server is not running');
    // A test may have ended the connection on purpose: CLIENT KILL, a full `maxclients`, a slow command.
    this.#control = await (this.#control && !this.#control.closed
      ? this.#control
      : this.#connect());
    return this.#control.command(...args);
  }

  /**
   * Freezes the process: connections stay open, the kernel accepts new ones, and nothing is answered. Resolves when it
   * is frozen.
   */
  async stop() {
    this.#signal('SIGSTOP');
    this.stopped = true;
    if (process.platform !== 'linux') return;
    await waitUntil('the process to stand still', () => processState(this.pid) === 'T', {
      everyMs: 1,
    });
  }

  /** Resumes a stopped process. Resolves when it answers again. */
  async cont() {
    this.#signal('SIGCONT');
    this.stopped = false;
    await this.command('PING');
  }

  /** Kills the process, as a crash would. Resolves when it is gone. */
  async kill() {
    const child = this.#child;
    this.#control?.close();
    this.#control = undefined;
    if (!child) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.ref();
    child.kill('SIGKILL');
    await gone;
  }

  /**
   * Kills and starts again on the same port.
   *
   * @param {{ keepData?: boolean, downMs?: number }} [options] `keepData`: with the keys it had (default: empty);
   *   `downMs`: how long it stays away in between (0)
   */
  async restart({ keepData = false, downMs = 0 } = {}) {
    if (keepData && this.#child) await this.command('SAVE');
    await this.kill();
    if (!keepData) rmSync(join(this.dir, 'dump.rdb'), { force: true });
    if (downMs > 0) await new Promise((resolve) => setTimeout(resolve, downMs));
    await this.start();
  }

  /** Ends the process and removes its folder. Does nothing if already closed. */
  async close() {
    // Sends SIGKILL, not SIGTERM: nothing here is worth saving, and a stopped or busy server would not react.
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /**
   * Parses the lines of `INFO`.
   *
   * @param {string} [section]
   * @returns {Promise<Record<string, string>>}
   */
  async info(section = 'default') {
    /** @type {Record<string, string>} */
    const lines = {};
    for (const line of String(await this.command('INFO', section)).split('\r\n')) {
      const colon = line.indexOf(':');
      if (colon > 0 && !line.startsWith('#')) lines[line.slice(0, colon)] = line.slice(colon + 1);
    }
    return lines;
  }

  /**
   * Counts the keys of all databases, and those with a TTL. Equal numbers mean that every key expires.
   *
   * @returns {Promise<{ keys: number, expires: number }>}
   */
  async keyCounts() {
    let keys = 0;
    let expires = 0;
    for (const line of Object.values(await this.info('keyspace'))) {
      const fields = fieldsOf(line);
      keys += Number(fields['keys']);
      expires += Number(fields['expires']);
    }
    return { keys, expires };
  }

  /**
   * Lists the keys of database 0 without a TTL.
   *
   * @returns {Promise<string[]>}
   */
  async keysWithoutTtl() {
    /** @type {string[]} */
    const immortal = [];
    let cursor = '0';
    do {
      /** @type {[string, string[]]} */
      const [next, keys] = await this.command('SCAN', cursor, 'COUNT', 1000);
      const ttls = await Promise.all(keys.map((key) => this.command('PTTL', key)));
      immortal.push(...keys.filter((_, i) => ttls[i] === -1));
      cursor = next;
    } while (cursor !== '0');
    return [...new Set(immortal)];
  }

  /**
   * The processor time that the server has used since its start, in microseconds: all threads, user and system.
   *
   * @returns {Promise<number>}
   */
  async cpuMicros() {
    const cpu = await this.info('cpu');
    return Math.round((Number(cpu['used_cpu_user']) + Number(cpu['used_cpu_sys'])) * 1e6);
  }

  /**
   * Counts executed commands by lower-case name (`evalsha`, `config|get`), since the start or since `CONFIG RESETSTAT`.
   * `calls` counts executions, `rejected` commands that never ran, `failed` those that ended in an error.
   *
   * @returns {Promise<Record<string, CommandStat>>}
   */
  async commandStats() {
    /** @type {Record<string, CommandStat>} */
    const stats = {};
    for (const [name, line] of Object.entries(await this.info('commandstats'))) {
      const fields = fieldsOf(line);
      stats[name.replace(/^cmdstat_/, '')] = {
        calls: Number(fields['calls']),
        usec: Number(fields['usec']),
        rejected: Number(fields['rejected_calls'] ?? 0),
        failed: Number(fields['failed_calls'] ?? 0),
      };
    }
    return stats;
  }

  /**
   * Records every command that the server executes.
   *
   * @param {(line: string) => void} [onLine] each line as it comes
   * @returns {Promise<{ lines: string[], stop: () => void }>} `lines` collects them all
   */
  async monitor(onLine) {
    const connection = await this.#connect();
    /** @type {string[]} */
    const lines = [];
    connection.onUnasked((line) => {
      if (typeof line !== 'string') return;
      lines.push(line);
      onLine?.(line);
    });
    await connection.command('MONITOR');
    return { lines, stop: () => connection.close() };
  }

  /** @returns {Promise<import('./resp.mjs').RespConnection>} */
  async #connect() {
    // Uses the unix socket, not the port. It is in our own folder, so only our own server answers there, even when
    // another took the port. It needs no TLS.
    const connection = await openResp({ path: this.socketPath });
    try {
      if (this.#needsLogin)
        await connection.command('AUTH', this.#controlUser, this.#controlPassword);
      await connection.command('PING');
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** @param {NodeJS.Signals} signal */
  #signal(signal) {
    if (!this.#child?.kill(signal)) throw new Error('the server is not running');
  }

  #writeConfig() {
    const { config, password, users, tls, sentinel } = this.#options;
    /** @type {Record<string, string | number | readonly string[]>} */
    const lines = {
      bind: this.host,
      port: tls ? 0 : this.port,
      unixsocket: this.socketPath,
      dir: this.dir,
      save: '',
      appendonly: 'no',
      // A sync by way of the disk starts at once. A diskless one first waits for more replicas, and then up to a second
      // for the replica's answer before it sends newer writes.
      'repl-diskless-sync': 'no',
    };
    const major = majorVersion(this.#binary);
    if (major >= 7) lines['enable-debug-command'] = 'yes';
    // The configuration file quotes and escapes as JSON does.
    if (password !== undefined) lines['requirepass'] = JSON.stringify(password);
    if (tls) {
      const certificates = makeCertificates();
      this.tls = { ca: certificates.ca, cert: certificates.cert, key: certificates.key };
      this.trusting = { NODE_EXTRA_CA_CERTS: certificates.caFile };
      lines['tls-port'] = this.port;
      lines['tls-ca-cert-file'] = certificates.caFile;
      lines['tls-cert-file'] = certificates.certFile;
      lines['tls-key-file'] = certificates.keyFile;
      lines['tls-auth-clients'] = 'no';
    }
    Object.assign(lines, config);
    if (this.#needsLogin) {
      // A user of the kit's own, so that it keeps access whatever the test does to the default user.
      const control = `${this.#controlUser} on >${this.#controlPassword} ~* &* +@all`;
      lines['user'] = [control, ...(users ?? []), ...[lines['user'] ?? []].flat().map(String)];
    }
    if (sentinel) {
      delete lines['repl-diskless-sync'];
      delete lines['enable-debug-command'];
    }
    let text = '';
    for (const [name, value] of Object.entries(lines)) {
      for (const line of [value].flat()) text += `${name} ${line === '' ? '""' : line}\n`;
    }
    writeFileSync(join(this.dir, 'redis.conf'), text);
  }
}

/** @returns {string} */
function defaultBinary() {
  const { REDIS_SERVER: program, DRL_SERVER: name } = process.env;
  return program || (name ? ensureServer(name) : 'redis-server');
}

/** @type {Map<string, number>} */
const majorVersions = new Map();

/** @param {string} binary */
function majorVersion(binary) {
  let major = majorVersions.get(binary);
  if (major === undefined) {
    const { stdout, error } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
    if (error) {
      throw new Error(`cannot run ${binary}: install Redis, or name the program in REDIS_SERVER`, {
        cause: error,
      });
    }
    major = Number(/v=(\d+)/.exec(stdout)?.[1] ?? 7);
    majorVersions.set(binary, major);
  }
  return major;
}

/**
 * @param {string} line `a=1,b=2`
 * @returns {Record<string, string>}
 */
function fieldsOf(line) {
  return Object.fromEntries(line.split(',').map((field) => field.split('=', 2)));
}

/** @param {number} pid */
function processState(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The program's name is in parentheses and may itself contain some.
  return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
}
