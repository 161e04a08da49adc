import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = new URL('../..', import.meta.url);

/** Errors of the page, as the script that generates it reports them; empty if there are none. */
function complaint(script: string): string {
  const { status, stderr } = spawnSync(process.execPath, [`scripts/${script}`, '--check'], {
    cwd: fileURLToPath(root),
    encoding: 'utf8',
  });
  return status === 0 ? '' : stderr;
}

function read(file: string): string {
  return readFileSync(new URL(file, root), 'utf8');
}

test('the picture matches what the algorithms admit', () => {
  expect(complaint('draw-limits.mjs')).toBe('');
});

test('the table of errors matches what the sliding window admits', () => {
  expect(complaint('window-error.mjs')).toBe('');
});

test('the page shows the picture with a dark variant and a text alternative', () => {
  expect(read('docs/which-limit.md')).toContain('](which-limit.svg)');
  const picture = read('docs/which-limit.svg');
  expect(picture).toContain('@media (prefers-color-scheme: dark)');
  expect(picture).toMatch(/role="img" aria-label="[^"]+"/);
  // Each row names a limit, the calls that passed, and the worst window.
  expect(picture.match(/class="name"/g)).toHaveLength(5);
  expect(picture.match(/class="count/g)).toHaveLength(10);
});
