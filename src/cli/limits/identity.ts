import type { AnyIdentity } from '../../base/identity.ts';
import { UsageError } from '../kit/io.ts';

/** `user:12345`; several words are an identity of several parts, in order; `org=acme user=42` where limits say `by`. */
export function readIdentity(words: readonly string[], isByParts: boolean): AnyIdentity {
  if (!isByParts) {
    return words.length === 1 ? words[0]! : words;
  }
  const parts = words.map((word) => /^([A-Za-z0-9._-]{1,64})=(.+)$/.exec(word)?.slice(1, 3));
  const wrong = parts.indexOf(undefined);
  if (wrong >= 0) {
    throw new UsageError(
      `the limits count by parts: write each as name=value, such as org=acme; got '${words[wrong]}'.`,
    );
  }
  return Object.fromEntries(parts as [string, string][]);
}
