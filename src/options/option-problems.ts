import { RateLimiterError } from '../base/errors.ts';

/** The most problems listed in one error. */
const MOST_TOLD = 40;

/** The problems of an error that stands for several. */
const problemsOf = new WeakMap<RateLimiterError, readonly RateLimiterError[]>();

/** The missing option, for errors that report one. */
const missingIn = new WeakMap<RateLimiterError, string>();

export function noteMissing(error: RateLimiterError, option: string): void {
  missingIn.set(error, option);
}

/** Collects what is wrong with an object of options, so that one error lists everything. */
export class Problems {
  readonly #of: string;
  readonly #found: RateLimiterError[] = [];
  #omitted = 0;

  /** `of` names the object whose options they are. */
  constructor(of: string) {
    this.#of = of;
  }

  /** Adds an error, or all problems that it stands for, except complaints that an option in `named` is missing. */
  add(error: RateLimiterError, named?: ReadonlySet<string>): void {
    for (const each of problemsOf.get(error) ?? [error]) {
      const missing = missingIn.get(each);
      if (missing === undefined || named?.has(missing) !== true) {
        this.#found.push(each);
      }
    }
  }

  /** Returns the result of `read`. After a problem it is undefined, whatever its type, until `throwAll` throws. */
  attempt<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof RateLimiterError)) {
        throw error;
      }
      this.add(error);
      return undefined as T;
    }
  }

  /** Counts problems that are not listed one by one. */
  omit(count: number): void {
    this.#omitted += count;
  }

  /** @throws {RateLimiterError} the only problem there is, or one error that lists all */
  throwAll(): void {
    const found = this.#found;
    const [first] = found;
    if (first === undefined) {
      return;
    }
    const all = found.length + this.#omitted;
    if (all === 1) {
      throw first;
    }
    const told = found.slice(0, MOST_TOLD).map(({ message }) => `\n- ${message}`);
    const more = all > told.length ? `\n- and ${all - told.length} more` : '';
    const error = new RateLimiterError(
      found.every(({ code }) => code === first.code) ? first.code : 'ERR_INVALID_OPTION',
      `${all} problems with the options of ${this.#of}:${told.join('')}${more}`,
      found.find(({ cause }) => cause !== undefined),
    );
    problemsOf.set(error, found);
    throw error;
  }
}
