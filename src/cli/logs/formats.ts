import { UsageError } from '../kit/io.ts';
import { NoEntry } from './entry.ts';
import type { FieldNames, LineParser } from './entry.ts';
import { InstantReader } from './instant.ts';
import { JSON_FORMATS, jsonParser, objectOf } from './json-formats.ts';
import { textParser } from './text-formats.ts';
import type { TextFormatName } from './text-formats.ts';

const TEXT_NAMES: readonly TextFormatName[] = ['combined', 'common', 'alb', 'envoy'];

export const FORMAT_NAMES: readonly string[] = [...TEXT_NAMES, ...Object.keys(JSON_FORMATS)];

/** How to read a log. */
export interface LogOptions {
  /** Undefined to find it out. */
  readonly format: string | undefined;
  readonly fields: FieldNames;
  /** The zone of times that say none. */
  readonly timeZone: string;
}

/** A format that was chosen, or found out. */
export interface Format {
  readonly name: string;
  readonly parse: LineParser;
  readonly instants: InstantReader;
}

export function makeFormat(name: string, { fields, timeZone }: LogOptions): Format {
  const instants = new InstantReader(timeZone);
  try {
    const parse = Object.hasOwn(JSON_FORMATS, name)
      ? jsonParser(name, fields, instants)
      : textParser(name as TextFormatName, fields, instants);
    return { name, parse, instants };
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`--field ${error.message}`) : error;
  }
}

/**
 * Finds out the format of a log by its first lines: the format that reads the most of them as requests, and at
 * least as many as it cannot read. Undefined if no format does.
 */
export function findFormat(lines: readonly string[], options: LogOptions): string | undefined {
  const isJson = lines.filter((line) => line.startsWith('{')).length * 2 > lines.length;
  // `common` is `combined` without its last columns, and is read alike. `json` fits whatever the others fit.
  const names = isJson ? Object.keys(JSON_FORMATS) : TEXT_NAMES.filter((name) => name !== 'common');
  let best: { readonly name: string; readonly fits: number } | undefined;
  for (const name of names) {
    const fits = fitsOf(lines, name, options);
    if (fits > (best?.fits ?? 0)) {
      best = { name, fits };
    }
  }
  return best?.name === 'combined' && isCommon(lines) ? 'common' : best?.name;
}

/** How many of the lines are requests in a format; 0 if most lines are broken in it. */
function fitsOf(lines: readonly string[], name: string, options: LogOptions): number {
  let format: Format;
  try {
    format = makeFormat(name, options);
  } catch {
    return 0; // `--field` names a column of another format
  }
  let [requests, broken] = [0, 0];
  for (const line of lines) {
    const entry = format.parse(line);
    if (!(entry instanceof NoEntry)) {
      requests += 1;
    } else if (!entry.isSound) {
      broken += 1;
    }
  }
  return requests >= broken ? requests : 0;
}

function isCommon(lines: readonly string[]): boolean {
  return lines.filter((line) => line.trimEnd().endsWith('"')).length * 2 < lines.length;
}

/** What to write if no format fits. */
export function unknownFormat(log: string, lines: readonly string[]): UsageError {
  const object = lines.map(objectOf).find((each) => each !== undefined);
  if (object !== undefined) {
    const names = Object.keys(object).slice(0, 20).join(', ');
    return new UsageError(
      `${log}: its JSON has no known fields for the time and the caller. Name them: --field time=… --field key=… of ${names}.`,
    );
  }
  return new UsageError(
    `${log}: its first lines are of no known format. Name one of ${FORMAT_NAMES.join(', ')}: --format combined.`,
  );
}
