import { count, counted, lengthOf, percent } from '../kit/figures.ts';

/** One thing that was looked at. A `problem` makes the command end with 1; `unknown` could not be looked at. */
export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'note' | 'problem' | 'unknown';
  readonly says: string;
  /** What to do about it. */
  readonly cure?: string;
}

/** The sections of `INFO` as one. */
export type Info = ReadonlyMap<string, string>;

export function readInfo(text: string): Info {
  return new Map(
    [...text.matchAll(/^([^#:\r\n]+):([^\r\n]*)/gm)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  );
}

/** The first patch of each line without the holes of 2025 in the Lua engine; absent lines get no fix. */
const REDIS_PATCHED: Readonly<Record<string, number>> = {
  '6.2': 20,
  '7.2': 11,
  '7.4': 6,
  '8.0': 4,
  '8.2': 2,
};
const VALKEY_PATCHED: Readonly<Record<string, number>> = { '7.2': 11, '8.0': 6, '8.1': 4 };

export function checkVersion(info: Info): Finding {
  const valkey = info.get('valkey_version');
  const version = valkey ?? info.get('redis_version') ?? '';
  const name = valkey === undefined ? 'Redis' : 'Valkey';
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  const lines = valkey === undefined ? REDIS_PATCHED : VALKEY_PATCHED;
  const least = lines[`${major}.${minor}`];
  const [newest, itsPatch] = Object.entries(lines).at(-1)!;
  const [newestMajor, newestMinor] = newest.split('.').map(Number) as [number, number];
  const isNewer = major > newestMajor || (major === newestMajor && minor > newestMinor);
  if (isNewer || (least !== undefined && patch >= least)) {
    return { check: 'version', level: 'ok', says: `${name} ${version}` };
  }
  return {
    check: 'version',
    level: 'note',
    says: `${name} ${version} has known holes in its Lua engine (CVE-2025-49844 and others), unless your distribution fixed them under this number`,
    cure:
      least === undefined
        ? `Update to ${name} ${newest}.${itsPatch} or later, or to a patched package of your distribution.`
        : `Update to ${major}.${minor}.${least} or later. Give the right to run scripts to the limiter's user alone.`,
  };
}

export function checkEviction(info: Info): Finding {
  const policy = info.get('maxmemory_policy') ?? 'unknown';
  const evicted = Number(info.get('evicted_keys') ?? 0);
  if (policy !== 'noeviction') {
    return {
      check: 'eviction',
      level: 'problem',
      says: `maxmemory-policy is ${policy}: an evicted key grants its burst once more`,
      cure: 'CONFIG SET maxmemory-policy noeviction, in a Redis of its own.',
    };
  }
  return evicted > 0
    ? {
        check: 'eviction',
        level: 'note',
        says: `noeviction now, but ${counted(evicted, 'key')} ${evicted === 1 ? 'was' : 'were'} evicted since the start`,
        cure: 'Find out who changed the policy.',
      }
    : { check: 'eviction', level: 'ok', says: 'noeviction' };
}

function mebibytes(bytes: number): string {
  return `${count(bytes / 2 ** 20)} MiB`;
}

export function checkMemory(info: Info): Finding {
  const used = Number(info.get('used_memory') ?? 0);
  const most = Number(info.get('maxmemory') ?? 0);
  if (most === 0) {
    return {
      check: 'memory',
      level: 'note',
      says: `${mebibytes(used)} used, no maxmemory: the system ends Redis when memory is short`,
      cure: 'CONFIG SET maxmemory, at twice the plan (about 200 bytes per active identity and limit).',
    };
  }
  const says = `${mebibytes(used)} of ${mebibytes(most)} used (${percent(used, most)})`;
  return used > 0.7 * most
    ? {
        check: 'memory',
        level: 'problem',
        says: `${says}: when it is full, new identities get degraded decisions`,
        cure: 'Raise maxmemory, or find out what else is stored here.',
      }
    : { check: 'memory', level: 'ok', says };
}

/** `save`: the lines of `CONFIG GET save`; undefined if they may not be read. */
export function checkDurability(info: Info, save: string | undefined): Finding {
  const check = 'restart and failover';
  if (info.get('role') !== 'master') {
    return {
      check,
      level: 'problem',
      says: 'this is a replica: it refuses every decision',
      cure: 'Connect to the primary, or through Sentinel or a cluster.',
    };
  }
  const replicas = Number(info.get('connected_slaves') ?? 0);
  const keeps = info.get('aof_enabled') === '1' || (save ?? '') !== '';
  if (replicas > 0 && !keeps && save !== undefined) {
    return {
      check,
      level: 'problem',
      says: `${counted(replicas, 'replica')} and no persistence: a primary that restarts before a failover comes back empty, and empties its replicas`,
      cure: 'Set appendonly yes with appendfsync everysec, or leave restarts to the second try of your orchestrator.',
    };
  }
  if (replicas === 0 && !keeps) {
    return {
      check,
      level: save === undefined ? 'unknown' : 'note',
      says: 'no replica and no persistence: a restart forgets all limits, which grants each identity its burst once more',
      cure: 'Add a replica with Sentinel, or appendonly yes, if that matters.',
    };
  }
  return {
    check,
    level: 'ok',
    says:
      replicas > 0
        ? `${counted(replicas, 'replica')}: a failover may lose the last writes, at most a burst per identity`
        : 'persistent: a restart takes time, and loses at most what was not yet on disk',
  };
}

/** Milliseconds of several calls, one after the other. */
export function checkLatency(check: string, ms: readonly number[], mostMs: number): Finding {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1]!;
  const says = `p50 ${at(0.5).toFixed(2)} ms, p99 ${at(0.99).toFixed(2)} ms of ${count(ms.length)}`;
  return at(0.99) > mostMs
    ? {
        check,
        level: 'problem',
        says: `${says}; a call waits ${count(mostMs)} ms by default, and is then decided without Redis`,
        cure: 'Look for slow commands, a busy processor or a far network; then set timeoutMs well above the p99.',
      }
    : { check, level: 'ok', says };
}

/** Offsets of the server's clock against this machine's, in ms, at the begin and the end of the examination. */
export function checkClock(first: number, last: number): Finding {
  const check = 'clock';
  if (Math.abs(last - first) > 500) {
    return {
      check,
      level: 'problem',
      says: `the server's clock and this machine's moved apart by ${lengthOf(Math.abs(last - first))} meanwhile: one of them steps`,
      cure: 'Let chrony or ntpd slew the clocks instead of setting them.',
    };
  }
  const ahead = Math.abs(last) < 1 ? '' : last > 0 ? ' ahead' : ' behind';
  const says = `${lengthOf(Math.abs(last))}${ahead}`;
  return Math.abs(last) > 2_000
    ? {
        check,
        level: 'note',
        says: `${says}: limits follow the server's clock, so calendar windows begin by it`,
        cure: "Synchronise the server's clock.",
      }
    : { check, level: 'ok', says };
}

export function checkTtls(seen: number, ours: number, withoutTtl: number, isAll: boolean): Finding {
  const check = 'keys without TTL';
  const of = `${counted(ours, 'key')} of this namespace`;
  const at = `${counted(seen, 'key')} looked at${isAll ? '' : ', not all'}`;
  return withoutTtl === 0
    ? { check, level: 'ok', says: `none among ${of}; ${at}` }
    : {
        check,
        level: 'problem',
        says: `${count(withoutTtl)} of ${of}; ${at}. This library writes none without a TTL`,
        cure: 'Find out who writes there (or ran PERSIST), and use a namespace of your own.',
      };
}

export function checkSlowLog(entries: number, slowestMicros: number): Finding {
  const check = 'slow log';
  return entries === 0
    ? { check, level: 'ok', says: 'no script of ours' }
    : {
        check,
        level: 'note',
        says: `${counted(entries, 'call')} of our script, the slowest ${lengthOf(slowestMicros / 1_000)}`,
        cure: 'The server was short of processor time, or a sliding window log is long.',
      };
}
