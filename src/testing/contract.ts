/**
 * One promise of a contract: `run` resolves where it is kept, and rejects with what is broken where it is not.
 * It needs no test runner, and any will do.
 *
 * @example
 * for (const { name, run } of storeContract(subject)) test(name, run);
 */
export interface ContractCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** By name: what is checked on what. */
export type Checks<T> = Readonly<Record<string, (subject: T) => Promise<void>>>;

/** Each case on a subject of its own, which ends with it. */
export function casesOf<T>(
  checks: Checks<T>,
  withSubject: (check: (subject: T) => Promise<void>) => Promise<void>,
): readonly ContractCase[] {
  return Object.entries(checks).map(([name, check]) => ({ name, run: () => withSubject(check) }));
}
