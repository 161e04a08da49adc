import { afterEach, beforeEach, expect, test, vi } from 'vitest';

beforeEach(() => {
  vi.resetModules();
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Makes a limiter with a copy of the package that is loaded under these globals. */
async function makeLimiter(globals: Readonly<Record<string, unknown>>): Promise<void> {
  for (const [name, value] of Object.entries(globals)) {
    vi.stubGlobal(name, value);
  }
  const { RateLimiter } = await import('../../../src/index.ts');
  await new RateLimiter({ redis: 'redis://localhost:1', rate: 1, period: '1s' }).close();
}

const navigator = { userAgent: 'Cloudflare-Workers' };

class WebSocketPair {
  0 = { readyState: 1 };
}

test.each([
  ['no `navigator`, as on Node 20', { navigator: undefined }],
  ['the `navigator` of Node', { navigator: { userAgent: 'Node.js/24' } }],
  ['a stubbed user agent of Cloudflare Workers', { navigator }],
  ['a stubbed WebSocketPair', { WebSocketPair }],
])('accepts a URL beside %s', async (_, globals) => {
  await expect(makeLimiter(globals)).resolves.toBeUndefined();
});

test('refuses a URL with both signs of Cloudflare Workers, and names the cures', async () => {
  await expect(makeLimiter({ navigator, WebSocketPair })).rejects.toMatchObject({
    code: 'ERR_RUNTIME_UNSUPPORTED',
    message: expect.stringMatching(
      /`redis`.*Cloudflare Workers \(workerd\).*request.*Durable Object.*MemoryStore.*Node\.js/,
    ),
  });
});
