import { afterAll, beforeAll, expect, test } from 'vitest';
import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { block } from '../../../src/algorithms/block.ts';
import { ProviderQuota, quotaPlan } from '../../../src/algorithms/provider-quota.ts';
import { decide } from '../../../src/script/decide.ts';
import {
  keysOf,
  reserveDetails,
  settleDetails,
  makeShape,
} from '../../../src/script/call-shape.ts';
import type { Entry, Rule, Verb } from '../../../src/script/call-shape.ts';
import type { Saved } from '../../../src/algorithms/limit.ts';
import { encodeCalls } from '../../../src/stores/encode.ts';
import type { Call } from '../../../src/stores/store.ts';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { agree, LateAnswers } from '../../kit/fakes/agreement.ts';
import { check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { recordingScript } from './recording-script.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';

const STEPS = 100_000;
const STEPS_PER_TRACE = 400;

let server: RedisServer;
let connection: Awaited<ReturnType<typeof openResp>>;
let sha1: string;

beforeAll(async () => {
  server = await startRedis();
  connection = await openResp({ path: server.socketPath, timeoutMs: 60_000 });
  sha1 = await connection.command('SCRIPT', 'LOAD', recordingScript);
});
afterAll(async () => {
  connection.close();
  await server.close();
});

/** States by key; with `forgets`, they are removed once their TTL has passed. */
class Store {
  readonly values = new Map<string, { value: string; endsAt: number }>();
  readonly writes = new Map<string, string>();
  readonly #forgets: boolean;
  now = 0;

  constructor(forgets: boolean) {
    this.#forgets = forgets;
  }

  read(key: string): string | undefined {
    const kept = this.values.get(key);
    return kept === undefined || (this.#forgets && kept.endsAt <= this.now)
      ? undefined
      : kept.value;
  }

  write(key: string, saved: Saved | undefined): void {
    if (saved === undefined) {
      this.values.delete(key);
      this.writes.set(key, 'deleted');
    } else {
      const value = saved.value as string;
      this.values.set(key, { value, endsAt: this.now + saved.ttlMs * 1_000 });
      this.writes.set(key, `${value} ${saved.ttlMs}`);
    }
  }
}

function takeWrites(store: Store): [string, string][] {
  const writes = [...store.writes].sort(([a], [b]) => (a < b ? -1 : 1));
  store.writes.clear();
  return writes;
}

/** The script's writes, the last one for each key. */
function writesOf(told: readonly string[]): [string, string][] {
  const last = new Map<string, string>();
  for (const line of told) {
    const [command, key, ...rest] = line.split(' ');
    last.set(key!, command === 'DEL' ? 'deleted' : rest.join(' '));
  }
  return [...last].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A limit with the different numbers that several processes may use at the same time, on the same key. */
function variantsOf(random: Random): readonly Limit[] {
  const algorithm = random.pick([tokenBucket, slidingWindow, fixedWindow]);
  const name = `n${random.int(0, 1e9)}`;
  return Array.from({ length: random.int(1, 3) }, () => {
    const periodMs = random.magnitude(1, random.pick([1_000, 100_000, 10_000_000]));
    const common = {
      name,
      rate: random.magnitude(1, random.pick([10, 1_000, 1_000_000])),
      period: `${periodMs}ms` as const,
      maxDebt: random.chance(50) ? random.magnitude(1, 1_000) : 0,
      shadow: random.chance(20),
    };
    if (algorithm === tokenBucket && random.chance(50)) {
      return tokenBucket({ ...common, burst: random.magnitude(1, 1_000) });
    }
    if (algorithm === fixedWindow && random.chance(30)) {
      const { period: _, ...rest } = common;
      return fixedWindow({
        ...rest,
        period: random.pick(['minute', 'day', 'month']),
        timeZone: 'Asia/Tokyo',
      });
    }
    return algorithm(common);
  });
}

/** One shape for all, as a limiter has it: neighbours of one key differ by their records alone. */
const RECALL = makeShape('recall', 0, []);

/** The name of an `add`: of the handle of `reserve`, or of one of more resumed ones than a record knows. */
function addOf(random: Random): string {
  const number = random.int(1, 60);
  return random.chance(40) ? String(number) : `0000000${random.int(0, 9)}:${number}`;
}

interface Seen {
  steps: number;
  failed: number;
  reserved: number;
  refused: number;
  settled: number;
  uncharged: number;
  added: number;
  differ: number;
  expired: number;
  recalled: number;
  underSeveral: number;
}

const GARBAGE = [
  'held;1;1',
  'held;99999999999999999;1;1:1',
  'settled;9000000000000000;1;',
  'held;9000000000000000;5;x',
  'held;9000000000000000;5;1:1;1:1;1:1;1:1;1:1\n',
  'held;9000000000000000;5;-;-;-;-;-',
  'held;9000000000000000+3;5|6,0;x|-;0',
  'held;9000000000000000+;5;0',
  'held;9000000000000000;5|6;0',
  'held;9000000000000000;5,;0;0',
  'settled;9000000000000000;3,1;4,0',
  'settled;9000000000000000;3,1;4',
  'settled;9000000000000000;3,;4,',
  'held;9000000000000000;5;1000:7;1000:0;0:1',
  'held;9000000000000000;5;1000:1:1760000000000000:0',
  'held;9000000000000000;5;1000:1:7:1',
  'held;9000000000000000;5;1000:1:7:0:1:0:0,1:2:0:0',
  'settled;9000000000000000;3;4',
  'settled;0;3;4',
  'settled;9000000000000000;3;4\ncalls',
  'settled;9000000000000000;3;4\n',
  'settled;9000000000000000;3;4calls',
  'held;9000000000000000;5;0;0;0;0;0\nunits\nhomes\nlimits',
  'held;9000000000000000;5;0\n\n\n',
  'held;9000000000000000+3+0a1b2c3d:2;5;0',
  'held;9000000000000000+0a1b2c3d:2+3+0a1b2c3d:7;5;0',
  'held;9000000000000000+0A1b2c3d:2;5;0',
  'held;9000000000000000+0a1b2c3:2;5;0',
  'held;9000000000000000+0a1b2c3d:;5;0',
  'held;9000000000000000+0a1b2c3d:9007199254740992;5;0',
  'held;9000000000000000a+3;5;0',
  '',
  '17',
];

/** Runs one trace on the TypeScript twin, in batches and one by one, and on the Lua twin; throws if they differ. */
async function runTrace(random: Random, id: number, seen: Seen): Promise<void> {
  const stepsBack = random.chance(50);
  const together = new Store(false);
  const singly = new Store(!stepsBack);
  const limits = Array.from({ length: random.pick([1, 1, 2, 3, 5]) }, () => variantsOf(random));
  const quota = new ProviderQuota(limits[0]![0]!);
  if (random.chance(40)) {
    limits.push([quota]);
  }
  const identities = [`{${id}:a}`, `{${id}:b}`].map((key) => key.slice(1, -1));
  const records = Array.from({ length: 5 }, (_, i) => `#r:${i}`);
  let now = 1_760_000_000_000_000 + random.int(0, 10 ** 12);
  const longest = random.magnitude(1_000, 10 ** 11);
  const rulesAt = (cost: number): Rule[] =>
    limits.map((variants) => {
      const limit = random.pick(variants);
      const plan = limit.plan(cost, now / 1_000);
      return { limit, plan, ...stateKeyOf(limit) };
    });
  const next = (): Entry => {
    const key = random.pick(identities);
    if (random.chance(8)) {
      const lasts = random.magnitude(1, longest);
      const window = random.pick([0, lasts, random.magnitude(1, longest)]);
      const units = window === 0 ? 0 : random.magnitude(1, 2_000);
      const plan = quotaPlan(1, {
        left: random.int(0, random.magnitude(1, 2_000)),
        lasts,
        quota: units,
        window,
      });
      return {
        key,
        shape: makeShape('penalize', 1, [{ limit: quota, plan, ...stateKeyOf(quota) }]),
      };
    }
    const verb = random.pick<Verb>([
      ...Array<Verb>(4).fill('reserve'),
      ...Array<Verb>(4).fill('settle'),
      'add',
      'add',
      'recall',
      'recall',
      ...(['allow', 'allow', 'peek', 'up_to', 'penalize', 'reset'] as const),
    ]);
    const units = random.magnitude(1, random.pick([3, 100, 2_000]));
    const decides = ['allow', 'peek', 'reserve', 'add'].includes(verb);
    // Limits of different units: some of a call may ask for nothing, a reservation's not at all.
    const differ = random.chance(30) && verb !== 'up_to' && verb !== 'reset';
    const reserves = ['reserve', 'add', 'settle'].includes(verb);
    if (verb === 'recall') {
      return { key, shape: RECALL, record: random.pick(records) };
    }
    const rules = rulesAt(decides ? units : 1).map((rule) => {
      if (!differ) {
        return rule;
      }
      const asked = random.chance(70)
        ? random.magnitude(1, 100)
        : random.pick([0, reserves ? null : 0]);
      return {
        ...rule,
        units: asked,
        plan: decides ? rule.limit.plan(asked ?? 0, now / 1_000) : rule.plan,
      };
    });
    if (decides && random.chance(20)) {
      rules.push({ limit: block, plan: block.plan(0, 0), suffix: '#block', id: '-' });
    }
    const told = random.pick(['', 'calls,-tokens', '\n\n["token_bucket",{}]', 'a\nb\n']);
    const shape = makeShape(verb, differ ? 0 : units, rules, undefined, told);
    if (verb === 'reserve') {
      const details = reserveDetails(random.magnitude(1, 10_000_000));
      return { key, shape, record: random.pick(records), details };
    }
    if (verb === 'add') {
      return { key, shape, record: random.pick(records), details: [addOf(random)] };
    }
    if (verb === 'settle') {
      const one = (): number =>
        random.chance(20) ? 0 : random.magnitude(1, random.pick([3, 100, 10 ** 9]));
      const actual = differ ? rules.map(() => (random.chance(30) ? null : one())) : one();
      const details = settleDetails(actual, random.magnitude(1, 100_000), random.chance(20));
      return { key, shape, record: random.pick(records), details };
    }
    return { key, shape };
  };

  const answers = new LateAnswers();
  let step = 0;
  for (const _ of random.steps(STEPS_PER_TRACE)) {
    if (step >= STEPS_PER_TRACE) break;
    now += random.chance(20) ? 0 : random.magnitude(1, longest);
    if (stepsBack && random.chance(5)) {
      now -= random.magnitude(1, 10 ** 10);
    }
    together.now = singly.now = now;
    const entries = random.list(1, 5, next);
    if (random.chance(3)) {
      const { key } = entries[0]!;
      const at = random.chance(80) ? `{${key}}${random.pick(records)}` : keysOf(entries[0]!)[0]!;
      const value = random.pick(GARBAGE);
      for (const store of [together, singly]) {
        store.values.set(at, { value, endsAt: Number.POSITIVE_INFINITY });
      }
      answers.add(connection.command('SET', at, value));
    }
    step += entries.length;
    const reply = decide(entries, now, together);
    const writes = takeWrites(together);
    // Without the receipts that follow the integers, each by the index of its limit in the reply.
    const apart = entries.flatMap((entry) =>
      decide([entry], now, singly).slice(1, 1 + entry.shape.width),
    );
    agree(`one by one, trace ${id} at ${now}`, apart, reply.slice(1, 1 + apart.length));
    count(entries, reply, seen);
    const { keys, args, taken } = encodeCalls(
      entries as readonly unknown[] as readonly Call[],
      0,
      Infinity,
    );
    expect(taken).toBe(entries.length);
    const answer: Promise<[(number | string)[], string[]]> = connection.command(
      'EVALSHA',
      sha1,
      keys.length,
      ...keys,
      ...args,
      String(now),
    );
    const where = `trace ${id} at ${now}`;
    answers.add(answer, ([out, told]) => {
      agree(where, out, reply);
      agree(`writes of ${where}`, writesOf(told), writes);
    });
  }
  await answers.all();
  const keys = [...together.values.keys()];
  const held: (string | null)[] =
    keys.length === 0 ? [] : await connection.command('MGET', ...keys);
  expect(held).toEqual(keys.map((key) => together.values.get(key)!.value));
}

function count(entries: readonly Entry[], reply: readonly (number | string)[], seen: Seen): void {
  let at = 1;
  for (const { shape } of entries) {
    seen.steps += 1;
    seen.underSeveral += shape.rules.length > 1 ? 1 : 0;
    const first = reply[at];
    if (typeof first === 'string') {
      seen.failed += 1;
    } else if (shape.verb === 'reserve') {
      const answers = reply.slice(at, at + shape.width) as number[];
      seen[answers.some((value) => value < 0) ? 'refused' : 'reserved'] += 1;
    } else if (shape.verb === 'add') {
      seen.added +=
        first === 1 && !reply.slice(at + 1, at + shape.width).some((value) => Number(value) < 0)
          ? 1
          : 0;
    } else if (shape.verb === 'recall') {
      seen.recalled += first === 1 ? 1 : 0;
    } else if (shape.verb === 'settle') {
      seen.differ += shape.head > 2 && Number(first) >= 0 ? 1 : 0;
      seen[first! < 0 ? 'expired' : 'settled'] += 1;
      seen.uncharged += (reply[at + 1] as number) > 0 ? 1 : 0;
    }
    at += shape.width;
  }
}

test(`TypeScript and Lua decide alike over ${STEPS} random steps in any batch, and expiry changes nothing`, async () => {
  const seen: Seen = {
    steps: 0,
    failed: 0,
    reserved: 0,
    refused: 0,
    settled: 0,
    uncharged: 0,
    added: 0,
    differ: 0,
    expired: 0,
    recalled: 0,
    underSeveral: 0,
  };
  await check(
    { until: () => seen.steps >= STEPS, before: () => connection.command('FLUSHALL') },
    (random, at) => runTrace(random, at, seen),
  );
  console.log(JSON.stringify(seen));
  for (const what of [
    'reserved',
    'refused',
    'settled',
    'uncharged',
    'expired',
    'recalled',
  ] as const) {
    expect(seen[what]).toBeGreaterThan(STEPS / 100);
  }
  expect(seen.added).toBeGreaterThan(STEPS / 500);
  expect(seen.differ).toBeGreaterThan(STEPS / 500);
  expect(seen.failed).toBeGreaterThan(100);
  expect(seen.underSeveral).toBeGreaterThan(STEPS / 10);
}, 600_000);
