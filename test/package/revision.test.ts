import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { releaseBefore } from '../../scripts/revision.mjs';
import { privateFolder } from '../kit/servers/index.mjs';

function git(repository: string, ...args: string[]) {
  const author = ['-c', 'user.name=nobody', '-c', 'user.email=nobody@example.org'];
  const { status, stderr, error } = spawnSync('git', [...author, ...args], {
    cwd: repository,
    encoding: 'utf8',
  });
  if (status !== 0) throw error ?? new Error(stderr);
}

const noGit = spawnSync('git', ['--version']).status !== 0;

/** Tags three commits, the last of them HEAD, and one commit on another branch. */
const histories = [
  ['none without tags', [[], [], []], [], undefined],
  ['none when only HEAD is tagged', [[], [], ['v0.1.0']], [], undefined],
  ['the one before HEAD when HEAD is a release', [['v0.1.0'], [], ['v0.2.0']], [], 'v0.1.0'],
  ['the last one when HEAD is not tagged', [['v0.1.0'], ['v0.2.0'], []], [], 'v0.2.0'],
  ['v0.10.0 after v0.9.0', [['v0.9.0'], ['v0.10.0'], []], [], 'v0.10.0'],
  ['a release before its candidate', [['v1.0.0-rc.1'], ['v1.0.0'], []], [], 'v1.0.0'],
  ['a candidate before the previous release', [['v1.0.0'], ['v1.1.0-rc.1'], []], [], 'v1.1.0-rc.1'],
  ['none from another branch', [['v0.1.0'], [], []], ['v0.3.0'], 'v0.1.0'],
  ['none when all tags have other names', [['nightly', 'vendor'], [], []], [], undefined],
] as const;

test.skipIf(noGit).for(histories)(
  'finds the release before this one: %s',
  ([name, commits, aside, expected]) => {
    const repository = privateFolder('tags');
    const commit = (tags: readonly string[]) => {
      git(repository, 'commit', '--quiet', '--allow-empty', '--message', name);
      for (const tag of tags) git(repository, 'tag', tag);
    };
    git(repository, 'init', '--quiet', '--initial-branch=main');
    for (const tags of commits) commit(tags);
    git(repository, 'checkout', '--quiet', '-b', 'aside', 'HEAD~1');
    commit(aside);
    git(repository, 'checkout', '--quiet', 'main');
    expect(releaseBefore(repository)).toBe(expected);
  },
);

test('finds no earlier release outside a repository', () => {
  expect(releaseBefore(privateFolder('tags'))).toBeUndefined();
});
