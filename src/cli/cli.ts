import { doctor } from './doctor/command.ts';
import { block, credit, peek, reset, unblock } from './identity/commands.ts';
import { nearest, PROGRAM, runCommand } from './kit/command.ts';
import type { Command } from './kit/command.ts';
import { CommandError, EXIT } from './kit/io.ts';
import type { Io } from './kit/io.ts';
import { tail } from './refusals/tail.ts';
import { top } from './refusals/top.ts';
import { replay } from './replay/command.ts';
import { simulate } from './simulate/command.ts';
import { suggest } from './suggest/command.ts';

export const COMMANDS: readonly Command[] = [
  suggest,
  replay,
  simulate,
  peek,
  reset,
  block,
  unblock,
  credit,
  top,
  tail,
  doctor,
];

/** Runs a command line, and returns its exit code. Errors become one line on stderr. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(argv, io);
  } catch (error) {
    if (error instanceof CommandError) {
      io.stderr.write(`${PROGRAM}: ${error.message}\n`);
      return error.exitCode;
    }
    throw error;
  }
}

async function dispatch(argv: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = argv;
  const command = COMMANDS.find((each) => each.name === name);
  if (command !== undefined) {
    return runCommand(command, rest, io);
  }
  if (name === 'help' || name === '--help' || name === '-h') {
    const asked = COMMANDS.find((each) => each.name === rest[0]);
    if (asked !== undefined) {
      return runCommand(asked, ['--help'], io);
    }
    io.stdout.write(overview());
    return EXIT.ok;
  }
  if (name === undefined) {
    io.stderr.write(overview());
    return EXIT.usage;
  }
  const near = nearest(
    name,
    COMMANDS.map((each) => each.name),
  );
  const cure = near === undefined ? '' : ` Did you mean ${near}?`;
  io.stderr.write(`${PROGRAM}: there is no command '${name}'.${cure} See: ${PROGRAM} --help\n`);
  return EXIT.usage;
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 2;
  return [
    `Usage: ${PROGRAM} <command> [options]`,
    '',
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    '',
    `Options and examples of a command: ${PROGRAM} <command> --help`,
    '',
  ].join('\n');
}
