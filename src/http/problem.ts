import type { Decision } from '../base/decision.ts';
import { isForbidden } from '../limiter/rate-limit-exceeded.ts';

/** The media type of all bodies in this file: RFC 9457. */
export const PROBLEM_JSON = 'application/problem+json';

const TYPES = 'https://iana.org/assignments/http-problem-types#';

/**
 * The reason of a refusal, as a problem of RFC 9457. The types and `violated-policies` are those of
 * draft-ietf-httpapi-ratelimit-headers-11 §6.
 *
 * @param detail what else to say about this refusal
 */
export function makeProblem(refused: Decision, detail?: string): string {
  const made = problemOf(refused);
  return detail === undefined ? made : JSON.stringify({ ...JSON.parse(made), detail });
}

function problemOf(refused: Decision): string {
  if (refused.degraded) {
    return UNAVAILABLE;
  }
  if (refused.reason === 'blocked') {
    return BLOCKED;
  }
  if (isForbidden(refused)) {
    return FORBIDDEN;
  }
  const [title, violated] =
    refused.reason === 'impossible'
      ? ['Request asks for more than the quota ever allows', refused.limitedBy]
      : [
          'Request cannot be satisfied as assigned quota has been exceeded',
          refused.reason === 'limited' ? refused.limitedBy : [],
        ];
  return problem(429, 'quota-exceeded', title, { 'violated-policies': violated });
}

function problem(status: number, type: string, title: string, members: object = {}): string {
  return JSON.stringify({
    type: type === 'about:blank' ? type : TYPES + type,
    title,
    status,
    ...members,
  });
}

const UNAVAILABLE = problem(
  503,
  'temporary-reduced-capacity',
  'Request cannot be checked against its quota at present',
);

const BLOCKED = problem(
  429,
  'abnormal-usage-detected',
  'Request not satisfied due to detection of abnormal request pattern',
);

const FORBIDDEN = problem(403, 'about:blank', 'Forbidden', {
  detail: 'The quota of this client allows no requests.',
});

/** Said of a request that would have waited for its turn. */
export const QUEUE_FULL =
  'As many requests of this client as may wait for their turn do so already.';

/** The body for a request without a usable identity. */
export const UNIDENTIFIED: string = problem(400, 'about:blank', 'Bad Request', {
  detail: 'The request does not say who makes it.',
});

/** The body for a request whose decision failed by an error of the application, if no framework answers it. */
export const FAILED: string = problem(500, 'about:blank', 'Internal Server Error');
