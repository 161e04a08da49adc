import { describe, expect, test } from 'vitest';
import { closings, runClosing } from './closing.mjs';

describe('close() settles, and the process exits by itself', () => {
  test.each(closings.filter(({ thorough }) => !thorough))('during $name', async (closing) => {
    const rows = await runClosing(closing);
    expect(rows).toHaveLength(4);
    for (const { client, closeMs, exitMs } of rows) {
      console.log(
        `${client}: closed in ${closeMs.toFixed(0)} ms, ended ${exitMs.toFixed(0)} ms later`,
      );
    }
  });
});
