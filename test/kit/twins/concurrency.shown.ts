import { Leases } from '../../../src/algorithms/concurrency.ts';
import type { Table } from '../../../src/script/decide.ts';
import type { Saved } from '../../../src/algorithms/limit.ts';
import { virtualScript } from '../fakes/virtual-script.ts';

/**
 * The script under test, word for word; then what each key holds, and the TTL that this call gave it, or -1 where it
 * gave none; then no TTL, which would run on real time: a PEXPIRE of 2 ms deletes at once on a machine that stands
 * still for as long in the midst of it. A key that has none though the call wrote it shows as FOREVER.
 */
export const DECIDE_AND_SHOW = `local server, ttls = redis, {}
local function noting(call)
  return function(command, key, ...)
    if command == 'PEXPIRE' then
      ttls[key] = ...
      return call(command, key, 3600000)
    elseif command == 'PSETEX' then
      ttls[key] = ...
    elseif command == 'SET' then
      ttls[key] = select(3, ...)
    elseif command == 'ZADD' or command == 'ZREM' then
      ttls[key] = ttls[key] or 'FOREVER'
    end
    return call(command, key, ...)
  end
end
local function decide()
local redis = { call = noting(server.call), pcall = noting(server.pcall) }
${virtualScript.text}
end
local out, shown = decide(), {}
for k, key in ipairs(KEYS) do
  local kind = server.call('TYPE', key).ok
  local held = ''
  if kind == 'zset' then
    held = table.concat(server.call('ZRANGE', key, 0, -1, 'WITHSCORES'), ' ')
  elseif kind == 'string' then
    held = server.call('GET', key)
  end
  local ttl = ttls[key] or '-1'
  if kind == 'none' then
    ttl = '-2'
  elseif ttl ~= '-1' and server.call('PTTL', key) == -1 then
    ttl = 'FOREVER'
  end
  shown[k] = held .. ' for ' .. ttl
end
for _, key in ipairs(KEYS) do server.call('PERSIST', key) end
return { out, shown }`;

/** As the script shows it, with the TTL of what this call wrote. */
export class ShownTable implements Table {
  readonly stored = new Map<string, unknown>();
  readonly #ttls = new Map<string, number>();

  read(key: string): unknown {
    return this.stored.get(key);
  }

  write(key: string, saved: Saved | undefined): void {
    if (saved === undefined) {
      this.stored.delete(key);
      this.#ttls.delete(key);
    } else {
      this.stored.set(key, saved.value);
      this.#ttls.set(key, saved.ttlMs);
    }
  }

  show(key: string): string {
    const value = this.stored.get(key);
    if (value === undefined) return ' for -2';
    return `${show(value)} for ${this.#ttls.get(key) ?? -1}`;
  }

  forgetTtls(): void {
    this.#ttls.clear();
  }
}

function show(value: unknown): string {
  if (!(value instanceof Leases)) return String(value);
  const members: [string, number][] = [['~', -value.last], ...value.ends];
  return members
    .sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))
    .map(([member, score]) => `${member} ${score}`)
    .join(' ');
}
