import { describe, expect, test } from 'vitest';
import { parseRateLimit } from 'distributed-rate-limiter/fetch';
import type { RateLimitReport } from 'distributed-rate-limiter/fetch';

/** Tue, 10 Sep 2024 23:58:08 GMT, where an example has no `Date`. */
const NOW = Date.UTC(2024, 8, 10, 23, 58, 8);

/** Reads an example as its page prints it: one field on a line. */
function read(example: string, now = NOW): RateLimitReport {
  const fields = example
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/:\s+/) as [string, string]);
  const report = parseRateLimit(Object.fromEntries(fields), { now });
  expect(parseRateLimit(new Headers(fields), { now })).toEqual(report);
  return report;
}

/** A row: what is read, the fields, and what is reported of limits and waits. */
type Row = readonly [sentence: string, fields: string, limits: object[], waits?: object];

function cases(rows: readonly Row[]): void {
  const named = rows.map(([sentence, ...row]) => [sentence, row] as const);
  test.each(named)('%s', (_, [fields, expected, waits = { waitMs: 0 }]) => {
    const report = read(fields);
    const limits = report.limits.map((limit) => JSON.parse(JSON.stringify(limit)) as object);
    expect(limits).toEqual(expected);
    expect(report).toMatchObject(waits);
  });
}

/** https://developers.openai.com/api/docs/guides/rate-limits#rate-limits-in-headers */
describe('OpenAI', () => {
  cases([
    [
      'the sample values of the table',
      `x-ratelimit-limit-requests: 60
       x-ratelimit-limit-tokens: 150000
       x-ratelimit-remaining-requests: 59
       x-ratelimit-remaining-tokens: 149984
       x-ratelimit-reset-requests: 1s
       x-ratelimit-reset-tokens: 6m0s`,
      [
        {
          name: 'requests',
          unit: 'requests',
          refills: true,
          quota: 60,
          remaining: 59,
          effectiveWindowMs: 1_000,
        },
        {
          name: 'tokens',
          unit: 'tokens',
          refills: true,
          quota: 150_000,
          remaining: 149_984,
          effectiveWindowMs: 360_000,
        },
      ],
    ],
    [
      'limits of a project beside those of the organization, in milliseconds and with fractions',
      `x-ratelimit-remaining-tokens: 0
       x-ratelimit-reset-tokens: 7.66s
       x-ratelimit-remaining-project-tokens: 9
       x-ratelimit-reset-project-tokens: 12ms`,
      [
        { name: 'tokens', unit: 'tokens', refills: true, remaining: 0, effectiveWindowMs: 7_660 },
        {
          name: 'project-tokens',
          unit: 'tokens',
          refills: true,
          remaining: 9,
          effectiveWindowMs: 12,
        },
      ],
      { waitMs: 7_660, retryAfterMs: undefined },
    ],
    [
      'retry-after-ms, which its clients read before Retry-After',
      `retry-after-ms: 1250.5
       retry-after: 2
       x-ratelimit-remaining-requests: 0
       x-ratelimit-reset-requests: 1m30.5s`,
      [
        {
          name: 'requests',
          unit: 'requests',
          refills: true,
          remaining: 0,
          effectiveWindowMs: 90_500,
        },
      ],
      { waitMs: 1_251, retryAfterMs: 1_251 },
    ],
    [
      'a reset that cannot be read leaves the rest',
      `x-ratelimit-remaining-requests: 3
       x-ratelimit-reset-requests: soon`,
      [{ name: 'requests', unit: 'requests', refills: true, remaining: 3 }],
    ],
  ]);
});

/**
 * https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota, and for the values below
 * https://learn.microsoft.com/answers/questions/5625878. `x-ms-retry-after-ms` is read by `@azure/core-rest-pipeline`.
 */
describe('Azure', () => {
  cases([
    [
      'limits of a deployment, resets in seconds',
      `x-ratelimit-limit-requests: 300
       x-ratelimit-remaining-requests: 299
       x-ratelimit-renewalperiod-requests: 60
       x-ratelimit-limit-tokens: 50000
       x-ratelimit-remaining-tokens: 46760
       x-ratelimit-reset-tokens: 6`,
      [
        { name: 'requests', unit: 'requests', quota: 300, remaining: 299, windowMs: 60_000 },
        {
          name: 'tokens',
          unit: 'tokens',
          refills: true,
          quota: 50_000,
          remaining: 46_760,
          effectiveWindowMs: 6_000,
        },
      ],
    ],
    [
      '-1 says nothing',
      `x-ratelimit-limit-tokens: -1
       x-ratelimit-remaining-tokens: -1
       x-ratelimit-reset-tokens: 0
       x-ratelimit-remaining-requests: 12`,
      [{ name: 'requests', unit: 'requests', refills: true, remaining: 12 }],
    ],
    [
      'a refusal of provisioned throughput',
      `retry-after-ms: 8734
       retry-after: 9`,
      [],
      { waitMs: 8_734, retryAfterMs: 8_734 },
    ],
    ['x-ms-retry-after-ms', 'x-ms-retry-after-ms: 40', [], { waitMs: 40, retryAfterMs: 40 }],
  ]);
});

/** https://platform.claude.com/docs/en/api/rate-limits#response-headers; the values are of a recorded response. */
describe('Anthropic', () => {
  cases([
    [
      'a limit for each unit, resets as timestamps',
      `date: Thu, 21 Aug 2025 12:41:00 GMT
       anthropic-ratelimit-input-tokens-limit: 80000
       anthropic-ratelimit-input-tokens-remaining: 79000
       anthropic-ratelimit-input-tokens-reset: 2025-08-21T12:41:01Z
       anthropic-ratelimit-output-tokens-limit: 16000
       anthropic-ratelimit-output-tokens-remaining: 0
       anthropic-ratelimit-output-tokens-reset: 2025-08-21T12:41:07.25Z
       anthropic-ratelimit-requests-limit: 1000
       anthropic-ratelimit-requests-remaining: 999
       anthropic-ratelimit-requests-reset: 2025-08-21T12:40:59Z
       anthropic-ratelimit-tokens-limit: 96000
       anthropic-ratelimit-tokens-remaining: 95000
       anthropic-ratelimit-tokens-reset: 2025-08-21T14:41:02+02:00`,
      [
        {
          name: 'requests',
          unit: 'requests',
          refills: true,
          quota: 1_000,
          remaining: 999,
          effectiveWindowMs: 0,
        },
        {
          name: 'tokens',
          unit: 'tokens',
          refills: true,
          quota: 96_000,
          remaining: 95_000,
          effectiveWindowMs: 2_000,
        },
        {
          name: 'input-tokens',
          unit: 'tokens',
          refills: true,
          quota: 80_000,
          remaining: 79_000,
          effectiveWindowMs: 1_000,
        },
        {
          name: 'output-tokens',
          unit: 'tokens',
          refills: true,
          quota: 16_000,
          remaining: 0,
          effectiveWindowMs: 7_250,
        },
      ],
      { waitMs: 7_250 },
    ],
    [
      'priority tier, and retry-after in seconds',
      `retry-after: 30
       anthropic-priority-input-tokens-limit: 10000
       anthropic-priority-input-tokens-remaining: 9618`,
      [
        {
          name: 'priority-input-tokens',
          unit: 'tokens',
          refills: true,
          quota: 10_000,
          remaining: 9_618,
        },
      ],
      { waitMs: 30_000, retryAfterMs: 30_000 },
    ],
    [
      'a timestamp of a day that does not exist is no reset',
      `anthropic-ratelimit-requests-remaining: 1
       anthropic-ratelimit-requests-reset: 2025-02-30T12:41:01Z`,
      [{ name: 'requests', unit: 'requests', refills: true, remaining: 1 }],
    ],
  ]);
});

/** https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit */
describe('GitHub', () => {
  cases([
    [
      'the resource is the name, the reset is in Unix seconds',
      `date: Mon, 01 Jul 2013 17:27:06 GMT
       x-ratelimit-limit: 60
       x-ratelimit-remaining: 56
       x-ratelimit-used: 4
       x-ratelimit-reset: 1372700873
       x-ratelimit-resource: core`,
      [{ name: 'core', quota: 60, remaining: 56, effectiveWindowMs: 1_247_000 }],
    ],
    [
      'a primary limit that is exceeded',
      `date: Tue, 20 Aug 2013 14:50:41 GMT
       x-ratelimit-limit: 60
       x-ratelimit-remaining: 0
       x-ratelimit-reset: 1377013266`,
      [{ quota: 60, remaining: 0, effectiveWindowMs: 3_025_000 }],
      { waitMs: 3_025_000 },
    ],
    [
      'a secondary limit',
      `retry-after: 60
       x-ratelimit-remaining: 4966`,
      [{ remaining: 4_966 }],
      { waitMs: 60_000 },
    ],
  ]);
});

/** https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers */
describe('GitLab', () => {
  cases([
    [
      'the examples of the table',
      `date: Tue, 05 Jan 2021 10:59:30 GMT
       RateLimit-Limit: 60
       RateLimit-Name: throttle_authenticated_web
       RateLimit-Observed: 67
       RateLimit-Remaining: 0
       RateLimit-Reset: 1609844400
       RateLimit-ResetTime: Tue, 05 Jan 2021 11:00:00 GMT
       Retry-After: 30`,
      [
        {
          name: 'throttle_authenticated_web',
          quota: 60,
          remaining: 0,
          effectiveWindowMs: 30_000,
        },
      ],
      { waitMs: 30_000, retryAfterMs: 30_000 },
    ],
    [
      'only the date of the reset',
      `date: Tue, 05 Jan 2021 10:59:30 GMT
       RateLimit-Remaining: 0
       RateLimit-ResetTime: Tue, 05 Jan 2021 11:00:00 GMT`,
      [{ remaining: 0, effectiveWindowMs: 30_000 }],
      { waitMs: 30_000 },
    ],
  ]);
});

/** https://docs.discord.com/developers/topics/rate-limits#header-format */
describe('Discord', () => {
  cases([
    [
      'the first example: seconds until the reset count, whatever the clocks say',
      `X-RateLimit-Limit: 5
       X-RateLimit-Remaining: 0
       X-RateLimit-Reset: 1470173023
       X-RateLimit-Reset-After: 1
       X-RateLimit-Bucket: abcd1234`,
      [{ name: 'abcd1234', quota: 5, remaining: 0, effectiveWindowMs: 1_000 }],
      { waitMs: 1_000 },
    ],
    [
      'a user limit that is exceeded',
      `Retry-After: 65
       X-RateLimit-Limit: 10
       X-RateLimit-Remaining: 0
       X-RateLimit-Reset: 1470173023.123
       X-RateLimit-Reset-After: 64.57
       X-RateLimit-Bucket: abcd1234
       X-RateLimit-Scope: user`,
      [{ name: 'abcd1234', quota: 10, remaining: 0, effectiveWindowMs: 64_570 }],
      { waitMs: 65_000, retryAfterMs: 65_000 },
    ],
    [
      'a shared limit that is exceeded while the own one is not',
      `Retry-After: 1337
       X-RateLimit-Limit: 10
       X-RateLimit-Remaining: 9
       X-RateLimit-Reset-After: 64.57
       X-RateLimit-Scope: shared`,
      [{ quota: 10, remaining: 9, effectiveWindowMs: 64_570 }],
      { waitMs: 1_337_000 },
    ],
    [
      'Retry-After with a fraction',
      `Retry-After: 64.57
       X-RateLimit-Global: true
       X-RateLimit-Scope: global`,
      [],
      { waitMs: 64_570, retryAfterMs: 64_570 },
    ],
    [
      'a fraction of a Unix time',
      `date: Tue, 02 Aug 2016 21:23:43 GMT
       X-RateLimit-Remaining: 1
       X-RateLimit-Reset: 1470173023.123`,
      [{ remaining: 1, effectiveWindowMs: 123 }],
    ],
  ]);
});

/** https://docs.docker.com/docker-hub/usage/pulls/#view-pull-rate-and-limit */
describe('Docker Hub', () => {
  cases([
    [
      'the window stands behind the number',
      `ratelimit-limit: 100;w=21600
       ratelimit-remaining: 20;w=21600
       docker-ratelimit-source: 192.0.2.1`,
      [{ quota: 100, windowMs: 21_600_000, remaining: 20 }],
    ],
    [
      'no pull left: when the next is possible, it does not say',
      `ratelimit-limit: 100;w=21600
       ratelimit-remaining: 0;w=21600`,
      [{ quota: 100, windowMs: 21_600_000, remaining: 0 }],
    ],
  ]);
});

describe('several forms in one response', () => {
  cases([
    [
      'the draft counts before a provider, a provider before X-RateLimit',
      `RateLimit: "default";r=7;t=5
       x-ratelimit-remaining-requests: 1
       x-ratelimit-remaining: 0
       x-ratelimit-reset: 60`,
      [{ name: 'default', remaining: 7, effectiveWindowMs: 5_000 }],
    ],
    [
      'a provider counts before X-RateLimit',
      `x-ratelimit-remaining-requests: 1
       x-ratelimit-remaining: 0
       x-ratelimit-reset: 60`,
      [{ name: 'requests', unit: 'requests', refills: true, remaining: 1 }],
    ],
  ]);
});

describe('resets of any form', () => {
  test.each([
    ['1h2m3.5s', 3_723_500],
    ['500us', 1],
    ['1.1s', 1_100],
    ['0s', 0],
    ['1d', 86_400_000],
    ['2024-09-10T23:58:09.000000001Z', 1_001],
    ['2024-09-10t23:58:09z', 1_000],
    ['2024-09-10 23:58:09+00:00', 1_000],
    ['Tue, 10 Sep 2024 23:59:08 GMT', 60_000],
    ['1725998287', 0],
    ['2024-09-10T23:58:09', undefined],
    ['2024-13-10T23:58:09Z', undefined],
    ['1s1', undefined],
    ['s', undefined],
    ['-1s', undefined],
    ['1 s', undefined],
    ['9'.repeat(400) + 's', undefined],
  ])('%s is %s ms away', (reset, ms) => {
    const { limits } = parseRateLimit(
      { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': reset },
      { now: NOW },
    );
    expect(limits[0]!.effectiveWindowMs).toBe(ms);
  });
});
