#!/usr/bin/env node
import process from 'node:process';
import { runCli } from './cli.ts';
import { EXIT } from './kit/io.ts';

const stopped = new AbortController();

process.on('SIGINT', () => {
  if (stopped.signal.aborted) {
    process.exit(EXIT.interrupted);
  }
  stopped.abort();
});

// `| head` closes the pipe: nothing is wrong, and nothing more can be said.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: Error & { code?: string }) => {
    if (error.code !== 'EPIPE') {
      throw error;
    }
    process.exit(EXIT.ok);
  });
}

const { stdin, stdout, stderr, env } = process;
async function main(): Promise<number> {
  const io = { stdin, stdout, stderr, env, cwd: process.cwd(), signal: stopped.signal };
  try {
    return await runCli(process.argv.slice(2), io);
  } catch (error) {
    // A bug. Node's own exit code, 1, would say that the command found something.
    stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return EXIT.failed;
  }
}

void main().then((exitCode) => (process.exitCode = exitCode));
