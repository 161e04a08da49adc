import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { assemble } from '../../../scripts/build-lua.mjs';
import type { ScriptSource } from '../../../src/redis/connection/script.ts';
import type { RedisServer } from '../../kit/servers/index.mjs';

/**
 * The production script with a record of itself: `first` runs before it decides anything, `last` in place of the end of
 * every decision.
 */
export function scriptThatAlso({ first, last }: { first: string; last: string }): ScriptSource {
  const source = (name: string): string =>
    readFileSync(new URL(`../../../src/${name}.lua`, import.meta.url), 'utf8');
  const recording = (name: string): string => {
    const text = source(name);
    const told = text.replaceAll(/\n *return out\n/g, `\n${last}\nreturn out\n`);
    expect(told).not.toBe(text);
    return told;
  };
  return assemble({
    'script/clock': `${source('script/clock')}\n${first}`,
    'script/lone-path': recording('script/lone-path'),
    'script/home-path': recording('script/home-path'),
    'script/write': recording('script/write'),
  });
}

/**
 * Records every execution in a list at once with its writes, so that the list is replicated together with the states.
 * On a cluster the list is in the slot of the call, whose hash tag is one more argument, and each node has its own
 * list. So records stay in order when a slot moves.
 */
export function scriptThatNotes(): ScriptSource {
  return scriptThatAlso({
    first: `
      local node = redis.pcall('CLUSTER', 'MYID')
      local tag, log = table.remove(ARGV), '${LOG}'
      if type(node) == 'string' then
        log = '{' .. tag .. '}' .. log .. node
      end
    `,
    last: `
      local noted = {}
      for i = 1, #out do
        noted[i] = type(out[i]) == 'number' and string.format('%.0f', out[i]) or out[i]
      end
      redis.call('RPUSH', log, table.concat(KEYS, ' ') .. '|' .. table.concat(ARGV, ' ') .. '|' .. table.concat(noted, ' '))
    `,
  });
}

/** The list. On a cluster its name begins with a hash tag and ends with the node that wrote it. */
export const LOG = '#history@';

/** From here on the server runs no script, so its records so far are its whole history. */
export async function runNoMore(server: RedisServer): Promise<void> {
  await server.command('ACL', 'SETUSER', 'default', '-eval', '-evalsha');
}
