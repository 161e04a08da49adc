import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const manifest: { name: string; exports: Record<string, unknown> } = JSON.parse(
  readFileSync(path.join(root, 'package.json'), 'utf8'),
);

/** Every entry point, by the specifier that users import. */
export const entries: readonly string[] = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== './package.json')
  .map((subpath) => `${manifest.name}${subpath.slice(1)}`);

/** Packs the files that would be published into a tarball in the folder, and returns the tarball's path. */
export function packInto(folder: string): string {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('Run `npm run build` first.');
  const args = ['--ignore-scripts', '--loglevel=error', '--json', '--pack-destination', folder];
  const packed = execFileSync('npm', ['pack', ...args], { cwd: root, encoding: 'utf8' });
  return path.join(folder, JSON.parse(packed)[0].filename);
}

/** Unpacks the files that would be published, by default packed anew, into the project's node_modules. */
export function unpackInto(project: string, tarball: string = packInto(project)): void {
  const installed = path.join(project, 'node_modules', manifest.name);
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
}
