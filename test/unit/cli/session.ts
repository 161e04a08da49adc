import { readFileSync } from 'node:fs';
import path from 'node:path';
import { folder, run } from './run.ts';
import type { Ran } from './run.ts';

type RunOptions = Parameters<typeof run>[1];

/** A command line as a shell takes it. */
export function shown(argv: readonly string[]): string {
  const words = argv.map((word) =>
    /^[\w./=-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`,
  );
  return `$ ${['npx distributed-rate-limiter', ...words].join(' ')}\n`;
}

/** What a command printed and how it ended, as a golden file keeps it. */
export function outcome({ exitCode, stdout, stderr }: Ran): string {
  return `${stdout}--- stderr\n${stderr}--- exit code ${exitCode}\n`;
}

/** Runs a command line, and returns it with its outcome. */
export async function session(argv: readonly string[], options?: RunOptions): Promise<string> {
  return `${shown(argv)}${outcome(await run(argv, options))}`;
}

/** A file of the folder as `cat -A` would show its ends of lines; long files by their first lines. */
export function cat(name: string, most = 40): string {
  const text = readFileSync(path.join(folder, name), 'utf8');
  const lines = text.split('\n');
  const last = lines.pop()!;
  const marked = lines.map((line) => `${line.replaceAll('\r', '␍').replaceAll('\u001B', '␛')}\n`);
  const rest = marked.length > most ? `… ${marked.length - most} further lines\n` : '';
  const end = last === '' ? '' : `${last}␄ (no end of line)\n`;
  return `$ cat ${name}\n${marked.slice(0, most).join('')}${rest}${end}\n`;
}
