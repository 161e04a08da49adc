/**
 * One promise of a contract: `run` resolves if it is kept, and rejects with the violation if not. Works with any test
 * runner, or none.
 *
 * @example
 * for (const { name, run } of storeContract(subject)) test(name, run);
 */
export interface ContractCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** Checks by name. */
export type Checks<T> = Readonly<Record<string, (subject: T) => Promise<void>>>;

/** Runs each case on its own subject, which ends with it. */
export function casesOf<T>(
  checks: Checks<T>,
  withSubject: (check: (subject: T) => Promise<void>) => Promise<void>,
): readonly ContractCase[] {
  return Object.entries(checks).map(([name, check]) => ({ name, run: () => withSubject(check) }));
}
