import { Heap } from '../../base/heap.ts';
import type { LogEntry } from './entry.ts';

/** The most entries held: about 200 MB. A window of 60 s holds them all up to 16,000 requests per second. */
const MOST_HELD = 1_000_000;

/**
 * Puts entries into the order of their times. Logs have requests in the order of their ends, so a request that took
 * long stands behind later ones. An entry is held until the log has gone on by `windowMicros`. An entry that comes even
 * later takes place at the time then reached, as a limiter on a steady clock would have seen it. Beyond `mostHeld`
 * entries the earliest is released before its turn, which makes the window shorter.
 */
export class Reorder {
  /** Entries that came after their turn. */
  late = 0;
  /** By how much the latest of them, in microseconds. */
  mostLate = 0;
  /** Entries released before their turn, because too many were held. */
  hurried = 0;
  readonly #window: number;
  readonly #mostHeld: number;
  /** The earliest entry is first; entries of the same time keep their order. */
  readonly #held = new Heap<LogEntry>(isBefore);
  #order = 0;
  #greatest = -Infinity;
  #released = -Infinity;

  constructor(windowMicros: number, mostHeld: number = MOST_HELD) {
    this.#window = windowMicros;
    this.#mostHeld = mostHeld;
  }

  /** Adds an entry, and appends to `out` all whose turn has come. */
  push(entry: LogEntry, out: LogEntry[]): void {
    if (entry.at < this.#released) {
      this.late += 1;
      this.mostLate = Math.max(this.mostLate, this.#released - entry.at);
      entry.at = this.#released;
      out.push(entry);
      return;
    }
    entry.order = this.#order++;
    this.#held.add(entry);
    if (entry.at > this.#greatest) {
      this.#greatest = entry.at;
      this.#release(this.#greatest - this.#window, out);
    }
    if (this.#held.size > this.#mostHeld) {
      this.hurried += 1;
      this.#releaseFirst(out);
    }
  }

  /** Appends all that is left. */
  end(out: LogEntry[]): void {
    this.#release(Infinity, out);
  }

  #release(until: number, out: LogEntry[]): void {
    for (
      let { first } = this.#held;
      first !== undefined && first.at <= until;
      first = this.#held.first
    ) {
      this.#releaseFirst(out);
    }
  }

  #releaseFirst(out: LogEntry[]): void {
    const first = this.#held.first!;
    this.#held.removeFirst();
    this.#released = first.at;
    out.push(first);
  }
}

function isBefore(a: LogEntry, b: LogEntry): boolean {
  return a.at === b.at ? a.order < b.order : a.at < b.at;
}
