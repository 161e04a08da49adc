import { pacedFetch, parseRateLimit } from 'distributed-rate-limiter/fetch';
import type { RateLimitReport, ResponseHeaders } from 'distributed-rate-limiter/fetch';
import type { Random } from '../../kit/random.mjs';
import { Finding } from './area.ts';
import type { Area } from './area.ts';
import { anyText } from './values.ts';

const NAMES = [
  'ratelimit',
  'ratelimit-policy',
  'ratelimit-limit',
  'ratelimit-remaining',
  'ratelimit-reset',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'x-rate-limit-reset',
  'retry-after',
  'retry-after',
  'date',
  'age',
  '__proto__',
  'constructor',
  'get',
];

const PIECES = [
  '"default"',
  '"a"',
  ';r=',
  ';t=',
  ';q=',
  ';w=',
  ';pk=',
  ';qu=',
  ':dHJp:',
  ',',
  ', ',
  ';',
  '=',
  'limit=',
  'remaining=',
  'reset=',
  '0',
  '1',
  '60',
  '-1',
  '1.5',
  '999999999999999',
  '1e9',
  '?1',
  '@17',
  '"',
  '\\',
  ':',
  '(',
  ')',
  '%"',
  '*',
  'a',
  ' ',
  '\t',
  'é',
  'requests',
];

function anyField(random: Random, nowMs: number): string {
  switch (random.int(0, 7)) {
    case 0:
      return anyText(random);
    case 1:
      return String(random.magnitude(1, Number.MAX_SAFE_INTEGER));
    case 2: {
      const at = new Date(nowMs + random.int(-1e10, 1e10)).toUTCString();
      const cut = random.int(0, at.length);
      return random.chance(60)
        ? at
        : at.slice(0, cut) + random.pick(['', '9', ' ']) + at.slice(cut + 1);
    }
    case 3:
      return random.pick(PIECES).repeat(random.chance(10) ? random.int(0, 9_000) : 3);
    case 4:
      return `"p${random.int(0, 2)}";q=${random.int(0, 99)};w=${random.int(0, 99)}, "p1";q=1;w=5`;
    case 5:
      return `"p${random.int(0, 2)}";r=${random.int(0, 2)};t=${random.magnitude(1, 1e15)}`;
    default:
      return Array.from({ length: random.int(1, 12) }, () => random.pick(PIECES)).join('');
  }
}

function anyHeaders(random: Random, nowMs: number): ResponseHeaders {
  const record: Record<string, string | number | readonly string[] | null | undefined> =
    Object.create(null);
  for (let left = random.int(1, 5); left > 0; left--) {
    const name = random.pick(NAMES);
    const lines = Array.from({ length: random.chance(85) ? 1 : random.int(0, 4) }, () =>
      anyField(random, nowMs),
    );
    record[random.chance(70) ? name : name.toUpperCase()] = random.chance(5)
      ? random.pick([null, undefined, 5, Number.NaN, -1, 1e21])
      : lines.length === 1
        ? lines[0]
        : lines;
  }
  return record;
}

const wholes = (value: number | undefined): boolean =>
  value === undefined || (Number.isInteger(value) && value >= 0);

function check({ waitMs, retryAfterMs, limits }: RateLimitReport, input: unknown): void {
  if (!wholes(waitMs) || !wholes(retryAfterMs)) {
    throw new Finding(`wait ${waitMs}, retry after ${retryAfterMs}`, input);
  }
  for (const { quota, windowMs, remaining, effectiveWindowMs } of limits) {
    if (![quota, windowMs, remaining, effectiveWindowMs].every(wholes)) {
      throw new Finding('a number that is none', { input, limits });
    }
  }
}

const START = Date.UTC(2026, 0, 1);
const MAX_WAIT_MS = 10_000;
const MAX_RETRIES = 3;

/** Whatever a server answers is parsed without an error, and no caller waits longer, or calls more often, than told. */
export const responseHeaders: Area = {
  name: 'response headers',
  percent: 18,

  open: () => ({
    async run(random) {
      const headers = anyHeaders(random, START);
      try {
        check(parseRateLimit(headers, { now: START }), headers);
      } catch (error) {
        throw error instanceof Finding ? error : new Finding('it threw', headers, error);
      }
      if (!random.chance(10)) return;

      let [sent, waited] = [0, 0];
      const answered: unknown[] = [];
      const paced = pacedFetch({
        maxWaitMs: MAX_WAIT_MS,
        maxRetries: MAX_RETRIES,
        clock: {
          nowMicros: () => (START + waited) * 1_000,
          wakeAfter: (ms, wake) => {
            waited += ms;
            queueMicrotask(wake);
            return () => {};
          },
        },
        fetch: async () => {
          sent += 1;
          const fields = new Headers();
          for (const [name, value] of Object.entries(anyHeaders(random, START + waited))) {
            try {
              fields.append(name, String(value));
            } catch {
              // A real socket would not deliver it either.
            }
          }
          answered.push([...fields]);
          return new Response(null, { status: random.pick([200, 429, 503, 500]), headers: fields });
        },
      });
      // The second call may have to wait as the first response demands.
      for (const call of ['first', 'second']) {
        [sent, waited] = [0, 0];
        await paced('http://127.0.0.1/', { method: random.pick(['GET', 'POST']) });
        if (sent < 1 || sent > 1 + MAX_RETRIES || !(waited <= MAX_WAIT_MS)) {
          throw new Finding(`the ${call} call: sent ${sent} times, waited ${waited} ms`, answered);
        }
      }
    },
  }),
};
