import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { causeOf } from '../../../src/redis/connection/clean-cause.ts';

const digest = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
const key = `app:token_bucket:${digest}`;

describe("the cause keeps a client's error without what it quotes", () => {
  test.each([
    [
      `ERR unknown command 'EVALSHA', with args beginning with: 'fe3a' '1' '${key}' '60000000'`,
      "ERR unknown command 'EVALSHA', with arguments (not repeated)",
    ],
    [
      "ERR unknown command `EVALSHA`, with args beginning with: `fe3a`, `1`, `app:token_bu'",
      'ERR unknown command `EVALSHA`, with arguments (not repeated)',
    ],
    [
      "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hunter2' ",
      "ERR unknown command 'HELLO', with arguments (not repeated)",
    ],
    [`ERR '${key}' and '{${key}}/a' not in the same slot`, "ERR '…' and '…' not in the same slot"],
    [`ERR no shard for ${key}, try later`, 'ERR no shard for … try later'],
    [
      "NOPERM No permissions to access the 'short' key",
      "NOPERM No permissions to access the '…' key",
    ],
    [
      "NOPERM User app has no permissions to run the 'evalsha' command",
      "NOPERM User app has no permissions to run the 'evalsha' command",
    ],
    [
      "CROSSSLOT Keys in request don't hash to the same slot, can't go on",
      "CROSSSLOT Keys in request don't hash to the same slot, can't go on",
    ],
    ['connect ECONNREFUSED 127.0.0.1:6379', 'connect ECONNREFUSED 127.0.0.1:6379'],
    [
      "Stream isn't writeable and enableOfflineQueue options is false",
      "Stream isn't writeable and enableOfflineQueue options is false",
    ],
  ])('cleans an error: %s', (text, kept) => {
    const raised = Object.assign(new Error(text, { cause: new Error(text) }), { command: key });
    const cause = causeOf(raised) as Error;
    expect(cause.message).toBe(kept);
    expect((cause.cause as Error).message).toBe(kept);
    expect(cause.stack).toContain('cause.test.ts');
    const logged = inspect(cause, { depth: Infinity, showHidden: true });
    for (const data of [digest, 'hunter2', 'app:token_bu']) expect(logged).not.toContain(data);
  });

  test('cleans an error raised as text', () => {
    expect(causeOf(`ERR '${key}'`)).toBe("ERR '…'");
  });
});
