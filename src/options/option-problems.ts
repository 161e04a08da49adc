import { RateLimiterError } from '../base/errors.ts';

/** The most problems that one error tells. */
const MOST_TOLD = 40;

/** The problems that an error stands for, where it stands for several. */
const problemsOf = new WeakMap<RateLimiterError, readonly RateLimiterError[]>();

/** The option that is missing, for an error that says so. */
const missingIn = new WeakMap<RateLimiterError, string>();

export function noteMissing(error: RateLimiterError, option: string): void {
  missingIn.set(error, option);
}

/** What is wrong with an object of options, collected so that one error tells all of it. */
export class Problems {
  readonly #of: string;
  readonly #found: RateLimiterError[] = [];
  #omitted = 0;

  /** `of`: whose options they are. */
  constructor(of: string) {
    this.#of = of;
  }

  /** An error that stands for several counts as those, but for complaints that one of `named` is missing. */
  add(error: RateLimiterError, named?: ReadonlySet<string>): void {
    for (const each of problemsOf.get(error) ?? [error]) {
      const missing = missingIn.get(each);
      if (missing === undefined || named?.has(missing) !== true) {
        this.#found.push(each);
      }
    }
  }

  /** What `read` returns. After a problem it is undefined, whatever its type, until `throwAll` throws. */
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

  /** Counts problems that are not told one by one. */
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
