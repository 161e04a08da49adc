import { RateLimiter } from '../../limiter/rate-limiter.ts';
import { decideScript } from '../../script/script.gen.ts';
import type { Command, Given } from '../kit/command.ts';
import { EXIT, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Printer } from '../kit/printer.ts';
import { SECRET_OPTION } from '../limits/hash-secret.ts';
import { POLICY_OPTIONS, TAGS_OPTION } from '../limits/policies.ts';
import { readRedisOption, readTimeout, REDIS_OPTIONS } from '../kit/redis-options.ts';
import {
  checkClock,
  checkDurability,
  checkEviction,
  checkLatency,
  checkMemory,
  checkSlowLog,
  checkTtls,
  checkVersion,
  readInfo,
} from './findings.ts';
import type { Finding, Info } from './findings.ts';
import { readKeys } from './keys.ts';
import { checkCluster, checkReplicas, checkSlots } from './topology.ts';
import type { SlotFacts } from './topology.ts';
import { openServer } from '../redis/server.ts';
import type { Server } from '../redis/server.ts';

const CALLS = 200;
const DEADLINE_MS = 250;
const MOST_KEYS = 10_000;
const MOST_OURS = 1_000;

export const doctor: Command = {
  name: 'doctor',
  summary: 'Examine a Redis that limits are kept in',
  usage: '[identity] --redis <url> [options]',
  options: { ...REDIS_OPTIONS, ...POLICY_OPTIONS, ...TAGS_OPTION, ...SECRET_OPTION },
  examples: [
    ['doctor --redis redis://localhost:6379', 'Is this Redis fit for limits?'],
    ['doctor --namespace api --json', 'In CI, with $REDIS_URL: fails if there is a problem'],
    [
      "doctor user:12345 --limit '100/1m burst 20' --cluster --redis redis://localhost:7000",
      'Which node of the cluster has this identity, and does it answer?',
    ],
  ],
  notes: [
    'Of a cluster only the node of the URL is examined, and where an identity is. Notes are no problems, and neither is what could not be examined.',
  ],
  finding: 'there is a problem',
  run,
};

async function run(given: Given, io: Io, printer: Printer): Promise<number> {
  const url = readRedisOption(given, io);
  const timeoutMs = readTimeout(given);
  const namespace = given.text('namespace') ?? 'rate-limit';
  const isCluster = given.flag('cluster');
  const keys = await readKeys(given, io, namespace);
  if (keys.length > 0 && !isCluster) {
    throw new UsageError(
      'an identity has slots on a cluster only: add --cluster, or leave it out.',
    );
  }
  const server = await openServer(url, timeoutMs);
  try {
    const findings = await examine(server, { url, timeoutMs, namespace, isCluster, keys }, printer);
    if (printer.json) {
      printer.printJson({ findings });
    } else {
      printer.print(findings.map((finding) => lineOf(finding, printer)).join('\n'));
    }
    return findings.some(({ level }) => level === 'problem') ? EXIT.finding : EXIT.ok;
  } finally {
    await server.close();
  }
}

interface Asked {
  readonly url: string;
  readonly timeoutMs: number;
  readonly namespace: string;
  readonly isCluster: boolean;
  /** The keys of an identity that the command line names. */
  readonly keys: readonly string[];
}

async function examine(
  server: Server,
  asked: Asked,
  printer: Printer,
): Promise<readonly Finding[]> {
  const attempt = async (
    check: string,
    rights: string,
    look: () => Promise<Finding>,
  ): Promise<Finding> => {
    printer.checkInterrupted();
    try {
      return await look();
    } catch (error) {
      const { message } = error as Error;
      const says = `could not be examined: ${message}`;
      const cure = isDenied(message) ? { cure: `Add ${rights} to this user.` } : {};
      return { check, level: 'unknown', says, ...cure };
    }
  };
  const firstOffset = await offsetOf(server).catch(() => undefined);
  const infoText = await server.command('INFO').catch(() => '');
  const info = readInfo(String(infoText));
  const ofInfo: Finding[] =
    info.size === 0
      ? [
          {
            check: 'INFO',
            level: 'unknown',
            says: 'the user may not run it',
            cure: 'Add +info to this user.',
          },
        ]
      : [
          checkVersion(info),
          checkEviction(info),
          checkMemory(info),
          checkDurability(info, await saveOf(server)),
          ...[checkReplicas(info)].filter((finding) => finding !== undefined),
          checkCluster(
            info,
            await clusterInfo(server, info.get('cluster_enabled')),
            asked.isCluster,
          ),
        ];
  const { keys } = asked;
  return [
    ...ofInfo,
    ...(keys.length > 0 && info.get('cluster_enabled') === '1'
      ? [
          await attempt(
            'slot of the identity',
            '+cluster|keyslot +cluster|slots +cluster|nodes',
            () => examineSlots(server, keys),
          ),
        ]
      : []),
    await attempt('pings', '+ping', async () =>
      checkLatency('pings', await times(() => server.command('PING')), DEADLINE_MS),
    ),
    ...(await examineScript(asked)),
    await attempt('clock', '+time', async () => {
      const last = await offsetOf(server);
      return checkClock(firstOffset ?? last, last);
    }),
    await attempt('keys without TTL', '+scan +pttl', () => examineKeys(server, asked.namespace)),
    await attempt('slow log', '+slowlog|get', () => examineSlowLog(server)),
  ];
}

/** Runs the very script, with every command that a limiter's user needs. */
async function examineScript({ url, timeoutMs, namespace, isCluster }: Asked): Promise<Finding[]> {
  const limiter = new RateLimiter({
    redis: url,
    cluster: isCluster,
    timeoutMs,
    namespace,
    rate: 1_000,
    period: '1s',
    failStrategy: 'throw',
  });
  try {
    await limiter.ready();
    const ms = await times(() => limiter.peek(['distributed-rate-limiter', 'doctor']));
    return [
      { check: 'script', level: 'ok', says: 'the user may run it, with all of its commands' },
      checkLatency('decisions', ms, DEADLINE_MS),
    ];
  } catch (error) {
    const { message, cause } = error as Error;
    const why = cause instanceof Error ? cause.message : message;
    return [
      { check: 'script', level: 'problem', says: `a decision fails: ${why}`, cure: cureOf(why) },
    ];
  } finally {
    await limiter.close();
  }
}

/** Whether a server's error says that the user lacks a right; within a script it does so in other words. */
function isDenied(message: string): boolean {
  return /NOPERM|permission|can't (?:run|access)/i.test(message);
}

function cureOf(why: string): string {
  if (isDenied(why)) {
    return 'Give the user the rights of the line `ACL SETUSER` in SECURITY.md, on the keys of this namespace.';
  }
  if (why.startsWith('READONLY')) {
    return 'Connect to the primary, or through Sentinel or a cluster.';
  }
  return why.startsWith('MOVED')
    ? 'Set `cluster: true`, and --cluster here.'
    : 'Read the error; docs/errors.md has the codes.';
}

async function times(call: () => Promise<unknown>): Promise<readonly number[]> {
  const ms: number[] = [];
  for (let i = 0; i < CALLS; i++) {
    const startedAt = performance.now();
    await call();
    ms.push(performance.now() - startedAt);
  }
  return ms;
}

/** How far the server's clock is ahead of this machine's, in milliseconds. */
async function offsetOf(server: Server): Promise<number> {
  const before = Date.now();
  const [seconds, micros] = (await server.command('TIME')) as [string, string];
  return Number(seconds) * 1_000 + Number(micros) / 1_000 - (before + Date.now()) / 2;
}

async function saveOf(server: Server): Promise<string | undefined> {
  const reply = await server.command('CONFIG', 'GET', 'save').catch(() => undefined);
  const pair = Array.isArray(reply) ? (reply as unknown[]) : Object.entries(reply ?? {}).flat();
  return pair.length < 2 ? undefined : String(pair[1]);
}

async function clusterInfo(server: Server, enabled: string | undefined): Promise<Info | undefined> {
  if (enabled !== '1') {
    return undefined;
  }
  const text = String(await server.command('CLUSTER', 'INFO').catch(() => ''));
  return text === '' ? undefined : readInfo(text);
}

/** Asks a node of a cluster where the keys of an identity are. */
async function examineSlots(server: Server, keys: readonly string[]): Promise<Finding> {
  const slots = await Promise.all(keys.map((key) => server.command('CLUSTER', 'KEYSLOT', key)));
  return checkSlots({
    slots: slots.map(Number),
    ranges: (await server.command('CLUSTER', 'SLOTS')) as SlotFacts['ranges'],
    nodes: String(await server.command('CLUSTER', 'NODES')),
  });
}

/** Looks at some thousand keys: `SCAN` takes turns with other clients' commands. */
async function examineKeys(server: Server, namespace: string): Promise<Finding> {
  let [cursor, seen, ours, withoutTtl] = ['0', 0, 0, 0];
  do {
    const [next, keys] = (await server.command('SCAN', cursor, 'COUNT', '1000')) as [
      string,
      string[],
    ];
    cursor = next;
    seen += keys.length;
    for (const key of keys.map(String)) {
      if (
        ours < MOST_OURS &&
        (key.startsWith(`${namespace}:`) || key.startsWith(`{${namespace}:`))
      ) {
        ours += 1;
        withoutTtl += Number(await server.command('PTTL', key)) === -1 ? 1 : 0;
      }
    }
  } while (cursor !== '0' && seen < MOST_KEYS && ours < MOST_OURS);
  return checkTtls(seen, ours, withoutTtl, cursor === '0' && ours < MOST_OURS);
}

async function examineSlowLog(server: Server): Promise<Finding> {
  const entries = (await server.command('SLOWLOG', 'GET', '128')) as unknown[][];
  const micros = entries
    .filter(([, , , command]) => {
      const [name = '', sha = ''] = (command as unknown[]).map(String);
      return (
        (/^evalsha$/i.test(name) && sha === decideScript.sha1) ||
        (/^eval$/i.test(name) && sha.slice(0, 60) === decideScript.text.slice(0, 60))
      );
    })
    .map(([, , took]) => Number(took));
  return checkSlowLog(micros.length, Math.max(0, ...micros));
}

/** Findings stand to the right of their levels. */
const INDENT = 8;

function lineOf({ check, level, says, cure }: Finding, printer: Printer): string {
  const { paint } = printer;
  const mark = {
    ok: paint('green', 'ok     '),
    note: paint('yellow', 'note   '),
    problem: paint('red', 'PROBLEM'),
    unknown: paint('dim', 'unknown'),
  }[level];
  const text = [`${check}: ${says}`, ...(cure === undefined ? [] : [cure])]
    .map((each) => printer.fit(each, INDENT))
    .join('\n')
    .replaceAll('\n', `\n${' '.repeat(INDENT)}`);
  return `${mark} ${paint('bold', check)}${text.slice(check.length)}`;
}
