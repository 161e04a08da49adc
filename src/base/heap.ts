/** A binary heap: the item that comes before all others is first. */
export class Heap<T> {
  readonly #isBefore: (a: T, b: T) => boolean;
  #items: T[] = [];

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  add(item: T): void {
    const items = this.#items;
    let place = items.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#isBefore(item, items[parent]!)) {
        break;
      }
      items[place] = items[parent]!;
      place = parent;
    }
    items[place] = item;
  }

  removeFirst(): void {
    const items = this.#items;
    const moved = items.pop();
    if (items.length === 0) {
      return;
    }
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child + 1 < items.length && this.#isBefore(items[child + 1]!, items[child]!)) {
        child += 1;
      }
      if (child >= items.length || !this.#isBefore(items[child]!, moved!)) {
        break;
      }
      items[place] = items[child]!;
      place = child;
    }
    items[place] = moved!;
  }

  /** Drops all other items. */
  keep(isKept: (item: T) => boolean): void {
    // A sorted list is a heap.
    this.#items = this.#items.filter(isKept).sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
  }
}
