import { expect, vi } from 'vitest';

/** Waits until a provider of examples/llm generates nothing more: in 100 ms it would generate some 50 words. */
export async function providerStops(provider: { readonly sent: number }): Promise<void> {
  let sent = -1;
  await vi.waitFor(
    () => {
      const before = sent;
      sent = provider.sent;
      expect(sent).toBe(before);
    },
    { interval: 100, timeout: 20_000 },
  );
}
