import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('the picture and the sentence beside it match the figures that were measured', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/draw-local.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
});

test('no measured run let more pass than the limit, and prepaid units saved calls at each load', () => {
  const { figures } = JSON.parse(
    readFileSync(`${root}/docs/images/calls-over-load.json`, 'utf8'),
  ) as { figures: { load: number; prepay: boolean; asked: number; over: number }[] };
  expect(figures.map(({ over }) => over)).toEqual(figures.map(() => 0));
  expect(figures.filter(({ prepay }) => !prepay).map(({ asked }) => asked)).toEqual(
    Array(5).fill(1),
  );
  for (const { load, asked } of figures.filter(({ prepay }) => prepay)) {
    expect(asked, `at ${load} times the limit`).toBeLessThan(0.5);
  }
});

test('the picture has a dark variant and a text alternative', () => {
  const picture = readFileSync(`${root}/docs/images/calls-over-load.svg`, 'utf8');
  expect(picture).toContain('@media (prefers-color-scheme: dark)');
  expect(picture).toMatch(/role="img" aria-label="[^"]+"/);
});
