import { readLimitText } from '../../../src/cli/limits/limit-text.ts';
import { Policy } from './policy.ts';
import type { Requests } from './requests.ts';

/**
 * Every decision, as JSON lines: a request's time, its caller, and what each policy said, as `RateLimiter.allow`
 * answers it. Yields pieces of text.
 */
export async function* decisionsOf(
  requests: Requests,
  policies: readonly string[],
): AsyncGenerator<string> {
  const made = policies.map((text) => new Policy(readLimitText(text)));
  const keys = made.map((policy) => requests.names.map((name) => policy.keyOf(name)));
  for (let i = 0; i < requests.count; i++) {
    const at = requests.at[i]!;
    const caller = requests.caller[i]!;
    const decisions: Record<string, unknown> = {};
    for (const [n, policy] of made.entries()) {
      decisions[policies[n]!] = await policy.decide('allow', keys[n]![caller]!, at);
    }
    const row = { atMicros: at, caller: requests.names[caller], decisions };
    yield `${JSON.stringify(row)}\n`;
  }
}
