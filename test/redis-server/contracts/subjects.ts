import { RateLimiter } from 'distributed-rate-limiter';
import type { RedisClient } from 'distributed-rate-limiter';
import { clientContract, storeContract } from 'distributed-rate-limiter/testing';
import type { ClientUnderTest, ContractCase } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';

/** The value for the option `redis`, with its other options. */
export interface Place {
  readonly redis: string | RedisClient;
  readonly cluster?: true;
  readonly sharding?: 'hash_tag';
}

/** No case of the store's contract tests deadlines, so this one is long: a busy machine must not exceed it. */
export const UNREACHED_MS = 10_000;

/** `broken`: cases that the client itself cannot pass, with the reason; they are skipped. */
export function declare(
  cases: readonly ContractCase[],
  broken: Readonly<Record<string, string>> = {},
): void {
  const names = cases.map(({ name }) => name);
  for (const name of Object.keys(broken)) {
    if (!names.includes(name)) throw new Error(`no case is called '${name}'`);
  }
  const rows = cases.map(({ name, run }) => [name, run] as const);
  test.for(rows)('%s', async ([name, run], { skip }) => {
    skip(Object.hasOwn(broken, name), broken[name]);
    expect(await run()).toBeUndefined();
  });
}

/** `place` is called when each case runs, because servers and clients start in `beforeAll`. */
export function declareStore(title: string, place: () => Place): void {
  describe(`${title}: the store's contract`, () => {
    const contract = storeContract({
      makeLimiter: (options) =>
        new RateLimiter({ ...options, ...place(), timeoutMs: UNREACHED_MS }),
      advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 1)),
    });
    declare(contract);
  });
}

export function declareClient(
  title: string,
  subject: () => ClientUnderTest,
  broken?: Readonly<Record<string, string>>,
  settings: Pick<ClientUnderTest, 'tellsOfLoss'> = {},
): void {
  describe(`${title}: the client's contract`, () => {
    const contract = clientContract({
      ...settings,
      open: () => subject().open(),
      faults: {
        lose: () => subject().faults.lose(),
        stall: () => subject().faults.stall(),
        restore: () => subject().faults.restore(),
      },
    });
    declare(contract, broken);
  });
}
