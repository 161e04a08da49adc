import {
  concurrency,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { block } from '../../../src/algorithms/block.ts';
import { decide } from '../../../src/script/decide.ts';
import { keysOf, settleDetails, makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Shape, Verb } from '../../../src/script/call-shape.ts';
import { MapTable } from '../../kit/twins/map-table.ts';
import { grouped, groupedByProduction } from '../../kit/twins/grouping.ts';
import { LuaTwin } from '../../kit/twins/lua-twin.ts';
import type { Grouping } from '../../kit/twins/grouping.ts';
import type { Reply } from '../../kit/twins/lua-twin.ts';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import type { Random } from '../../kit/random.mjs';
import { Finding } from './area.ts';
import type { Area, Fuzzed } from './area.ts';
import { anyText } from './values.ts';
import { stateKeyOf } from '../../../src/limiter/limit-set.ts';

const NOW = Date.UTC(2026, 0, 1) * 1_000;
const HOUR = 3_600_000_000;
const TOO_LARGE = '9007199254740992';
/** Keys of one script call. */
const KEYS = 40;

interface Kind {
  readonly limit: Limit;
  /** The most units that may pass at one instant. */
  readonly most: number;
  /** Whether Redis keeps the state as a string, so that the TypeScript twin can read the same value. */
  readonly text: boolean;
  readonly shapes: ReadonlyMap<Verb, Shape>;
}

function kindOf(limit: Limit, text = true): Kind {
  const lends = limit.algorithm === 'concurrency';
  const verbs: readonly Verb[] = lends
    ? ['acquire', 'peek', 'renew', 'release', 'reset']
    : ['allow', 'peek', 'up_to', 'penalize', 'credit', 'settle', 'reset'];
  const rule = { limit, plan: limit.plan(1, NOW / 1_000), ...stateKeyOf(limit) };
  const shapes = verbs.map(
    (verb) => [verb, makeShape(verb, verb === 'up_to' ? 9 : 1, [rule])] as const,
  );
  const most = limit === block ? Number.POSITIVE_INFINITY : limit.capacity;
  return { limit, most, text, shapes: new Map(shapes) };
}

const KINDS: readonly Kind[] = [
  kindOf(tokenBucket({ rate: 3, period: '1h' })),
  kindOf(tokenBucket({ rate: 7, period: '1s', burst: 4, maxDebt: 3 })),
  kindOf(tokenBucket({ rate: 1_000_000_000, period: '1h', burst: 5 })),
  kindOf(slidingWindow({ rate: 3, period: '1h' })),
  kindOf(slidingWindow({ rate: 5, period: '7s', maxDebt: 2 })),
  kindOf(fixedWindow({ rate: 3, period: '1h' })),
  kindOf(fixedWindow({ rate: 4, period: 'month', timeZone: 'Europe/Berlin' })),
  kindOf(fixedWindow({ rate: 4, period: 'month', anchor: '2026-01-31' })),
  kindOf(block),
  kindOf(slidingWindowLog({ rate: 3, period: '1h' }), false),
  kindOf(slidingWindowLog({ rate: 5, period: '1s', maxDebt: 2 }), false),
  kindOf(concurrency({ max: 3, ttl: '1h' }), false),
];

function anyField(random: Random): string {
  switch (random.int(0, 9)) {
    case 0:
      return random.pick([
        '',
        '0',
        '1',
        '00',
        '-1',
        '+1',
        '1.0',
        '1e3',
        'nan',
        'inf',
        '-inf',
        ' 1',
      ]);
    case 1:
      return random.pick([TOO_LARGE, '9007199254740991', '9'.repeat(17), '9'.repeat(400)]);
    case 2:
      return String(random.magnitude(1, Number.MAX_SAFE_INTEGER));
    case 3:
    case 4:
      return String(random.int(0, 9));
    case 5:
      return String(NOW + random.int(-1, 1) * random.magnitude(1, 1_000 * HOUR));
    case 6:
      return random.pick(['3600000000', '7000000', '1000000', '3600000000', 'month@Europe/Berlin']);
    case 7:
      return String(Math.floor(NOW / random.pick([HOUR, 7_000_000])) + random.int(-3, 3));
    case 8:
      return random.pick([NOW - (NOW % HOUR), NOW - (NOW % HOUR) + HOUR]).toString();
    default:
      return anyText(random, 5);
  }
}

/** A state in the format of one algorithm, with each field valid or not. */
function nearlyState(random: Random): string {
  const fields = (count: number): string[] => Array.from({ length: count }, () => anyField(random));
  const parts = (): string => fields(random.pick([4, 4, 4, 3, 5])).join(':');
  switch (random.int(0, 7)) {
    case 0:
      return anyField(random);
    case 1:
      return fields(3).join(':');
    case 2:
      return fields(4).join(':');
    case 3:
      return Array.from({ length: random.int(1, 6) }, parts).join(
        random.pick([';', ';', ';;', ',']),
      );
    case 4:
      return Array.from({ length: random.int(1, 3) }, () => rightWindow(random)).join(';');
    case 5:
      return `held;${fields(random.int(1, 4)).join(';')}`;
    case 6:
      return `settled;${fields(random.pick([3, 3, 2, 4])).join(';')}`;
    default:
      return random.chance(3)
        ? random.pick(['9', '0', 'x', ';', ':']).repeat(100_000)
        : anyText(random, 40);
  }
}

/** A state that one of the window algorithms could have written for the limits above. */
function rightWindow(random: Random): string {
  const used = random.int(0, 9);
  if (random.chance(50)) {
    const period = random.pick([HOUR, 7_000_000, 60_000_000]);
    const index = Math.floor(NOW / period) + random.int(-2, 2);
    return `${period}:${index}:${random.int(0, 9)}:${used}`;
  }
  const start = NOW - (NOW % HOUR) + random.int(-1, 1) * HOUR;
  return `${random.pick([String(HOUR), 'month@Europe/Berlin'])}:${start}:${start + HOUR}:${used}`;
}

/** The value of a key; undefined text means no key. */
type Held =
  | { readonly text: string | undefined }
  | { readonly command: readonly (string | Buffer)[] };

function anyScore(random: Random): string {
  const score = random.chance(60) ? random.pick(['1', '9007199254740992']) : anyField(random);
  const sign = random.chance(15) ? '-' : '';
  const own = String(NOW + random.int(-2, 2) * random.pick([1, 1_000_000, HOUR]));
  const text = sign + random.pick([score, own, own, '1.5', 'inf', '1e300']);
  return /^-?(?:\d{1,300}(?:\.\d+)?|inf|1e300)$/.test(text) ? text : own;
}

function anyMember(random: Random): string {
  const sums = (): string => `${random.int(0, 9)}:${random.int(0, 9)}`;
  const about = `~${random.int(0, 9)}:3600000000:0:${NOW - HOUR}`;
  const made = `~${anyField(random)}:${anyField(random)}:${anyField(random)}:${anyField(random)}`;
  return random.pick([
    sums(),
    sums(),
    sums(),
    about,
    about,
    made,
    '~',
    '~',
    'lease',
    anyText(random),
  ]);
}

/** A log or leases as the library writes them, sometimes except for the last pair. */
function nearlyRight(random: Random): readonly string[] {
  const pairs: string[] = [];
  if (random.chance(50)) {
    pairs.push(`-${NOW - random.int(0, 9)}`, '~');
    for (let left = random.int(0, 4); left > 0; left--) {
      pairs.push(String(NOW + random.int(-1, 3) * 1_000_000), `other-${left}`);
    }
  } else {
    let sum = 0;
    for (let age = random.int(1, 4); age > 0; age--) {
      const cost = random.int(1, 2);
      pairs.push(
        String(NOW - age * random.pick([1, 100_000, 1_000_000])),
        `${(sum += cost)}:${cost}`,
      );
    }
    pairs.push(TOO_LARGE, `~0:${random.pick([1_000_000, HOUR])}:0:${NOW - HOUR}`);
  }
  if (random.chance(20)) pairs.push(anyScore(random), anyMember(random));
  return pairs;
}

function anyHeld(random: Random, text: boolean): Held {
  // Without these states few cases would admit anything.
  if (random.chance(12)) return { text: undefined };
  if (!text && random.chance(25)) return { command: ['ZADD', '', ...nearlyRight(random)] };
  const kind = random.int(0, 19);
  if (text ? kind < 17 : kind < 4) return { text: nearlyState(random) };
  const value = anyText(random, 8);
  if (!text && kind < 16) {
    const pairs = Array.from({ length: random.int(1, 6) }, () => [
      anyScore(random),
      anyMember(random),
    ]).flat();
    // The beginning of a valid log, or of a nearly valid one.
    if (random.chance(50)) pairs.push(TOO_LARGE, anyMember(random));
    if (random.chance(30)) pairs.push(`-${NOW - random.int(0, 9)}`, '~');
    return { command: ['ZADD', '', ...pairs] };
  }
  return {
    command: random.pick([
      ['RPUSH', '', value],
      ['HSET', '', value, value],
      ['SADD', '', value],
      ['XADD', '', '1-1', 'f', value],
      ['ZADD', '', anyScore(random), value],
      ['SET', '', Buffer.from(Array.from({ length: random.int(0, 30) }, () => random.int(0, 255)))],
    ]),
  };
}

interface Asked {
  readonly entry: Entry;
  readonly kind: Kind;
}

interface Case {
  readonly kind: Kind;
  readonly key: string;
  readonly held: Held;
  /** The key of the reservation record, beside the limit's own. */
  readonly record: Held | undefined;
  readonly asked: readonly Asked[];
}

function anyCase(random: Random, kind: Kind, key: string): Case {
  const lends = kind.shapes.has('acquire');
  const shapeFor = (verb: Verb): Shape => kind.shapes.get(verb)!;
  const asked: Asked[] = [];
  const ask = (verb: Verb, details?: readonly string[], record?: string): void => {
    asked.push({ kind, entry: { key, shape: shapeFor(verb), details, record } });
  };
  const once = random.chance(40) ? 1 : Math.min(kind.most, 9) + 2;
  let record: Held | undefined;
  if (random.chance(25)) ask('peek');
  if (lends) {
    for (let i = 0; i < once; i++) ask('acquire', [random.chance(90) ? `lease-${i}` : 'lease']);
    if (random.chance(20)) ask(random.pick(['renew', 'release']), ['lease']);
  } else {
    if (random.chance(15)) ask('up_to');
    for (let i = 0; i < once; i++) ask('allow');
    if (random.chance(15)) ask('up_to');
    if (random.chance(10)) ask('penalize');
    if (random.chance(10)) ask('credit');
    if (kind.limit !== block && random.chance(15)) {
      record = anyHeld(random, true);
      ask('settle', settleDetails(random.int(1, 9), 60_000, random.chance(50)), '#r:1');
    }
  }
  if (random.chance(10)) ask('peek');
  return { kind, key, held: anyHeld(random, kind.text), record, asked };
}

function show({ kind, key, held, record, asked }: Case, answers: unknown): unknown {
  const { algorithm, capacity, windowMs } = kind.limit;
  const verbs = asked.map(({ entry: { shape, details } }) =>
    [shape.verb, ...(details ?? [])].join(' '),
  );
  return { limit: { algorithm, capacity, windowMs }, key, held, record, verbs, answers };
}

/** The units that an answer admits. */
function passing({ entry: { shape } }: Asked, answer: Reply): number {
  if (shape.verb === 'up_to') return Number(answer[0]);
  if (shape.verb !== 'allow' && shape.verb !== 'acquire') return 0;
  return Number(answer[0]) >= 0 ? 1 : 0;
}

function check(one: Case, answers: readonly Reply[]): void {
  let units = 0;
  one.asked.forEach((asked, i) => {
    const answer = answers[i]!;
    const failed = answer.filter((each) => typeof each !== 'number');
    if (failed.length > 0) {
      const message = String(failed[0]);
      const known = /^(?:UNREADABLE|WRONGTYPE|SKEWED) /.test(message);
      if (failed.length !== answer.length || !known) {
        throw new Finding(`entry ${i} fails otherwise: ${answer.join(', ')}`, show(one, answers));
      }
      return;
    }
    if (!answer.every(Number.isSafeInteger)) {
      throw new Finding(`entry ${i} answers with what is no integer`, show(one, answers));
    }
    units += passing(asked, answer);
  });
  const again = one.asked.some(({ entry }) => entry.details?.[0] === 'lease');
  if (!again && units > one.kind.most) {
    throw new Finding(`${units} units pass where ${one.kind.most} may`, show(one, answers));
  }
}

function answersOf(cases: readonly Case[], reply: Reply): Reply[][] {
  let place = 1;
  return cases.map(({ asked }) =>
    asked.map(({ entry }) => reply.slice(place, (place += entry.shape.width))),
  );
}

function group(random: Random, entries: readonly Entry[]): readonly Grouping[] {
  return random.chance(50)
    ? groupedByProduction(entries)
    : [grouped(entries.map((entry) => ({ entry, times: 1 })))];
}

/** Foreign bytes under the library's keys, on a real server. */
export const states: Area = {
  name: 'stored states',
  percent: 15,

  async open(): Promise<Fuzzed> {
    const server = await startRedis();
    const lua = await LuaTwin.open(server);
    const connection = await openResp({ path: server.socketPath });

    async function put(key: string, held: Held): Promise<void> {
      if ('text' in held && held.text === undefined) return;
      const [name = 'SET', , ...rest] = 'text' in held ? ['SET', '', held.text!] : held.command;
      await connection.command(name, key, ...rest);
    }

    return {
      async run(random) {
        const lone = random.chance(30);
        const chosen = random.pick(KINDS.filter(({ text }) => text));
        const cases = Array.from({ length: KEYS }, (_, i) =>
          anyCase(random, lone ? chosen : random.pick(KINDS), `k${i}`),
        );
        const keys = cases.flatMap(({ asked }) => [
          ...new Set(asked.flatMap(({ entry }) => keysOf(entry))),
        ]);
        await connection.command('FLUSHALL');
        await Promise.all(
          cases.flatMap(({ asked, held, record }) => {
            const own = keysOf(asked[0]!.entry)[0]!;
            return [put(own, held), ...(record === undefined ? [] : [put(`{${own}}#r:1`, record)])];
          }),
        );
        const entries = cases.flatMap(({ asked }) => asked.map(({ entry }) => entry));
        const reply: (number | string)[] = [NOW];
        for (const grouping of group(random, entries)) {
          const part = await lua.decideAside(grouping, NOW);
          reply.push(...part.slice(1));
        }
        const answers = answersOf(cases, reply);
        // If every state is a string, both twins read it: each answer and each state must be equal.
        const after = await Promise.all(
          keys.map((key) => connection.command('GET', key).catch(() => 'of another type')),
        );
        const ttls: number[] = await Promise.all(
          keys.map((key) => connection.command('PTTL', key)),
        );
        cases.forEach((one, i) => {
          check(one, answers[i]!);
          const own = keys.indexOf(keysOf(one.asked[0]!.entry)[0]!);
          const passed = one.asked.some((asked, a) => passing(asked, answers[i]![a]!) > 0);
          if (passed && one.kind.most !== Number.POSITIVE_INFINITY && ttls[own] === -1) {
            throw new Finding('a state was left without a TTL', show(one, answers[i]));
          }
          compare(one, answers[i]!, keys, after);
        });
        return KEYS;
      },

      async close() {
        connection.close();
        await lua.close();
        await server.close();
      },
    };
  },
};

/** Runs the TypeScript twin on the same strings. */
function compare(
  one: Case,
  answers: readonly Reply[],
  keys: readonly string[],
  after: readonly unknown[],
): void {
  const { kind, held, record, asked } = one;
  if (!kind.text || !('text' in held) || (record !== undefined && !('text' in record))) return;
  // Lone surrogates do not come back as they were sent.
  if (![held, record].every((each) => each?.text === undefined || each.text.isWellFormed())) return;
  const own = keysOf(asked[0]!.entry)[0]!;
  const stored = new Map<string, string>();
  if (held.text !== undefined) stored.set(own, held.text);
  if (record !== undefined && 'text' in record && record.text !== undefined) {
    stored.set(`{${own}}#r:1`, record.text);
  }
  const table = new MapTable(stored);
  const reply = decide(
    asked.map(({ entry }) => entry),
    NOW,
    table,
  );
  const mine = reply.slice(1).map(kindOfAnswer);
  const theirs = answers.flat().map(kindOfAnswer);
  if (mine.join() !== theirs.join()) {
    throw new Finding('the twins answer differently', { ...(show(one, theirs) as object), mine });
  }
  for (const key of new Set(asked.flatMap(({ entry }) => keysOf(entry)))) {
    const value = after[keys.indexOf(key)] ?? undefined;
    // A TTL of a few milliseconds may have passed.
    if (value !== undefined && value !== table.stored.get(key)) {
      throw new Finding('the twins store different states', {
        ...(show(one, theirs) as object),
        key,
        mine: table.stored.get(key),
        theirs: value,
      });
    }
  }
}

function kindOfAnswer(element: number | string): string {
  return String(element).split(' ')[0]!;
}
