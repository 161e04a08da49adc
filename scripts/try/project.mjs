/** A user's project: an empty temporary folder with the packed package and the user's other packages. */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { startCommand } from '../../test/kit/servers/command.mjs';
import { own, privateFolder } from '../../test/kit/servers/index.mjs';
import { withVersion } from './versions.mjs';

/** @typedef {{ code: number | null, printed: string, output: string }} Ended `output` has what went to stderr as well */

/** Variables that npm, vitest and CI set; a user's environment does not have them. */
function environment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_|VITEST|NODE_|CI$|REDIS_URL$|PORT$|FORCE_COLOR$)/i.test(name),
    ),
  );
}

export class Project {
  folder = privateFolder('try');
  #tarball;
  #redisUrl;
  /** @type {import('../../test/kit/servers/command.mjs').Running[]} */
  #running = [];

  /**
   * @param {string} tarball
   * @param {string} redisUrl
   * @param {'module' | 'commonjs'} type of the project's `.js` files
   */
  constructor(tarball, redisUrl, type) {
    this.#tarball = tarball;
    this.#redisUrl = redisUrl;
    this.write('package.json', `{ "name": "newcomer", "private": true, "type": "${type}" }`);
  }

  /**
   * @param {string} file
   * @param {string} text
   */
  write(file, text) {
    const target = path.join(this.folder, file);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text);
  }

  /**
   * Runs `npm install` for the packed package and these packages, by name or `name@version`.
   *
   * @param {readonly string[]} names
   */
  install(...names) {
    const flags = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
    const packages = names.map((name) => withVersion(name));
    return this.run(['npm', 'install', ...flags, this.#tarball, ...packages]);
  }

  /**
   * Runs a program of the project to its end. Finds the programs of packages as npm's scripts do.
   *
   * @param {readonly string[]} command
   * @param {{ env?: Record<string, string>, timeoutMs?: number }} [options]
   * @returns {Promise<Ended>} `code` is null where it was ended for taking longer than `timeoutMs`, 10 minutes
   */
  async run([program = '', ...args], { env = {}, timeoutMs = 600_000 } = {}) {
    const child = own(
      spawn(program, args, {
        cwd: this.folder,
        env: this.#env(env),
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let printed = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => {
      printed += chunk;
      output += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => (output += chunk));
    const code = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    clearTimeout(timer);
    return { code, printed, output };
  }

  /**
   * Starts a program that keeps running until the project ends it.
   *
   * @param {readonly string[]} command
   * @param {Record<string, string>} [env]
   */
  start(command, env = {}) {
    const running = startCommand(command, this.#env(env), this.folder);
    this.#running.push(running);
    return running;
  }

  /**
   * Starts a server that prints `listening <port>`.
   * @param {readonly string[]} command
   * @param {Record<string, string>} [env]
   * @returns {Promise<{ url: string, pid: number, output: () => string, close: () => Promise<unknown> }>}
   */
  async serve(command, env = {}) {
    const running = this.start(command, env);
    const [, port] = await running.printed(/listening (\d+)/);
    const { pid, output, close } = running;
    return { url: `http://127.0.0.1:${port}`, pid, output, close };
  }

  async close() {
    await Promise.all(this.#running.map((running) => running.close()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** @param {Record<string, string>} env */
  #env(env) {
    const bin = path.join(this.folder, 'node_modules', '.bin');
    return {
      ...environment(),
      PATH: `${bin}${path.delimiter}${process.env['PATH']}`,
      NO_COLOR: '1',
      REDIS_URL: this.#redisUrl,
      ...env,
    };
  }
}
