import type { LogEntry } from './entry.ts';
import { NoEntry } from './entry.ts';
import { findFormat, makeFormat, unknownFormat } from './formats.ts';
import type { Format, LogOptions } from './formats.ts';
import type { LineSource } from './lines.ts';
import { Reorder } from './reorder.ts';

/** Lines by which the format is found out. */
const FIRST_LINES = 100;
/** A broken line is shown up to this length. */
const SHOWN = 160;

/** What was read of one log, and what was left out. */
export interface LogFacts {
  readonly log: string;
  format: string | undefined;
  /** Whether the format was found out. */
  found: boolean;
  lines: number;
  requests: number;
  /** Sound lines of other kinds. */
  others: number;
  broken: number;
  /** The first broken line, why it is broken, and its number from 1. */
  firstBroken:
    | { readonly line: string; readonly reason: string; readonly number: number }
    | undefined;
  /** Requests that stood further back than the reorder window reaches. */
  late: number;
  mostLateMicros: number;
  /** Requests for which the reorder window was made shorter, because it held too many. */
  hurried: number;
  /** Whether times without an offset from UTC were read on the clock of `--time-zone`. */
  usedZone: boolean;
  /** Why the log ended before its end, if it did. */
  brokenOff: string | undefined;
}

/** Reads one log in the order of time. */
export class LogReader {
  readonly facts: LogFacts;
  readonly source: LineSource;
  readonly #options: LogOptions;
  readonly #reorder: Reorder;
  #format: Format | undefined;
  /** Lines read before the format is known. */
  #first: string[] = [];

  /** `log` is what the log is called. */
  constructor(log: string, source: LineSource, options: LogOptions, windowMs: number) {
    this.source = source;
    this.#options = options;
    this.#reorder = new Reorder(windowMs * 1_000);
    this.facts = {
      log,
      format: options.format,
      found: options.format === undefined,
      lines: 0,
      requests: 0,
      others: 0,
      broken: 0,
      firstBroken: undefined,
      late: 0,
      mostLateMicros: 0,
      hurried: 0,
      usedZone: false,
      brokenOff: undefined,
    };
    this.#format = options.format === undefined ? undefined : makeFormat(options.format, options);
  }

  /** Batches of entries, each in the order of time and not before the one before. `onFormat` is called once. */
  async *entries(onFormat: (facts: LogFacts) => void): AsyncGenerator<LogEntry[]> {
    for await (const lines of this.source.batches) {
      if (this.#format === undefined) {
        this.#first.push(...lines.filter((line) => line.trim() !== ''));
        if (this.#first.length < FIRST_LINES) {
          continue;
        }
        yield this.#begin(onFormat);
      } else {
        if (this.facts.lines === 0) {
          onFormat(this.facts);
        }
        yield this.#parse(lines);
      }
    }
    if (this.#format === undefined && this.#first.length > 0) {
      yield this.#begin(onFormat);
    }
    const last: LogEntry[] = [];
    this.#reorder.end(last);
    this.#note();
    yield last;
  }

  #begin(onFormat: (facts: LogFacts) => void): LogEntry[] {
    const sample = this.#first.slice(0, FIRST_LINES);
    const name = findFormat(sample, this.#options);
    if (name === undefined) {
      throw unknownFormat(this.facts.log, sample);
    }
    this.#format = makeFormat(name, this.#options);
    this.facts.format = name;
    onFormat(this.facts);
    const lines = this.#first;
    this.#first = [];
    return this.#parse(lines);
  }

  #parse(lines: readonly string[]): LogEntry[] {
    const { facts } = this;
    const { parse } = this.#format!;
    const out: LogEntry[] = [];
    for (const each of lines) {
      const line = each.endsWith('\r') ? each.slice(0, -1) : each;
      facts.lines += 1;
      // Comments are headers of the W3C's formats.
      if (line === '' || line.startsWith('#')) {
        facts.others += 1;
        continue;
      }
      const entry = parse(line);
      if (!(entry instanceof NoEntry)) {
        facts.requests += 1;
        this.#reorder.push(entry, out);
      } else if (entry.isSound) {
        facts.others += 1;
      } else {
        facts.broken += 1;
        facts.firstBroken ??= {
          line: line.length > SHOWN ? `${line.slice(0, SHOWN)}…` : line,
          reason: entry.reason,
          number: facts.lines,
        };
      }
    }
    this.#note();
    return out;
  }

  #note(): void {
    const { facts, source } = this;
    facts.late = this.#reorder.late;
    facts.mostLateMicros = this.#reorder.mostLate;
    facts.hurried = this.#reorder.hurried;
    facts.usedZone = this.#format?.instants.usedZone ?? false;
    facts.brokenOff = source.brokenOff;
    if (source.tooLong > 0 && facts.firstBroken === undefined) {
      facts.firstBroken = { line: '', reason: 'it is longer than 1 MiB', number: facts.lines };
    }
  }

  /** Broken lines, those that were too long included. */
  get broken(): number {
    return this.facts.broken + this.source.tooLong;
  }
}
