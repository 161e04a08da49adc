import type { Readable } from 'node:stream';

/** Where a command prints: a terminal, a pipe or a file. */
export interface Sink {
  /** Calls `done` once the text is handed over; false if the sink asks to wait. */
  write(text: string, done?: () => void): boolean;
  readonly isTTY?: boolean;
  /** Width of the terminal, in characters. */
  readonly columns?: number;
}

/** What a command needs of its process, so that tests run commands in theirs. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborted by Ctrl-C, and when no process reads the output any more. */
  readonly signal: AbortSignal;
}

/** The exit codes of every command. */
export const EXIT: Readonly<Record<'ok' | 'finding' | 'usage' | 'failed' | 'interrupted', number>> =
  {
    /** The command did its work and has nothing to object. */
    ok: 0,
    /** The command did its work and found what it was asked to look for. */
    finding: 1,
    /** The command line is wrong. */
    usage: 2,
    /** The command could not do its work: a file or a server is missing. */
    failed: 3,
    /** Ctrl-C: 128 and the number of SIGINT, as shells have it. */
    interrupted: 130,
  };

/** Ends a command with a message and an exit code, without a stack trace. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A mistake in the command line. */
export class UsageError extends CommandError {
  constructor(message: string) {
    super(message, EXIT.usage);
  }
}
