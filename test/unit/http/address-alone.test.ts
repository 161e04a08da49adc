import type * as net from 'node:net';
import { expect, test, vi } from 'vitest';
import { parseAddress } from '../../../src/http/address/address.ts';
import { casesOf, check } from '../../kit/random.mjs';
import { nearlyAddress } from '../../kit/fakes/spellings.ts';

/** `net.isIP` is the second check. Here it accepts everything, so that the first check is tested alone. */
vi.mock('node:net', async (original) => ({
  ...(await original<typeof net>()),
  isIP: () => 6,
}));

test('the parser alone accepts what net.isIP accepts', async () => {
  const { isIP } = await vi.importActual<typeof net>('node:net');
  await check(casesOf(50_000), (random) => {
    const text = nearlyAddress(random);
    random.note('text', text);
    // The text after a percent sign is dropped, and only the second check looks at it.
    if (!text.includes('%')) {
      expect(parseAddress(text) === undefined).toBe(isIP(text) === 0);
    }
  });
});

test.each([
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8:9:a',
  '1:2:3:4::5:6:7:8',
  '1:2:3:4:5:6::1.2.3.4',
  '1:2:3:4:5:6:7:1.2.3.4',
])('%s has too many groups to be an address', (text) => {
  expect(parseAddress(text)).toBeUndefined();
});
