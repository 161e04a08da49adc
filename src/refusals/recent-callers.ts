import { SpaceSaving } from './space-saving.ts';
import type { Counted } from './space-saving.ts';

/** Callers counted in each half of the time; a few hundred bytes each. */
const MOST_CALLERS = 500;
/** Half of the time that a report is about. */
const HALF_MS = 300_000;

/** Which callers were refused most in the last five to ten minutes. */
export class RecentCallers {
  #before = new SpaceSaving(MOST_CALLERS);
  #now = new SpaceSaving(MOST_CALLERS);
  #half = 0;

  add(caller: string, atMs: number): void {
    this.#turn(atMs);
    this.#now.add(caller);
  }

  /** Refusals, and the callers that were refused most, the worst first. */
  report(
    most: number,
    atMs: number,
  ): { readonly total: number; readonly callers: readonly Counted[] } {
    this.#turn(atMs);
    const sums = new Map<string, { count: number; error: number }>();
    for (const { name, count, error } of [...this.#before.entries(), ...this.#now.entries()]) {
      const sum = sums.get(name) ?? { count: 0, error: 0 };
      sums.set(name, { count: sum.count + count, error: sum.error + error });
    }
    return {
      total: this.#before.total + this.#now.total,
      callers: [...sums]
        .map(([name, sum]) => ({ name, ...sum }))
        .toSorted((a, b) => b.count - a.count)
        .slice(0, most),
    };
  }

  #turn(atMs: number): void {
    const half = Math.floor(atMs / HALF_MS);
    if (half !== this.#half) {
      this.#before = half === this.#half + 1 ? this.#now : new SpaceSaving(MOST_CALLERS);
      this.#now = new SpaceSaving(MOST_CALLERS);
      this.#half = half;
    }
  }
}
