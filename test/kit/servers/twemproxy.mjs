// @ts-check
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { unpackDebian } from './debian-package.mjs';
import { freePort } from './free-port.mjs';
import { own, privateFolder } from './reaper.mjs';
import { waitUntil } from './wait-until.mjs';

/**
 * @typedef {object} Twemproxy
 * @property {string} host
 * @property {number} port
 * @property {string} url
 * @property {() => Promise<void>} close
 */

/**
 * Starts a real Twemproxy, which shares the keys out over independent servers. The program `nutcracker` comes from the
 * PATH, or else from Debian's package, which is unpacked and not installed.
 *
 * @param {readonly { host: string, port: number }[]} servers
 * @param {{ hashTags?: boolean }} [options] whether only the text between `{` and `}` of a key counts (false)
 * @returns {Promise<Twemproxy>}
 */
export async function startTwemproxy(servers, { hashTags = false } = {}) {
  const { program, env } = findNutcracker();
  const [port, stats] = [await freePort(), await freePort()];
  const folder = privateFolder('twemproxy');
  const config = join(folder, 'nutcracker.yml');
  writeFileSync(
    config,
    [
      'test:',
      `  listen: 127.0.0.1:${port}`,
      '  hash: fnv1a_64',
      ...(hashTags ? ['  hash_tag: "{}"'] : []),
      '  distribution: ketama',
      '  auto_eject_hosts: false',
      '  timeout: 1000',
      '  redis: true',
      '  servers:',
      ...servers.map(({ host, port: each }) => `   - ${host}:${each}:1`),
      '',
    ].join('\n'),
  );
  const files = { c: config, o: join(folder, 'log'), p: join(folder, 'pid') };
  const options = { ...files, a: '127.0.0.1', s: String(stats) };
  const args = Object.entries(options).flatMap(([flag, value]) => [`-${flag}`, value]);
  const child = own(spawn(program, args, { cwd: folder, env, stdio: 'ignore' }));
  child.unref();
  let ended = false;
  const gone = new Promise((resolve) => {
    child.once('exit', resolve).once('error', resolve);
  }).then(() => (ended = true));
  const close = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  try {
    await waitUntil('Twemproxy', () => answers(port), { giveUp: () => ended });
  } catch (error) {
    await close();
    throw error;
  }
  return { host: '127.0.0.1', port, url: `redis://127.0.0.1:${port}`, close };
}

function findNutcracker() {
  const { env } = process;
  if (spawnSync('nutcracker', ['--version'], { stdio: 'ignore' }).error === undefined) {
    return { program: 'nutcracker', env };
  }
  const advice = 'Install it so that `nutcracker` is on the PATH: `apt-get install nutcracker`.';
  const folder = unpackDebian('twemproxy', ['nutcracker', 'libyaml-0-2'], advice);
  const libraries = join(folder, 'usr/lib');
  const [platform = ''] = readdirSync(libraries).filter((name) => name.includes('-linux-'));
  return {
    program: join(folder, 'usr/sbin/nutcracker'),
    env: { ...env, LD_LIBRARY_PATH: join(libraries, platform) },
  };
}

/** @param {number} port @returns {Promise<boolean>} */
function answers(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (/** @type {boolean} */ result) => () => {
      socket.destroy();
      resolve(result);
    };
    socket.on('connect', end(true)).on('error', end(false));
  });
}
