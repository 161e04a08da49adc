import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';

/** Throws at the first difference, and shows it. As `toStrictEqual`, which would take most of the time of a long run. */
export function agree(what: string, mine: unknown, other: unknown): void {
  if (!isDeepStrictEqual(mine, other)) {
    expect({ [what]: mine }).toStrictEqual({ [what]: other });
    throw new Error(`${what}: not the same`);
  }
}

/** What a server answers later than it is asked, each answer with its check: a trace goes on meanwhile. */
export class LateAnswers {
  readonly #pending: Promise<void>[] = [];
  #failure: Error | undefined;

  add<T>(answer: Promise<T>, check: (answer: T) => void = () => {}): void {
    this.#pending.push(
      answer.then(check).catch((error: unknown) => {
        this.#failure ??= error as Error;
      }),
    );
  }

  /** Waits for all that were added; throws what went wrong first. */
  async all(): Promise<void> {
    await Promise.all(this.#pending);
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }
}
