/** Builds earlier revisions of this library, to run or measure them beside the present one. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { root } from './bootstrap.mjs';

/** @param {string} folder @param {readonly string[]} args @returns what it printed; undefined where there is no git, or it refused */
function git(folder, ...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: folder, maxBuffer: 1 << 28 });
  return status === 0 ? stdout : undefined;
}

/**
 * The newest release before this checkout: the highest `v*` tag among HEAD's ancestors, HEAD itself excluded. Undefined
 * if there is no release, if the clone has no tags, or without git.
 *
 * @param {string} [folder] of the checkout
 * @returns {string | undefined}
 */
export function releaseBefore(folder = root) {
  const older = ['--merged=HEAD', '--no-contains=HEAD', '--list', 'v[0-9]*'];
  // Without the setting, git sorts 1.0.0-rc.1 after 1.0.0.
  const tags = git(
    folder,
    '-c',
    'versionsort.suffix=-',
    'tag',
    '--sort=-version:refname',
    ...older,
  );
  return tags?.toString().split('\n')[0] || undefined;
}

/**
 * Compiles a revision's sources into `folder`, one file from each, and returns the URL of its `dist`. Skips the type
 * check: the sources passed it once, and other versions of types would only cause errors. Uses this checkout's compiler
 * settings, because the oldest revisions have none.
 *
 * @param {string} revision any revision that git knows
 * @param {string} folder an empty one
 */
export function buildRevision(revision, folder) {
  const sources = git(root, 'archive', '--format=tar', `${revision}^{commit}`, 'src');
  if (sources === undefined) throw new Error(`git knows no revision '${revision}' with sources`);
  run('tar', ['-x', '-C', folder], sources);
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    copyFileSync(path.join(root, file), path.join(folder, file));
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const withoutTypes = [
    '--noCheck',
    '--isolatedDeclarations',
    'false',
    '--declaration',
    'false',
    '--declarationMap',
    'false',
  ];
  run(process.execPath, [tsc, '-p', path.join(folder, 'tsconfig.build.json'), ...withoutTypes]);
  return pathToFileURL(path.join(folder, 'dist')).href;
}

/** @param {string} command @param {readonly string[]} args @param {Buffer} [input] */
function run(command, args, input) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, maxBuffer: 1 << 28 });
  if (status !== 0) {
    throw new Error(
      `${command} failed: ${error?.message ?? Buffer.concat([stdout, stderr]).toString().slice(0, 2_000)}`,
    );
  }
}
