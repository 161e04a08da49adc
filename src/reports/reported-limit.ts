/** A server's report of one of its limits. Parts that the server did not send are undefined; nothing is guessed. */
export interface ReportedLimit {
  /**
   * The policy's name. Of a provider's fields: `requests`, `tokens`, `input-tokens` and the like, GitHub's resource,
   * GitLab's throttle, Discord's bucket. Undefined in forms that have none (draft-7, draft-6, `X-RateLimit-*`).
   */
  readonly name: string | undefined;
  /** Units that the limit allows per window: `q`, or `limit`. */
  readonly quota: number | undefined;
  /** The limit's window in milliseconds: `w` of the policy. */
  readonly windowMs: number | undefined;
  /** The unit counted: `qu`; `'requests'` if a policy names none; of a model provider's fields `requests` or `tokens`. */
  readonly unit: string | undefined;
  /** Units that are left: `r`, or `remaining`. */
  readonly remaining: number | undefined;
  /**
   * Milliseconds from the response within which no more than `remaining` can be used: `t`, or `reset`. OpenAI and
   * Anthropic send the time until the whole quota is back, which is longer than the wait for one unit.
   */
  readonly effectiveWindowMs: number | undefined;
  /**
   * Whether units come back continuously, so that `effectiveWindowMs` is the time until all are back: OpenAI,
   * Anthropic. Absent for others.
   */
  readonly refills?: true;
  /** `pk`, in base64 as it was sent: the client or resource under which the server counts. */
  readonly partitionKey: string | undefined;
}

export const NOTHING_SAID: ReportedLimit = {
  name: undefined,
  quota: undefined,
  windowMs: undefined,
  unit: undefined,
  remaining: undefined,
  effectiveWindowMs: undefined,
  partitionKey: undefined,
};

/** Returns the lines of a field, joined; undefined if there is none. */
export type ReadField = (name: string) => string | undefined;
