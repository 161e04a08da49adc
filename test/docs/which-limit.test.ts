import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = new URL('../..', import.meta.url);

/** What is wrong, by the script that made it; empty if nothing is. */
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

test('the picture shows what the algorithms do now', () => {
  expect(complaint('draw-limits.mjs')).toBe('');
});

test('the table of errors holds what the sliding window does now', () => {
  expect(complaint('window-error.mjs')).toBe('');
});

test('the picture is shown, is readable in the dark, and tells those who cannot see it what it is', () => {
  expect(read('docs/which-limit.md')).toContain('](which-limit.svg)');
  const picture = read('docs/which-limit.svg');
  expect(picture).toContain('@media (prefers-color-scheme: dark)');
  expect(picture).toMatch(/role="img" aria-label="[^"]+"/);
  // Each row names its limit and counts what passed, and the worst window.
  expect(picture.match(/class="name"/g)).toHaveLength(5);
  expect(picture.match(/class="count/g)).toHaveLength(10);
});
