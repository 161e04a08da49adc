import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { linkLibraries, newProject } from './project.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** A project with this package, as built, and only the named libraries. */
export interface Installed {
  /** Runs a module that is copied into the project. Resolves with its output; rejects unless it exits with 0. */
  run(
    file: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<string>;
  remove(): void;
}

/** `places`: folders of libraries that are not among this repository's own, by name. */
export function install(
  libraries: readonly string[],
  places: Readonly<Record<string, string>> = {},
): Installed {
  if (!existsSync(join(root, 'dist/testing/index.js')))
    throw new Error('Run `npm run build` first.');
  const project = newProject('installed');
  const own = join(project, 'node_modules', 'distributed-rate-limiter');
  mkdirSync(own, { recursive: true });
  // Copied, not linked: a linked package would resolve libraries from its real folder.
  cpSync(join(root, 'dist'), join(own, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(own, 'package.json'));
  linkLibraries(project, libraries, places);
  return {
    run: (file, args, env = {}) => {
      const copy = join(project, 'main.mjs');
      cpSync(file, copy);
      return runNode([copy, ...args], env);
    },
    remove: () => rmSync(project, { recursive: true, force: true }),
  };
}

function runNode(args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--unhandled-rejections=strict', ...args], {
      env: { ...process.env, NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let printed = '';
    let failed = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (printed += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (failed += text));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0 && failed === '') resolve(printed);
      else reject(new Error(`ended with ${signal ?? code}: ${failed}`));
    });
  });
}
