import type { Saved } from '../../../src/algorithms/limit.ts';
import type { Table } from '../../../src/script/decide.ts';

/** A write in one comparable text: the key, and the value with its TTL in milliseconds, or a deletion. */
export type Write = string;

export function writeOf(
  key: string,
  saved: { readonly value: unknown; readonly ttlMs: number | bigint } | undefined,
): Write {
  return saved === undefined
    ? `${key} deleted`
    : `${key} ${saved.value as string} for ${saved.ttlMs} ms`;
}

/** A store without expiry that also tells what was written since it was last asked. */
export class MapTable implements Table {
  readonly stored: Map<string, string>;
  #writes: Write[] = [];

  constructor(stored: Map<string, string> = new Map()) {
    this.stored = stored;
  }

  read(key: string): string | undefined {
    return this.stored.get(key);
  }

  write(key: string, saved: Saved | undefined): void {
    this.#writes.push(writeOf(key, saved));
    if (saved === undefined) {
      this.stored.delete(key);
    } else {
      this.stored.set(key, saved.value as string);
    }
  }

  /** In the order of the keys. */
  takeWrites(): Write[] {
    const writes = this.#writes;
    this.#writes = [];
    return writes.sort();
  }
}
