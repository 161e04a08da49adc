import { describe, expect, test } from 'vitest';
import { fixedWindow, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import type { Verdict } from 'distributed-rate-limiter/http';
import { acceptOf, formFor } from '../../../src/http/accept.ts';

describe('the form of a refusal by `Accept`', () => {
  test.each([
    [undefined, 'problem'],
    ['', 'problem'],
    [' , ,;', 'problem'],
    ['*/*', 'problem'],
    ['application/problem+json', 'problem'],
    ['application/json', 'problem'],
    ['APPLICATION/JSON, text/html;q=0.9', 'problem'],
    ['application/*, text/html;q=0.9', 'problem'],
    ['text/html', 'html'],
    ['TEXT/HTML', 'html'],
    ['text/*', 'html'],
    ['text/plain', 'text'],
    ['text/plain, text/html', 'html'],
    ['text/html;q=0.2, text/plain;q=0.3', 'text'],
    ['text/html;q=0.2, text/plain;Q=0.3', 'text'],
    // The clients themselves.
    [
      'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
      'html',
    ],
    ['application/json, text/plain, */*', 'problem'],
    ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', 'html'],
    // The most specific range counts, whatever the order.
    ['text/*, text/html;q=0', 'text'],
    ['text/html;q=0, text/*', 'text'],
    ['*/*, application/problem+json;q=0, application/json', 'html'],
    ['*/*;q=0.5, application/json;q=0.1', 'html'],
    ['text/*;q=0.9, text/html;q=0.1, application/json;q=0.5', 'text'],
    ['application/json;q=0.2, application/*;q=0.9, text/html;q=0.5', 'html'],
    // Of equal ranges the better one counts.
    ['text/html;q=0.1, text/html;q=0.8, application/json;q=0.5', 'html'],
    ['text/html;level=1;q=0.8, text/html;q=0.1, application/json;q=0.5', 'html'],
    // No form is acceptable.
    ['image/png', 'problem'],
    ['*/*;q=0', 'problem'],
    ['text/html;q=0.000', 'problem'],
    // Malformed.
    ['text/html;q=2', 'problem'],
    ['text/html;q=-1', 'problem'],
    ['text/html;q=0.0001', 'problem'],
    ['text/html;q=1e-9', 'problem'],
    ['text/html;q=', 'problem'],
    ['text/html;q', 'problem'],
    ['text/html;q=x, text/plain;q=0.1', 'text'],
    ['html', 'problem'],
    ['constructor', 'problem'],
    ['__proto__, text/plain', 'text'],
    // Quoted strings hold no separators.
    ['text/html;a=",text/plain;q=1";q=0, application/json;q=0.1', 'problem'],
    ['image/png;a="\\",text/html", text/plain', 'text'],
    ['image/png;a=", text/html', 'problem'],
  ])('%j gives %s', (accept, form) => {
    expect(formFor(accept)).toBe(form);
  });

  test('is the problem for more than 4,096 characters', () => {
    const padded = (length: number): string => `text/plain${' '.repeat(length - 10)}`;
    expect([formFor(padded(4_096)), formFor(padded(4_097))]).toEqual(['text', 'problem']);
  });

  test.each<[what: string, request: unknown, accept: string | undefined]>([
    ["Node's request", { headers: { accept: 'text/html' } }, 'text/html'],
    ['a web Request', new Request('http://x/', { headers: { accept: 'text/html' } }), 'text/html'],
    ['a web Request without it', new Request('http://x/'), undefined],
    ["Node's request without it", { headers: {} }, undefined],
    ['an object without fields', {}, undefined],
    ['nothing', undefined, undefined],
    ['text', 'text/html', undefined],
  ])('is read from %s', (_, request, accept) => {
    expect(acceptOf(request)).toBe(accept);
  });
});

describe('a page', () => {
  const identify = (): string => 'anna';
  async function refuse(
    limit: Limit,
    prepare: (limiter: RateLimiter) => Promise<unknown>,
    cost = 1,
  ): Promise<Verdict> {
    const limiter = new RateLimiter({ store: new MemoryStore(), limits: [limit], blocks: true });
    await prepare(limiter);
    const guard = createGuard<object>(limiter, { identify, cost, negotiate: true });
    return guard.check({ headers: { accept: 'text/plain' } });
  }
  const spend = (limiter: RateLimiter): Promise<unknown> => limiter.allow('anna');
  const nothing = async (): Promise<void> => {};

  test.each<[what: string, page: string, verdict: () => Promise<Verdict>]>([
    [
      'seconds',
      'Too Many Requests\n\nYou have sent too many requests. Try again in 1 second.\n',
      () => refuse(tokenBucket({ rate: 1, period: '500ms' }), spend),
    ],
    [
      'up to two minutes in seconds',
      'Too Many Requests\n\nYou have sent too many requests. Try again in 119 seconds.\n',
      () => refuse(tokenBucket({ rate: 1, period: '119s' }), spend),
    ],
    [
      'minutes, rounded up',
      'Too Many Requests\n\nYou have sent too many requests. Try again in 3 minutes.\n',
      () => refuse(tokenBucket({ rate: 1, period: '130s' }), spend),
    ],
    [
      'hours',
      'Too Many Requests\n\nYou have sent too many requests. Try again in 3 hours.\n',
      () => refuse(tokenBucket({ rate: 1, period: '3h' }), spend),
    ],
    [
      'a block in days',
      'Too Many Requests\n\nYour requests are blocked at present. Try again in 3 days.\n',
      () =>
        refuse(tokenBucket({ rate: 1, period: '1s' }), (limiter) => limiter.block('anna', '3d')),
    ],
    [
      'that waiting is no use',
      'Too Many Requests\n\nThis request asks for more than is ever allowed.\n',
      () => refuse(fixedWindow({ rate: 1, period: '1h' }), nothing, 2),
    ],
    [
      'that nothing is allowed',
      'Forbidden\n\nNo requests are allowed.\n',
      () => refuse(fixedWindow({ rate: 0, period: '1h' }), nothing),
    ],
  ])('says %s', async (_, page, verdict) => {
    expect(await verdict()).toMatchObject({ pass: false, body: page });
  });

  test('of HTML is exactly this', async () => {
    const guard = createGuard<object>(
      { store: new MemoryStore(), rate: 1, period: '1m' },
      { identify: () => '', negotiate: true },
    );
    expect(await guard.check({ headers: { accept: 'text/html' } })).toEqual({
      pass: false,
      status: 400,
      headers: [
        ['Content-Type', 'text/html; charset=utf-8'],
        ['Vary', 'Accept'],
      ],
      body: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>Bad Request</title>
</head>
<body>
<h1>Bad Request</h1>
<p>This request does not say who makes it.</p>
</body>
</html>
`,
    });
  });

  test('is not sent for the parts of a request', async () => {
    const guard = createGuard<object>(
      { store: new MemoryStore(), rate: 1, period: '1m' },
      { identify: () => '', negotiate: true },
    );
    const verdict = await guard.check({ headers: { accept: 'text/html' } }, {});
    expect(verdict.headers).toEqual([['Content-Type', 'application/problem+json']]);
  });
});
