import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll } from 'vitest';
import { runCli } from '../../../src/cli/cli.ts';
import type { Io } from '../../../src/cli/kit/io.ts';

/** A folder for the logs and modules of one test file. */
export const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-cli-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Writes a file into the folder, and returns its name there. */
export function write(name: string, content: string | Uint8Array): string {
  writeFileSync(path.join(folder, name), content);
  return name;
}

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process, in the folder. By default both outputs are pipes. */
export async function run(
  argv: readonly string[],
  {
    stdin = '',
    isTTY = false,
    columns,
    env = {},
    signal = new AbortController().signal,
  }: {
    readonly stdin?: string | Uint8Array;
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly env?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<Ran> {
  const printed = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    isTTY,
    ...(columns === undefined ? {} : { columns }),
    write: (text: string) => {
      printed[name] += text;
      return true;
    },
  });
  const io: Io = {
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout: sink('stdout'),
    stderr: sink('stderr'),
    env,
    cwd: folder,
    signal,
  };
  const exitCode = await runCli(argv, io);
  return { exitCode, ...printed };
}
