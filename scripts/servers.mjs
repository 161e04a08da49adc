/**
 * `node scripts/servers.mjs` brings the servers on which the tests also run, and prints their versions; names choose
 * some, and `--again` brings them again. They come as Debian packages with their own C library, and are started through
 * its own loader, so any Debian runs all of them. `DRL_SERVER=valkey-9 npm test -- <file>` runs tests on one.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { openSuite } from './debian.mjs';

/**
 * Each server's package, and the suites to look for its major version, the most lasting first.
 *
 * @type {Readonly<Record<string, { from: string, major: number, suites: readonly string[] }>>}
 */
export const SERVERS = {
  'redis-7': { from: 'redis-server', major: 7, suites: ['bookworm'] },
  'redis-8': { from: 'redis-server', major: 8, suites: ['trixie', 'forky', 'sid'] },
  'valkey-8': { from: 'valkey-server', major: 8, suites: ['trixie'] },
  'valkey-9': { from: 'valkey-server', major: 9, suites: ['forky', 'sid'] },
};

/** What a server needs of the packages it depends on; the others set up a whole system. */
const NEEDED = /^(?:lib(?!perl)|zlib|redis-|valkey-)/;

/** A user's cache, so that every checkout has them. */
const CACHE = path.join(
  process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'),
  'distributed-rate-limiter',
  'servers',
);

/**
 * Brings a server if it is not there yet. Takes up to a minute and 60 MB, and later no time.
 *
 * @param {string} name
 * @returns {string} the program; takes the arguments of `redis-server`
 * @throws where it cannot be had; the message says why
 */
export function ensureServer(name) {
  const server = SERVERS[name];
  if (server === undefined) {
    throw new Error(`No server is called ${name}; there are ${Object.keys(SERVERS).join(', ')}.`);
  }
  const folder = path.join(CACHE, name);
  const program = path.join(folder, 'server');
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const made = mkdtempSync(path.join(CACHE, 'new-'));
  try {
    unpack(server, path.join(made, 'root'));
    writeProgram(made, server.from);
    versionOf(path.join(made, 'server'));
    chmodSync(made, 0o755);
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    // Another process may have brought it meanwhile.
    if (existsSync(program)) return program;
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${name} cannot be had here: ${why}`, { cause: error });
  }
  return program;
}

/**
 * @param {string} program
 * @returns {string} `Valkey 9.1.2`
 */
export function versionOf(program) {
  const { stdout, stderr } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  const [, product, version] = /^(\w+) server v=(\S+)/.exec(stdout) ?? [];
  if (product === undefined) throw new Error(`it does not run: ${stderr.trim() || stdout.trim()}`);
  return `${product} ${version}`;
}

/**
 * @param {{ from: string, major: number, suites: readonly string[] }} server
 * @param {string} folder
 */
function unpack({ from, major, suites }, folder) {
  /** @type {string[]} */
  const found = [];
  for (const name of suites) {
    const suite = openSuite(name);
    try {
      const version = suite.versionOf(from) ?? 'none';
      found.push(`${name} has ${version}`);
      // An epoch may come first: `5:8.0.2-3`.
      if (Number(/^(?:\d+:)?(\d+)\./.exec(version)?.[1]) !== major) continue;
      suite.unpack(from, NEEDED, folder);
      return;
    } finally {
      suite.close();
    }
  }
  throw new Error(`Debian has no ${from} ${major}: ${found.join(', ')}`);
}

/**
 * Writes a program that starts the server through the loader beside it. The system's own C library may be older.
 *
 * @param {string} folder
 * @param {string} from
 */
function writeProgram(folder, from) {
  const root = path.join(folder, 'root');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
  // Beside it are links to it, which name a place outside this folder.
  const loader = files.find(
    (file) => /\/ld-linux[^/]*\.so\.\d+$/.test(file) && lstatSync(path.join(root, file)).isFile(),
  );
  if (loader === undefined) throw new Error('its packages have no loader');
  const folders = new Set(
    files.filter((file) => /\.so(?:\.\d+)*$/.test(file)).map((file) => path.dirname(file)),
  );
  // Deeper folders hold plug-ins of libraries.
  const libraries = [...folders].filter((each) => /^(?:usr\/)?lib\/[^/]+$/.test(each));
  const paths = libraries.map((each) => `$root/${each}`).join(':');
  const program = path.join(folder, 'server');
  writeFileSync(
    program,
    `#!/bin/sh
root="\${0%/*}/root"
exec "$root/${loader}" --library-path "${paths}" "$root/usr/bin/${from}" "$@"
`,
  );
  chmodSync(program, 0o755);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const given = process.argv.slice(2);
  const names = given.filter((argument) => argument !== '--again');
  for (const name of names.length > 0 ? names : Object.keys(SERVERS)) {
    if (given.includes('--again')) rmSync(path.join(CACHE, name), { recursive: true, force: true });
    try {
      const program = ensureServer(name);
      console.log(`${name.padEnd(9)} ${versionOf(program).padEnd(14)} ${program}`);
    } catch (error) {
      console.log(error instanceof Error ? error.message : error);
      process.exitCode = 1;
    }
  }
}
