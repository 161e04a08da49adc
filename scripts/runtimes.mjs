/**
 * The other runtimes that the package is tested on. Each has a folder under test/installs and comes from npm, installed
 * when it is first needed. A download is 42 to 57 MB and takes 90 to 210 MB of disk.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { ensurePackagesOf, root } from './bootstrap.mjs';

const { platform, arch } = process;

/** Path of the program in each package that has one for this platform. @type {Record<string, readonly string[]>} */
const PROGRAMS = {
  node: [`node-${platform}-${arch}/bin/node`, `node-bin-${platform}-${arch}/bin/node`],
  bun: [`@oven/bun-${platform}-${arch === 'arm64' ? 'aarch64' : arch}/bin/bun`],
  deno: [
    `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}/deno${platform === 'win32' ? '.exe' : ''}`,
  ],
  workerd: [`@cloudflare/workerd-${platform}-${arch === 'x64' ? '64' : arch}/bin/workerd`],
};

/**
 * @param {string} name a folder of test/installs: `node-22`, `bun`
 * @returns {string | undefined} the program; undefined where npm has none for this platform
 */
export function installRuntime(name) {
  const folder = path.join(root, 'test/installs', name);
  ensurePackagesOf(folder, name);
  const [kind = ''] = name.split('-');
  return (PROGRAMS[kind] ?? [])
    .map((program) => path.join(folder, 'node_modules', program))
    .find((program) => existsSync(program));
}
