import { openResp } from '../servers/index.mjs';
import type { RedisServer } from '../servers/index.mjs';
import type { Grouping } from './grouping.ts';
import type { Write } from './map-table.ts';
import { writeOf } from './map-table.ts';
import { virtualScript } from '../fakes/virtual-script.ts';

export type Reply = readonly (number | string)[];

/**
 * The script under test, word for word, and then no TTL on any of its keys, all at one instant for the server. It writes
 * key by key also where the server has `MSETEX`, of which `MONITOR` shows one TTL for all keys; write-together.test.ts
 * compares the two.
 */
function keeping(script: string): string {
  return `local server = redis
local redis = { call = server.call, pcall = server.pcall, error_reply = server.error_reply }
local function decide()
${script}
end
local out = decide()
for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
return out`;
}

const PUT = `for i, key in ipairs(KEYS) do
  if ARGV[i] == '' then redis.call('DEL', key) else redis.call('SET', key, ARGV[i]) end
end`;

/** A line of `MONITOR` about a command that a script executed, but for its arguments. */
const BY_SCRIPT = /^[\d.]+ \[\d+ lua\] "(PSETEX|SET|DEL|PERSIST)" /;

/**
 * The Lua twin on a real server, at any instant. The server's TTLs run on real time, which is not that of the
 * trace: so a call removes them in the end, and what they were is read off `MONITOR`.
 */
export class LuaTwin {
  readonly #connection: Awaited<ReturnType<typeof openResp>>;
  readonly #listener: Awaited<ReturnType<typeof openResp>>;
  readonly #decideAndKeep: string;
  readonly #put: string;
  readonly #aside: string;
  /** The calls under way, in the order sent, each with the callback that receives its writes. */
  readonly #awaiting: ((writes: Write[]) => void)[] = [];
  #writes: Write[] | undefined;

  /** How many fresh states were written without a look at the key, which only the fast path does. */
  fastWrites = 0;

  /** `script`: with a virtual clock, as `virtualScript`. */
  static async open(server: RedisServer, script: string = virtualScript.text): Promise<LuaTwin> {
    const [connection, listener] = await Promise.all([
      openResp({ path: server.socketPath, timeoutMs: 60_000 }),
      openResp({ path: server.socketPath }),
    ]);
    const sha1s = await Promise.all(
      [keeping(script), PUT, script].map((text) => connection.command('SCRIPT', 'LOAD', text)),
    );
    const twin = new LuaTwin(connection, listener, sha1s[0], sha1s[1], sha1s[2]);
    listener.onUnasked((line) => twin.#hear(line as string));
    await listener.command('MONITOR');
    return twin;
  }

  private constructor(
    connection: Awaited<ReturnType<typeof openResp>>,
    listener: Awaited<ReturnType<typeof openResp>>,
    decideAndKeep: string,
    put: string,
    aside: string,
  ) {
    this.#connection = connection;
    this.#listener = listener;
    this.#decideAndKeep = decideAndKeep;
    this.#put = put;
    this.#aside = aside;
  }

  /** Ends the connections once all that was sent has been answered. */
  async close(): Promise<void> {
    await this.#connection.command('PING');
    this.#connection.close();
    this.#listener.close();
  }

  /** Sends one script call at `now`; keeps what it wrote without a TTL. */
  async decide(
    { keys, args }: Grouping,
    now: number,
  ): Promise<{ reply: Reply; writes: readonly Write[] }> {
    const written = new Promise<Write[]>((resolve) => this.#awaiting.push(resolve));
    const reply = await this.#evaluate(this.#decideAndKeep, keys, [...args, String(now)]);
    return { reply, writes: await written };
  }

  /** Puts states under keys, without a TTL; an empty one deletes. */
  async put(values: ReadonlyMap<string, string>): Promise<void> {
    await this.#evaluate(this.#put, [...values.keys()], [...values.values()]);
  }

  /** Sends one script call at `now` on keys that nobody looks at again. */
  async decideAside({ keys, args }: Grouping, now: number): Promise<Reply> {
    return this.#evaluate(this.#aside, keys, [...args, String(now)]);
  }

  /** What these keys hold. */
  async read(keys: readonly string[]): Promise<(string | null)[]> {
    return keys.length === 0 ? [] : this.#connection.command('MGET', ...keys);
  }

  async forget(): Promise<void> {
    await this.#connection.command('FLUSHALL');
  }

  #evaluate(sha1: string, keys: readonly string[], args: readonly string[]): Promise<Reply> {
    return this.#connection.command('EVALSHA', sha1, keys.length, ...keys, ...args);
  }

  #hear(line: string): void {
    const byScript = BY_SCRIPT.exec(line);
    if (byScript === null) {
      if (line.includes(`] "EVALSHA" "${this.#decideAndKeep}" `)) {
        this.#writes = [];
      }
      return;
    }
    if (this.#writes === undefined) {
      return;
    }
    const [key = '', ...rest] = wordsOf(line.slice(byScript[0].length));
    if (byScript[1] === 'PSETEX') {
      this.#writes.push(writeOf(key, { ttlMs: Number(rest[0]), value: rest[1] ?? '' }));
    } else if (byScript[1] === 'SET') {
      this.#writes.push(writeOf(key, { value: rest[0] ?? '', ttlMs: Number(rest[2]) }));
      this.fastWrites += 1;
    } else if (byScript[1] === 'DEL') {
      this.#writes.push(writeOf(key, undefined));
    } else {
      this.#awaiting.shift()?.(this.#writes);
      this.#writes = undefined;
    }
  }
}

/**
 * The arguments in a line of `MONITOR`, each in quotes and escaped. Valkey 8.1 escapes no quotes, so a word goes on after
 * a quote that no other word follows.
 */
function wordsOf(text: string): string[] {
  return [...text.matchAll(/"((?:[^\\]|\\.)*?)"(?= "|$)/g)].map(([, word = '']) =>
    word.replaceAll(/\\(?:x([\da-f]{2})|(.))/g, (_, code: string | undefined, letter: string) =>
      code === undefined
        ? (ESCAPED[letter] ?? letter)
        : String.fromCodePoint(Number.parseInt(code, 16)),
    ),
  );
}

const ESCAPED: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\u0007',
  b: '\b',
};
