// @ts-check
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { unpackDebian } from './debian-package.mjs';

/** @typedef {'promtool' | 'prometheus'} Program */

const OTHERWISE =
  'Install Prometheus so that `promtool` is on the PATH: `apt-get install prometheus`, `brew install prometheus`, `apk add prometheus`.';

/**
 * The path of a Prometheus program: from the PATH, or else from Debian's package, unpacked into a cache of this user.
 * Installs nothing and starts no service. Throws with advice if neither is possible.
 *
 * @param {Program} program
 * @returns {string}
 * @example
 * const { status, stderr } = spawnSync(findPrometheus('promtool'), ['check', 'metrics'], { input: await register.metrics() });
 */
export function findPrometheus(program) {
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined) return program;
  return join(unpackDebian('prometheus', ['prometheus'], OTHERWISE), 'usr/bin', program);
}
