import { parseArgs } from 'node:util';
import { EXIT, UsageError } from './io.ts';
import type { Io } from './io.ts';
import { Printer } from './printer.ts';
import { beside, wrap } from './wrap.ts';

/** One option of a command, as `--help` shows it and parseArgs reads it. */
interface OptionRow {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  readonly short?: string;
  /** What follows the option's name: `<file>`. */
  readonly value?: string;
  readonly help: string;
}

export type OptionTable = Readonly<Record<string, OptionRow>>;

/** A command line, read. */
export class Given {
  readonly words: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(words: readonly string[], values: Readonly<Record<string, unknown>>) {
    this.words = words;
    this.#values = values;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    return this.#values[name] as string | undefined;
  }

  /** The values of an option that may be repeated, in order. */
  texts(name: string): readonly string[] {
    return (this.#values[name] as readonly string[] | undefined) ?? [];
  }

  /** Reads a whole number between two bounds, both inclusive. */
  integer(name: string, fallback: number, min: number, max: number): number {
    const text = this.text(name);
    if (text === undefined) {
      return fallback;
    }
    const number = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
    if (!(number >= min && number <= max)) {
      throw new UsageError(
        `--${name} must be a whole number from ${min} to ${max}, got '${text}'. Write --${name} ${fallback}.`,
      );
    }
    return number;
  }
}

/** One command of the command line. */
export interface Command {
  readonly name: string;
  /** One line, in the list of commands. */
  readonly summary: string;
  /** The command line after the name: `<log…>`. */
  readonly usage: string;
  readonly options: OptionTable;
  /** Command lines that begin with the command's name, or whole lines of a shell. */
  readonly examples: readonly (readonly [line: string, says: string])[];
  /** Further paragraphs of `--help`. */
  readonly notes: readonly string[];
  /** When the exit code is 1; undefined if it never is. */
  readonly finding?: string;
  /** Returns the exit code. */
  run(given: Given, io: Io, printer: Printer): Promise<number>;
}

const EVERYWHERE: OptionTable = {
  json: { type: 'boolean', help: 'Print JSON on stdout, for programs' },
  quiet: { type: 'boolean', short: 'q', help: 'Print no progress and no remarks on stderr' },
  help: { type: 'boolean', short: 'h', help: 'Print this help' },
};

export const PROGRAM = 'distributed-rate-limiter';

/** Reads the command line of a command, and runs it. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  io: Io,
): Promise<number> {
  const table = { ...command.options, ...EVERYWHERE };
  const given = readArguments(command, table, argv);
  const printer = new Printer(io, { json: given.flag('json'), quiet: given.flag('quiet') });
  if (given.flag('help')) {
    printer.print(helpOf(command, table, printer.width));
    return EXIT.ok;
  }
  return command.run(given, io, printer);
}

function readArguments(command: Command, table: OptionTable, argv: readonly string[]): Given {
  try {
    const { positionals, values } = parseArgs({
      args: [...argv],
      options: Object.fromEntries(
        Object.entries(table).map(([name, { type, multiple = false, short }]) => [
          name,
          short === undefined ? { type, multiple } : { type, multiple, short },
        ]),
      ),
      allowPositionals: true,
    });
    return new Given(positionals, values);
  } catch (error) {
    throw new UsageError(explain(command, table, error as Error & { code?: string }));
  }
}

/** Names the option that was probably meant; parseArgs alone names the wrong one. */
function explain(command: Command, table: OptionTable, error: Error & { code?: string }): string {
  const help = `See: ${PROGRAM} ${command.name} --help`;
  const unknown = /Unknown option '(-[^']*)'/.exec(error.message)?.[1];
  if (unknown === undefined) {
    const [sentence = ''] = error.message.split('\n');
    return `${sentence.replace(/\.$/, '')}. ${help}`;
  }
  const near = nearest(unknown.replace(/^-+/, ''), Object.keys(table));
  const cure = near === undefined ? '' : ` Did you mean --${near}?`;
  return `${command.name} has no option ${unknown}.${cure} ${help}`;
}

/** The name with the fewest changed letters, if they are few. */
export function nearest(wrong: string, names: readonly string[]): string | undefined {
  const [best] = names
    .map((name) => ({ name, changes: changesBetween(wrong, name) }))
    .toSorted((a, b) => a.changes - b.changes);
  return best !== undefined && best.changes <= Math.max(1, Math.floor(wrong.length / 3))
    ? best.name
    : undefined;
}

/** Levenshtein's distance. */
function changesBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Columns that are left for help beside the names of options, at least. */
const LEAST_BESIDE = 36;

function helpOf(command: Command, table: OptionTable, width: number): string {
  const rows = Object.entries(table).map(([name, { short, value = '', help }]) => ({
    left: `  ${short === undefined ? '    ' : `-${short}, `}--${name}${value === '' ? '' : ` ${value}`}`,
    help,
  }));
  const column = Math.max(...rows.map(({ left }) => left.length)) + 2;
  const found = command.finding === undefined ? '' : `1 ${command.finding}; `;
  return [
    wrap(`${command.summary}.`, width),
    '',
    wrap(`Usage: ${PROGRAM} ${command.name} ${command.usage}`, width, 7),
    '',
    'Options:',
    ...rows.map(({ left, help }) =>
      width - column < LEAST_BESIDE
        ? `${left}\n${beside('', 8, help, width)}`
        : beside(left, column, help, width),
    ),
    '',
    'Examples:',
    ...command.examples.flatMap(([line, says]) => [
      `  # ${wrap(says, width - 4).replaceAll('\n', '\n  # ')}`,
      `  ${line.startsWith(`${command.name} `) ? `npx ${PROGRAM} ${line}` : line}`,
    ]),
    ...command.notes.flatMap((note) => ['', wrap(note, width)]),
    '',
    wrap(
      `Exit codes: 0 done; ${found}2 the command line is wrong; 3 could not do its work; 130 interrupted.`,
      width,
    ),
    '',
  ].join('\n');
}
