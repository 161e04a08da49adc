/**
 * Run after changing a dependency: `node scripts/complete-lock.mjs`. A registry mirror may hold native binaries of its
 * own platform only. npm then leaves the others out of package-lock.json, and `npm ci` refuses that file on every
 * platform. The tools pin their binaries exactly and name them by platform, so this script can write the missing
 * entries. Only the hash stays out, because it needs the binary itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './bootstrap.mjs';

const file = path.join(root, 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const before = Object.keys(lock.packages).length;

for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    lock.packages[`node_modules/${name}`] ??= { version, ...describe(name, parent) };
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
lock.packages = Object.fromEntries(sorted);
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${sorted.length - before} entries added`);

/**
 * @param {string} name such as `@oxlint/binding-linux-x64-musl`
 * @param {{ license?: string, engines?: object }} parent
 */
function describe(name, { license, engines }) {
  const [, os, cpu, abi] =
    /(android|darwin|freebsd|linux|openharmony|win32)-(arm64|arm|x64|ia32|ppc64|riscv64|s390x)(?:-(\w+))?$/.exec(
      name,
    ) ?? [];
  if (os === undefined) throw new Error(`${name}: the name has no platform`);
  const libc = os === 'linux' && (abi === 'gnu' ? 'glibc' : abi === 'musl' ? 'musl' : undefined);
  return {
    cpu: [cpu],
    dev: true,
    ...(libc ? { libc: [libc] } : {}),
    license,
    optional: true,
    os: [os],
    engines,
  };
}
