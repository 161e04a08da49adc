/** src -> dist with plain tsc: one source file is one dist file. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, root } from './bootstrap.mjs';

const dist = path.join(root, 'dist');
const src = path.join(root, 'src');

/** Ends the process if the sources do not compile. */
export function build() {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) {
    console.error('The build failed.');
    process.exit(1);
  }
  removeOrphans();
}

/** Deleting dist first would leave a moment without it for a process that is importing it. */
function removeOrphans() {
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const source = file.replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
    if (source !== file && !existsSync(path.join(src, source))) rmSync(path.join(dist, file));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  ensurePackages();
  build();
}
