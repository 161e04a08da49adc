import { count, counted, lengthOf } from '../kit/figures.ts';
import type { Finding, Info } from './findings.ts';

const SLOTS = 16_384;
/** A replica tells its primary every second how far it is. */
const MOST_SILENT_S = 3;
const MOST_BEHIND_BYTES = 2 ** 20;

/** `cluster`: the reply to `CLUSTER INFO`; undefined if it may not be read. `isAsked`: with `--cluster`. */
export function checkCluster(info: Info, cluster: Info | undefined, isAsked: boolean): Finding {
  const check = 'cluster';
  if (info.get('cluster_enabled') !== '1') {
    return isAsked
      ? {
          check,
          level: 'problem',
          says: 'this is no cluster',
          cure: 'Leave --cluster (`cluster: true`) out.',
        }
      : { check, level: 'ok', says: 'no cluster' };
  }
  if (!isAsked) {
    return {
      check,
      level: 'problem',
      says: 'this is a node of a cluster: keys of other nodes are refused with MOVED',
      cure: 'Set `cluster: true`, and --cluster here.',
    };
  }
  if (cluster === undefined) {
    return {
      check,
      level: 'unknown',
      says: 'CLUSTER INFO could not be read',
      cure: 'Add +cluster|info.',
    };
  }
  const state = cluster.get('cluster_state') ?? 'unknown';
  const number = (name: string): number => Number(cluster.get(`cluster_${name}`) ?? 0);
  const missing = SLOTS - number('slots_assigned');
  const failing = number('slots_fail') + number('slots_pfail');
  const faults = [
    ...(state === 'ok' ? [] : [`cluster_state ${state}: this node refuses all commands`]),
    ...(missing > 0
      ? [
          `${count(missing)} of ${count(SLOTS)} slots ${missing === 1 ? 'has no node, and refuses its' : 'have no node, and refuse their'} identities`,
        ]
      : []),
    ...(failing > 0 ? [`the nodes of ${counted(failing, 'slot')} do not answer`] : []),
  ];
  return faults.length === 0
    ? {
        check,
        level: 'ok',
        says: `cluster_state ok, all slots served by ${counted(number('size'), 'primary', 'primaries')}`,
      }
    : {
        check,
        level: 'problem',
        says: faults.join('; '),
        cure:
          missing > 0
            ? 'Give the slots a node: redis-cli --cluster fix <host:port>.'
            : 'Start the nodes that CLUSTER NODES marks with fail, or let a replica take over: CLUSTER FAILOVER TAKEOVER.',
      };
}

/** What a node of the cluster is asked about the keys of one identity. */
export interface SlotFacts {
  /** The slot of each key. */
  readonly slots: readonly number[];
  /** `CLUSTER SLOTS`. */
  readonly ranges: readonly SlotRange[];
  /** `CLUSTER NODES`. */
  readonly nodes: string;
}

type SlotRange = readonly [
  first: number,
  last: number,
  ...nodes: (readonly [host: string, port: number, id: string])[],
];

/** Where the keys of one identity are. */
export function checkSlots({ slots, ranges, nodes }: SlotFacts): Finding {
  const check = 'slot of the identity';
  const [slot] = slots;
  const distinct = [...new Set(slots)];
  if (slot === undefined || distinct.length > 1) {
    return {
      check,
      level: 'problem',
      says: `its keys are in the slots ${distinct.join(', ')}: a cluster decides no call over several`,
      cure: 'Set `tagBy` to parts that all limits count by.',
    };
  }
  const owner = ranges.find(([first, last]) => first <= slot && slot <= last)?.slice(2) as
    | SlotRange[2][]
    | undefined;
  const [primary, ...replicas] = owner ?? [];
  if (primary === undefined) {
    return {
      check,
      level: 'problem',
      says: `slot ${slot} has no node: each decision on this identity is degraded`,
      cure: `Give it one: CLUSTER ADDSLOTS ${slot} at a primary, or redis-cli --cluster fix <host:port>.`,
    };
  }
  const [host, port, id] = primary;
  const flags = new RegExp(`^${id} \\S+ (\\S+)`, 'm').exec(nodes)?.[1] ?? '';
  const at = `slot ${slot}, at ${host}:${port}`;
  if (/\bfail/.test(flags)) {
    return {
      check,
      level: 'problem',
      says: `${at}, which does not answer (${flags}): each decision on this identity is degraded`,
      cure: 'Start that node, or let a replica take over: CLUSTER FAILOVER TAKEOVER at the replica.',
    };
  }
  return {
    check,
    level: 'ok',
    says: `${at}, with ${counted(replicas.length, 'replica')}`,
  };
}

/** How far the replicas of a primary are behind: a failover loses what they lack. */
export function checkReplicas(info: Info): Finding | undefined {
  const check = 'replica lag';
  const offset = Number(info.get('master_repl_offset') ?? 0);
  const replicas = [...info]
    .filter(([name]) => /^slave\d+$/.test(name))
    .map(([, text]) => new Map(text.split(',').map((pair) => pair.split('=') as [string, string])));
  if (info.get('role') !== 'master' || replicas.length === 0) {
    return undefined;
  }
  const faults = replicas.flatMap((replica) => {
    const name = `${replica.get('ip')}:${replica.get('port')}`;
    const silent = Number(replica.get('lag') ?? 0);
    const behind = offset - Number(replica.get('offset') ?? 0);
    if (replica.get('state') !== 'online') {
      return [`${name} is not in sync (${replica.get('state')})`];
    }
    if (silent > MOST_SILENT_S) {
      return [`${name} has been silent for ${lengthOf(silent * 1_000)}`];
    }
    return behind > MOST_BEHIND_BYTES ? [`${name} is ${count(behind / 2 ** 20)} MiB behind`] : [];
  });
  return faults.length === 0
    ? { check, level: 'ok', says: `none of ${count(replicas.length)} is behind` }
    : {
        check,
        level: 'problem',
        says: `${faults.join('; ')}: a failover to it forgets what was used since`,
        cure: 'Look at that server and its network. min-replicas-to-write 1 refuses writes that no replica would get.',
      };
}
