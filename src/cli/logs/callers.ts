/** A page's length: arrays grow by pages, so that growing copies nothing. */
const PAGE = 1 << 14;

/** Numbers the callers of a log, from 0 on, up to a bound. */
export class Callers {
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #most: number;
  /** Requests of callers beyond the bound. */
  beyond = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#names.length;
  }

  /** The caller's number; -1 beyond the bound. */
  number(caller: string): number {
    const known = this.#numbers.get(caller);
    if (known !== undefined) {
      return known;
    }
    const number = this.#names.length;
    if (number >= this.#most) {
      this.beyond += 1;
      return -1;
    }
    this.#names.push(caller);
    this.#numbers.set(caller, number);
    return number;
  }

  /** The caller of a number. */
  name(number: number): string {
    return this.#names[number]!;
  }
}

/** Whole numbers by a caller's number, 0 at first. */
export class NumberColumn {
  readonly #pages: Uint32Array[] = [];

  get(number: number): number {
    return this.#pages[number >> 14]?.[number & (PAGE - 1)] ?? 0;
  }

  add(number: number, by: number): void {
    const page = (this.#pages[number >> 14] ??= new Uint32Array(PAGE));
    page[number & (PAGE - 1)]! += by;
  }
}
