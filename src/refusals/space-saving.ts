/** A name and how often it came: at least `count - error`, at most `count`. */
export interface Counted {
  readonly name: string;
  readonly count: number;
  readonly error: number;
}

interface Counter {
  count: number;
  error: number;
}

/**
 * The most frequent of any number of names, in bounded memory: Space-Saving of Metwally, Agrawal and El Abbadi, 2005. A
 * name beyond the bound takes the place and the count of the least frequent one. Each name that makes up more than
 * `1 / most` of all is among those kept.
 */
export class SpaceSaving {
  total = 0;
  readonly #most: number;
  readonly #counters = new Map<string, Counter>();
  /** Names that had the least count when they were last looked for, so that looking for them is rare. */
  #least: string[] = [];
  #leastCount = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(name: string): void {
    this.total += 1;
    const known = this.#counters.get(name);
    if (known !== undefined) {
      known.count += 1;
    } else if (this.#counters.size < this.#most) {
      this.#counters.set(name, { count: 1, error: 0 });
    } else {
      const { count } = this.#takeLeast();
      this.#counters.set(name, { count: count + 1, error: count });
    }
  }

  /** The names kept, in no order. */
  entries(): readonly Counted[] {
    return [...this.#counters].map(([name, { count, error }]) => ({ name, count, error }));
  }

  /** Removes a name with the least count. */
  #takeLeast(): Counter {
    for (;;) {
      const name = this.#least.pop();
      if (name === undefined) {
        this.#findLeast();
        continue;
      }
      const counter = this.#counters.get(name);
      if (counter?.count === this.#leastCount) {
        this.#counters.delete(name);
        return counter;
      }
    }
  }

  #findLeast(): void {
    this.#leastCount = Infinity;
    for (const { count } of this.#counters.values()) {
      this.#leastCount = Math.min(this.#leastCount, count);
    }
    for (const [name, { count }] of this.#counters) {
      if (count === this.#leastCount) {
        this.#least.push(name);
      }
    }
  }
}
