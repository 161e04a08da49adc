import { RateLimiterError, RateLimitExceeded, StoreError } from 'distributed-rate-limiter';
import type { RefusedDecision } from 'distributed-rate-limiter';
import * as functions from 'distributed-rate-limiter/limited';
import { expect, test } from 'vitest';

const known = { allowed: false, degraded: false, limits: [] };

function limitedBy(...names: readonly string[]): unknown {
  return { ...known, reason: 'limited', limitedBy: names, retryAfterMs: 8_218 };
}

function degraded(reason: string): unknown {
  return { ...known, degraded: true, reason, error: new StoreError('store_away', 'no connection') };
}

test.each([
  ['one limit', limitedBy('default'), "Refused by the limit 'default'. Try again in 8218 ms."],
  [
    'two limits',
    limitedBy('burst', 'daily'),
    "Refused by the limits 'burst' and 'daily'. Try again in 8218 ms.",
  ],
  [
    'three limits',
    limitedBy('a', 'b', 'c'),
    "Refused by the limits 'a', 'b' and 'c'. Try again in 8218 ms.",
  ],
  [
    'a block',
    { ...known, reason: 'blocked', retryAfterMs: 900_000 },
    'Refused because the identity is blocked. Try again in 900000 ms.',
  ],
  [
    'an impossible cost',
    { ...known, reason: 'impossible', maxCost: 20 },
    'Refused because the cost is more than can ever pass at once, which is 20. Ask for less.',
  ],
  [
    'a store that is away',
    degraded('store_away'),
    "Refused without an answer from the store (store_away), because `failStrategy` is 'closed'. Try again later.",
  ],
  [
    'a store that is late',
    degraded('store_timeout'),
    "Refused without an answer from the store (store_timeout), because `failStrategy` is 'closed'. Try again later.",
  ],
])('RateLimitExceeded names the limits that refused: %s', (_, decision, message) => {
  const error = new RateLimitExceeded(decision as RefusedDecision);
  expect(error.message).toBe(message);
  expect(error.code).toBe('ERR_RATE_LIMIT_EXCEEDED');
  expect(error.decision).toBe(decision);
  expect(error).toBeInstanceOf(RateLimiterError);
});

test('RateLimitExceeded of the main entry and of /limited are one class', () => {
  expect(RateLimitExceeded).toBe(functions.RateLimitExceeded);
});
