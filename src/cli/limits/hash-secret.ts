import type { Given, OptionTable } from '../kit/command.ts';
import { UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';

export const SECRET_OPTION: OptionTable = {
  'hash-secret-env': {
    type: 'string',
    value: '<name>',
    help: 'The environment variable that holds the `hashSecret` of your limiter',
  },
};

/** The secret in the variable that `--hash-secret-env` names; a command line would show it to all processes. */
export function readSecret(given: Given, io: Io): string | undefined {
  const name = given.text('hash-secret-env');
  if (name === undefined) {
    return undefined;
  }
  const secret = io.env[name];
  if (secret === undefined || Buffer.byteLength(secret) < 32) {
    throw new UsageError(
      `--hash-secret-env ${name}: the environment has no such variable of at least 32 bytes. Set it to the \`hashSecret\` of your limiter.`,
    );
  }
  return secret;
}
