import path from 'node:path';
import { durationToMs } from '../../base/duration.ts';
import { timeZoneOf } from '../../algorithms/time-zone.ts';
import { nearest } from '../kit/command.ts';
import type { Given, OptionTable } from '../kit/command.ts';
import { count, counted, lengthOf } from '../kit/figures.ts';
import { UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import { printable } from '../kit/printer.ts';
import type { Printer } from '../kit/printer.ts';
import type { FieldNames, LogEntry } from './entry.ts';
import { FORMAT_NAMES } from './formats.ts';
import type { LogOptions } from './formats.ts';
import { openLines } from './lines.ts';
import { merge } from './merge.ts';
import { LogReader } from './read-log.ts';
import type { LogFacts } from './read-log.ts';

const WINDOW = '60s';

/** The options of every command that reads logs. */
export const LOG_OPTIONS: OptionTable = {
  format: {
    type: 'string',
    value: '<name>',
    help: `The format, in place of the one found out: ${FORMAT_NAMES.join(', ')}`,
  },
  field: {
    type: 'string',
    multiple: true,
    value: '<name=field>',
    help: 'Where a line has its time, key (the caller) or cost, or a part of the identity',
  },
  'time-zone': {
    type: 'string',
    value: '<zone>',
    help: 'The zone of times that name none, such as Europe/Berlin (default UTC)',
  },
  reorder: {
    type: 'string',
    value: '<duration>',
    help: `How far back a line may stand behind later requests (default ${WINDOW})`,
  },
};

/** The notes on logs in every `--help`. */
export const LOG_NOTES: readonly string[] = [
  'Logs: paths, or - for stdin; gzip is recognised. Several logs are merged by time. Without --field key=… callers are addresses, IPv6 by its /64, as a guard identifies them.',
];

/** Logs that are being read. */
export interface Logs {
  readonly batches: AsyncGenerator<LogEntry[]>;
  readonly facts: () => readonly LogFacts[];
}

/** Opens the logs of a command line. Says each format, and at the end what was left out. */
export async function openLogs(given: Given, io: Io, printer: Printer): Promise<Logs> {
  const paths = given.words;
  if (paths.length === 0) {
    throw new UsageError('name a log: a path, or - for stdin.');
  }
  if (paths.filter((log) => log === '-').length > 1) {
    throw new UsageError('- stands for stdin, and can be named once.');
  }
  const options = readLogOptions(given);
  const windowMs = readWindow(given.text('reorder') ?? WINDOW);
  const readers = await Promise.all(
    paths.map(async (log) => {
      const isStdin = log === '-';
      const file = isStdin ? log : path.resolve(io.cwd, log);
      const source = await openLines(file, io.stdin, io.signal);
      return new LogReader(isStdin ? 'stdin' : log, source, options, windowMs);
    }),
  );
  const onFormat = ({ log, format, found }: LogFacts): void => {
    printer.remark(
      `${log}: ${found ? 'looks like' : 'read as'} ${format}${found ? '; --format reads it as another' : ''}`,
    );
  };
  const merged = merge(readers.map((reader) => reader.entries(onFormat)));
  return {
    batches: watched(merged, readers, printer),
    facts: () => readers.map((reader) => ({ ...reader.facts, broken: reader.broken })),
  };
}

/** Shows progress, ends at Ctrl-C, and says at the end what was left out. */
async function* watched(
  batches: AsyncGenerator<LogEntry[]>,
  readers: readonly LogReader[],
  printer: Printer,
): AsyncGenerator<LogEntry[]> {
  const startedAt = performance.now();
  for await (const batch of batches) {
    printer.checkInterrupted();
    printer.progress(() => progressOf(readers, performance.now() - startedAt));
    yield batch;
  }
  printer.checkInterrupted();
  printer.clearProgress();
  for (const reader of readers) {
    tell({ ...reader.facts, broken: reader.broken }, printer);
  }
}

function progressOf(readers: readonly LogReader[], ms: number): string {
  const lines = readers.reduce((sum, { facts }) => sum + facts.lines, 0);
  const read = readers.reduce((sum, { source }) => sum + source.read, 0);
  const sizes = readers.map(({ source }) => source.size);
  const size = sizes.reduce<number>((sum, each) => sum + (each ?? NaN), 0);
  const part = Number.isNaN(size) ? '' : `${Math.floor((100 * read) / Math.max(1, size))} %, `;
  return `${part}${count(lines)} lines, ${count((lines / Math.max(1, ms)) * 1_000)} a second`;
}

function tell(facts: LogFacts, printer: Printer): void {
  const { log, lines, broken, firstBroken, usedZone, brokenOff } = facts;
  const { late, mostLateMicros, hurried } = facts;
  if (usedZone) {
    printer.remark(`${log}: times without an offset were read on the clock of --time-zone`);
  }
  if (brokenOff !== undefined) {
    printer.warn(`${log} ends before its end (${brokenOff}); what was there is counted.`);
  }
  if (broken > 0 && firstBroken !== undefined) {
    const { number, reason, line } = firstBroken;
    printer.warn(
      `${log}: ${count(broken)} of ${counted(lines, 'line')} could not be read, and ${broken === 1 ? 'is' : 'are'} left out. Line ${count(number)}: ${reason}.${line === '' ? '' : `\n  ${printable(line)}`}`,
    );
  }
  if (hurried > 0) {
    printer.warn(
      `${log}: the reorder window held 1,000,000 requests, and was made shorter for ${count(hurried)}. Lower --reorder if memory is short.`,
    );
  }
  if (late > 0) {
    printer.warn(
      `${log}: ${counted(late, 'request')} stood up to ${lengthOf(mostLateMicros / 1_000)} behind the reorder window, and took place at the time then reached. Raise --reorder if these are long requests.`,
    );
  }
}

function readLogOptions(given: Given): LogOptions {
  const format = given.text('format');
  if (format !== undefined && !FORMAT_NAMES.includes(format)) {
    const near = nearest(format, FORMAT_NAMES) ?? 'combined';
    throw new UsageError(
      `--format must be one of ${FORMAT_NAMES.join(', ')}, got '${format}'. Write --format ${near}.`,
    );
  }
  const timeZone = given.text('time-zone') ?? 'UTC';
  try {
    timeZoneOf(timeZone);
  } catch {
    throw new UsageError(
      `--time-zone must be a zone of the IANA database, got '${timeZone}'. Write --time-zone Europe/Berlin.`,
    );
  }
  return { format, fields: fieldsOf(given), timeZone };
}

/** The fields of a line, by what they are to the command. */
export function fieldsOf(given: Given): FieldNames {
  const fields = new Map<string, string>();
  for (const text of given.texts('field')) {
    const [, name, field] = /^([A-Za-z0-9._-]{1,64})=(.+)$/.exec(text) ?? [];
    if (name === undefined || field === undefined) {
      throw new UsageError(
        `--field must be name=field, got '${text}'. Write --field key=user.id, or time=…, or cost=….`,
      );
    }
    fields.set(name, field);
  }
  return fields;
}

/** The words and options of a command line that read the same logs in the same way, as a shell takes them. */
export function sameLogs(given: Given): string {
  const words = Object.entries(LOG_OPTIONS).flatMap(([name, { multiple = false }]) => {
    const texts = multiple ? given.texts(name) : [given.text(name) ?? []].flat();
    return texts.flatMap((text) => [`--${name}`, text]);
  });
  return [...given.words, ...words].map(shellWord).join(' ');
}

function shellWord(word: string): string {
  return /^[\w./=:@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function readWindow(text: string): number {
  const ms = durationToMs(text);
  if (ms === undefined || ms > 86_400_000) {
    throw new UsageError(
      `--reorder must be a duration of at most a day, got '${text}'. Write --reorder 60s, or 0s for none.`,
    );
  }
  return ms;
}
