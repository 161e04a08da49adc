import { digestIdentity } from '../../base/identity.ts';
import type { Given, OptionTable } from '../kit/command.ts';
import type { Io } from '../kit/io.ts';
import { readSecret, SECRET_OPTION } from '../limits/hash-secret.ts';

const MOST_CALLERS = 1_000_000;

/** How a caller is shown. */
export type NameCaller = (caller: string) => string;

export const MAX_CALLERS_OPTION: OptionTable = {
  'max-callers': {
    type: 'string',
    value: '<number>',
    help: 'The most callers told apart, which bounds the memory (default 1000000)',
  },
};

export const CALLER_OPTIONS: OptionTable = {
  show: { type: 'boolean', help: 'Print callers as they are, in place of their digests' },
  ...SECRET_OPTION,
  ...MAX_CALLERS_OPTION,
};

/** Characters of a digest: enough to tell callers apart, and to find the key of one in Redis. */
const SHOWN = 16;

export function readCallerOptions(
  given: Given,
  io: Io,
): { readonly mostCallers: number; readonly nameOf: NameCaller } {
  const secret = readSecret(given, io);
  const mostCallers = readMostCallers(given);
  const nameOf: NameCaller = given.flag('show')
    ? (caller) => caller
    : (caller) => `${digestIdentity(caller, secret).slice(0, SHOWN)}…`;
  return { mostCallers, nameOf };
}

export function readMostCallers(given: Given): number {
  return given.integer('max-callers', MOST_CALLERS, 1, 10_000_000);
}
