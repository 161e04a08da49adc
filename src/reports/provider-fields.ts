import { firstWhole, untilReset, wholeNumber } from './field-values.ts';
import { NOTHING_SAID } from './reported-limit.ts';
import type { ReadField, ReportedLimit } from './reported-limit.ts';

/** The fields of one limit of a provider that has a limit for each unit. */
interface ProviderFields {
  readonly name: string;
  readonly unit: 'requests' | 'tokens';
  readonly limit: string;
  readonly remaining: string;
  readonly reset: string;
  /** Seconds of the window; empty if the provider does not send it. */
  readonly window: string;
}

/**
 * OpenAI: https://developers.openai.com/api/docs/guides/rate-limits#rate-limits-in-headers. Azure sends the same
 * fields, with resets in seconds: https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota.
 */
const OPENAI = (['requests', 'tokens', 'project-tokens'] as const).map((name): ProviderFields => ({
  name,
  unit: name === 'requests' ? name : 'tokens',
  limit: `x-ratelimit-limit-${name}`,
  remaining: `x-ratelimit-remaining-${name}`,
  reset: `x-ratelimit-reset-${name}`,
  window: `x-ratelimit-renewalperiod-${name}`,
}));

/** Anthropic: https://platform.claude.com/docs/en/api/rate-limits#response-headers. */
const ANTHROPIC = (
  [
    ['ratelimit-requests', 'requests'],
    ['ratelimit-tokens', 'tokens'],
    ['ratelimit-input-tokens', 'input-tokens'],
    ['ratelimit-output-tokens', 'output-tokens'],
    ['priority-input-tokens', 'priority-input-tokens'],
    ['priority-output-tokens', 'priority-output-tokens'],
  ] as const
).map(([field, name]): ProviderFields => ({
  name,
  unit: name === 'requests' ? name : 'tokens',
  limit: `anthropic-${field}-limit`,
  remaining: `anthropic-${field}-remaining`,
  reset: `anthropic-${field}-reset`,
  window: '',
}));

const PROVIDERS = [OPENAI, ANTHROPIC];

export const PROVIDER_FIELD_NAMES: readonly string[] = PROVIDERS.flat()
  .flatMap(({ limit, remaining, reset, window }) => [limit, remaining, reset, window])
  .filter((name) => name !== '');

/**
 * Reads the fields of a provider that reports a limit for each unit: OpenAI, Azure, Anthropic. A limit whose quota and
 * rest are both missing, or -1 as Azure writes it, is left out.
 */
export function readProviderFields(read: ReadField, serverNow: number): readonly ReportedLimit[] {
  for (const provider of PROVIDERS) {
    const limits = provider.flatMap((fields) => {
      const quota = firstWhole(read(fields.limit));
      const remaining = firstWhole(read(fields.remaining));
      if (quota === undefined && remaining === undefined) return [];
      const windowS = fields.window === '' ? undefined : wholeNumber(read(fields.window));
      return [
        {
          ...NOTHING_SAID,
          name: fields.name,
          unit: fields.unit,
          quota,
          remaining,
          windowMs: windowS === undefined ? undefined : windowS * 1_000,
          ...(windowS === undefined ? { refills: true as const } : {}),
          effectiveWindowMs: untilReset(read(fields.reset), serverNow),
        },
      ];
    });
    if (limits.length > 0) return limits;
  }
  return [];
}
