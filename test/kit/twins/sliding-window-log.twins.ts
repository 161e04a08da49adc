import { assemble } from '../../../scripts/build-lua.mjs';
import { decide } from '../../../src/script/decide.ts';
import type { Table } from '../../../src/script/decide.ts';
import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Rule, Shape, Verb } from '../../../src/script/call-shape.ts';
import type { Limit, Saved } from '../../../src/algorithms/limit.ts';
import { Log } from '../../../src/algorithms/sliding-window-log.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';
import { encodeCalls } from '../../../src/stores/encode.ts';
import type { Call } from '../../../src/stores/store.ts';
import { openResp } from '../servers/index.mjs';
import type { RedisServer } from '../servers/index.mjs';

/** Unix ms after which, by its TTL, a log ends: in virtual time the server's own clock must not end it. */
export const ENDS_AFTER_MS = 10_000_000_000_000;

/** The production script but for its clock, which is the last element of ARGV, and for when keys expire. */
const virtualScript = assemble({
  'script/clock': `--[[
  A clock that the caller sets.

  In:   ARGV   whole microseconds since the Unix epoch, last; taken off, so that the driver sees its own arguments
  Out:  now    the same
        redis  logs expire at ENDS_AFTER_MS and their TTL, other states an hour later than they would
]]
local now = tonumber(table.remove(ARGV))
local server, redis = redis, { call = redis.call }
function redis.pcall(command, ...)
  local args, ttl = { ... }, ({ PSETEX = 2, SET = 4 })[command]
  if command == 'PEXPIRE' then
    return server.pcall('PEXPIREAT', args[1], string.format('%d', args[2] + ${ENDS_AFTER_MS}))
  elseif ttl then
    args[ttl] = string.format('%d', args[ttl] + 3600000)
  end
  return server.pcall(command, unpack(args))
end
`,
});

export type Reply = readonly (number | string)[];

export function entryOf(
  key: string,
  verb: Verb,
  units: number,
  limits: readonly Limit[],
  details?: readonly string[],
): Entry {
  const shape = shapes.get(limits, verb, units);
  return details === undefined ? { key, shape } : { key, shape, details };
}

/** Entries that differ by their key alone share a shape, as they do in production. */
class Shapes {
  readonly #known = new WeakMap<readonly Limit[], Map<string, Shape>>();

  get(limits: readonly Limit[], verb: Verb, units: number): Shape {
    let known = this.#known.get(limits);
    if (known === undefined) {
      known = new Map();
      this.#known.set(limits, known);
    }
    const name = `${verb} ${units}`;
    let shape = known.get(name);
    if (shape === undefined) {
      const cost = verb === 'allow' || verb === 'peek' ? units : 1;
      const rules: Rule[] = limits.map((limit) => ({
        limit,
        plan: limit.plan(cost, 0),
        ...stateKeyOf(limit),
      }));
      shape = makeShape(verb, units, rules);
      known.set(name, shape);
    }
    return shape;
  }
}

const shapes = new Shapes();

/** The production script on a real server, at any instant. */
export class LuaTwin {
  readonly #connection: Awaited<ReturnType<typeof openResp>>;

  private constructor(connection: Awaited<ReturnType<typeof openResp>>) {
    this.#connection = connection;
  }

  static async open(redis: RedisServer): Promise<LuaTwin> {
    const connection = await openResp({ port: redis.port, timeoutMs: 60_000 });
    await connection.command('SCRIPT', 'LOAD', virtualScript.text);
    return new LuaTwin(connection);
  }

  /** One script call, encoded as production encodes it. */
  async decide(entries: readonly Entry[], now: number): Promise<Reply> {
    const { keys, args, taken } = encodeCalls(entries as readonly Call[], 0, Infinity);
    if (taken !== entries.length) {
      throw new Error(`${entries.length} entries are more than one script call takes`);
    }
    return this.command('EVALSHA', virtualScript.sha1, keys.length, ...keys, ...args, now);
  }

  command<T>(...args: (string | number)[]): Promise<T> {
    return this.#connection.command(...args) as Promise<T>;
  }

  close(): void {
    this.#connection.close();
  }
}

/** A store without expiry. */
export class MapTable implements Table {
  readonly stored = new Map<string, Saved>();

  read(key: string): unknown {
    return this.stored.get(key)?.value;
  }

  write(key: string, saved: Saved | undefined): void {
    if (saved?.value === undefined) {
      this.stored.delete(key);
    } else {
      this.stored.set(key, saved);
    }
  }

  /** One that can be tried out: logs are objects, which a decision changes. */
  copy(): MapTable {
    const copy = new MapTable();
    for (const [key, { value, ttlMs }] of this.stored) {
      copy.stored.set(key, { value: value instanceof Log ? copyOf(value) : value, ttlMs });
    }
    return copy;
  }

  decide(entries: readonly Entry[], now: number): Reply {
    return decide(entries, now, this);
  }
}

function copyOf(log: Log): Log {
  return Object.assign(new Log(), log, { entries: log.entries.map((entry) => ({ ...entry })) });
}

/** What Redis holds under the key of this log, as `ZRANGE 0 -1 WITHSCORES` tells it. */
export function membersOf({ entries, first, offset, recent, earlier, since }: Log): string[] {
  return [
    ...entries.slice(first).flatMap(({ at, sum, cost }) => [`${sum}:${cost}`, String(at)]),
    `~${offset}:${recent}:${earlier}:${since}`,
    String(2 ** 53),
  ];
}
