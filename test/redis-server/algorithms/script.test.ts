import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assemble } from '../../../scripts/build-lua.mjs';
import { tokenBucket } from '../../../src/algorithms/token-bucket.ts';
import { RateLimiter } from '../../../src/limiter/rate-limiter.ts';
import { decideScript } from '../../../src/script/script.gen.ts';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { virtualScript } from '../../kit/fakes/virtual-script.ts';

describe('the script that production sends', () => {
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis();
  });

  afterAll(async () => {
    await redis?.close();
  });

  test("equals the built sources, and its SHA-1 is the server's", async () => {
    expect(decideScript).toStrictEqual(assemble());
    expect(decideScript.sha1).toBe(createHash('sha1').update(decideScript.text).digest('hex'));
    expect(await redis.command('SCRIPT', 'LOAD', decideScript.text)).toBe(decideScript.sha1);
  });

  test('differs only in its clock where a test sets the time', () => {
    const clock = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";
    const rest = decideScript.text.slice(clock.length);
    expect(decideScript.text.startsWith(clock)).toBe(true);
    expect(virtualScript.text).toBe(`local now = tonumber(table.remove(ARGV))\n${rest}`);
    // The production script has no test hooks.
    expect(rest).not.toContain('TIME');
  });

  test('has no shebang and calls only commands that Redis 5 has', () => {
    expect(decideScript.text.startsWith('#!')).toBe(false);
    // `MSETEX` is only called where the server says that it has it.
    const guarded =
      /if #KEYS >= \d+ and redis\.acl_check_cmd then\nlocal known, allowed = pcall\(redis\.acl_check_cmd, 'MSETEX'/;
    expect(decideScript.text).toMatch(guarded);
    const text = decideScript.text.replace(guarded, '');
    const commands = [...text.matchAll(/(?:p?call|in_chunks)\('([A-Z]+)'/g)];
    const onStrings = ['TIME', 'MGET', 'GET', 'SET', 'PSETEX', 'DEL', 'PEXPIRE'];
    const onSortedSets = ['ADD', 'COUNT', 'RANGE', 'REVRANGE', 'RANGEBYSCORE', 'REVRANGEBYSCORE']
      .concat(['REM', 'REMRANGEBYSCORE', 'SCORE'])
      .map((name) => `Z${name}`);
    expect(new Set(commands.map(([, name]) => name))).toStrictEqual(
      new Set([...onStrings, ...onSortedSets]),
    );
    expect(text).not.toMatch(/redis\.(?!(?:p?call|error_reply)\b)/);
  });

  test('touches only the keys in KEYS, and is cached once for all data', async () => {
    await redis.command('SCRIPT', 'FLUSH');
    const commands: string[] = [];
    const monitor = await redis.monitor((line) => commands.push(line));
    // 20 limits in two limiters of ten, for 1,000 identities, with every verb.
    const limiters = ['first', 'second'].map(
      (namespace) =>
        new RateLimiter({
          redis: redis.url,
          namespace,
          timeoutMs: 20_000,
          limits: Array.from({ length: 10 }, (_, i) =>
            tokenBucket({ name: `limit-${i}`, rate: 7 + i, period: `${1 + i}m`, burst: 3 + i }),
          ),
        }),
    );
    try {
      for (const limiter of limiters) {
        const decisions = await Promise.all(
          Array.from({ length: 1_000 }, (_, i) => limiter.allow(`id-${i}`, { cost: 1 + (i % 3) })),
        );
        expect(decisions.filter(({ reason }) => reason !== 'within_limit')).toStrictEqual([]);
        await limiter.peek('id-1');
        await limiter.reset('id-2');
      }
    } finally {
      await Promise.all(limiters.map((limiter) => limiter.close()));
    }
    expect((await redis.info('memory'))['number_of_cached_scripts']).toBe('1');
    expect((await redis.keyCounts()).keys).toBe(2 * 1_000); // a reset bucket is remembered
    expect(await redis.keysWithoutTtl()).toStrictEqual([]);

    await redis.command('ECHO', 'the end');
    await expect.poll(() => commands.at(-1), { timeout: 30_000 }).toContain('the end');
    monitor.stop();
    const inScript = commandsOf(commands);
    expect(inScript.undeclared).toStrictEqual([]);
    // The script reads each key together with others, and writes it.
    expect(inScript.seen).toBeGreaterThanOrEqual(2 * 2 * 1_000);
  });
});

/** Counts, in lines of `MONITOR`, the keys that the script's commands name, and lists the undeclared ones. */
function commandsOf(lines: readonly string[]): { seen: number; undeclared: string[] } {
  let declared = new Set<string>();
  let seen = 0;
  const undeclared: string[] = [];
  for (const line of lines) {
    const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word as string);
    const command = words[0]?.toUpperCase();
    if (line.includes(' lua] ')) {
      const keys =
        command === 'TIME'
          ? []
          : command === 'MGET' || command === 'DEL'
            ? words.slice(1)
            : command === 'MSETEX'
              ? words.slice(2, 2 + 2 * Number(words[1])).filter((_, i) => i % 2 === 0)
              : [words[1] as string];
      seen += keys.length;
      undeclared.push(...keys.filter((key) => !declared.has(key)));
    } else if (command === 'EVALSHA' || command === 'EVAL') {
      declared = new Set(words.slice(3, 3 + Number(words[2])));
    }
  }
  return { seen, undeclared };
}
