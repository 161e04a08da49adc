import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const manifest: { name: string; exports: Record<string, unknown> } = JSON.parse(
  readFileSync(path.join(root, 'package.json'), 'utf8'),
);

/** All that can be imported, by the names that users write. */
export const entries: readonly string[] = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== './package.json')
  .map((subpath) => `${manifest.name}${subpath.slice(1)}`);

/** Puts the files that would be published into the project's node_modules. */
export function unpackInto(project: string): void {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('Run `npm run build` first.');
  const installed = path.join(project, 'node_modules', manifest.name);
  mkdirSync(installed, { recursive: true });
  const args = ['--ignore-scripts', '--loglevel=error', '--json', '--pack-destination', project];
  const packed = execFileSync('npm', ['pack', ...args], { cwd: root, encoding: 'utf8' });
  const { filename } = JSON.parse(packed)[0];
  execFileSync('tar', ['-xzf', filename, '-C', installed, '--strip-components=1'], {
    cwd: project,
  });
}
