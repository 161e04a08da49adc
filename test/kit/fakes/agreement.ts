import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';

/** Throws at the first difference and shows it. `toStrictEqual` alone would take most of the time of a long run. */
export function agree(what: string, mine: unknown, other: unknown): void {
  if (!isDeepStrictEqual(mine, other)) {
    expect({ [what]: mine }).toStrictEqual({ [what]: other });
    throw new Error(`${what}: not the same`);
  }
}

/** Answers that a server gives later, each with its check, so that a trace goes on meanwhile. */
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

  /** Waits for all answers; throws the first failure. */
  async all(): Promise<void> {
    await Promise.all(this.#pending);
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }
}
