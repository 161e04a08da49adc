import { BucketCounter, loadBucket, resetBucket, saveBucket } from './oracle-bucket.ts';
import type { BucketState, OracleBucket } from './oracle-bucket.ts';
import { divideUp, isWhole, LIMIT_OF_NUMBERS, most } from './oracle-numbers.ts';
import type { Counter, OracleVerdict } from './oracle-numbers.ts';
import { loadWindow, saveWindow, WindowCounter } from './oracle-window.ts';
import type { OracleWindow, WindowState } from './oracle-window.ts';

export type { OracleVerdict };

/**
 * A model of what the documents promise of token buckets and fixed windows in one home or several, on rational numbers
 * that are never rounded. It shares no code and no arithmetic with the twins, and the order of things is that of the
 * documents.
 */

export type OracleLimit = (OracleBucket | OracleWindow) & {
  /** Whether it only counts, and never refuses. */
  readonly shadow?: boolean;
};

/** One limit's part in a call. */
export interface OracleRule {
  readonly limit: OracleLimit;
  /** The key of the home that holds its state, and what names the state in it. */
  readonly home: string;
  readonly id: string;
  /** Units that the call asks of it. */
  readonly cost: bigint;
  /** For a refund: what the charge returned; undefined for none. */
  readonly charged?: unknown;
}

export interface OracleCall {
  readonly verb: 'allow' | 'peek' | 'reset' | 'refund' | 'block' | 'unblock';
  readonly rules: readonly OracleRule[];
  /** The homes whose blocks the call heeds; of `block` and `unblock` the one that is meant. */
  readonly blocks?: readonly string[];
  /** Of `block`: microseconds. */
  readonly durationUs?: bigint;
}

/** Each limit's verdict, then each block's; nothing for other verbs; `unreadable` if a state is not one of ours. */
export type OracleAnswer = readonly OracleVerdict[] | 'done' | 'unreadable';

/** What a key holds from now on, and for how many milliseconds; undefined if it is deleted. */
export type OracleWrite = { readonly value: string; readonly ttlMs: bigint } | undefined;

/** One limit's state in a home: as it was stored, and as it was read. */
interface Part {
  text: string | undefined;
  state: BucketState | WindowState | 'unreadable' | undefined;
  changed: boolean;
  /** Whether its lines moved back with the clock, which the first call that is decided by it stores. */
  moved: boolean;
}

interface Home {
  /** In the order in which they are written. */
  parts: Map<string, Part>;
  unreadable: boolean;
  changed: boolean;
  /** Whether it is one state without an id that rests: any write of another state drops it, be it unreadable. */
  rested: boolean;
}

/** A block as one script call sees it: its end, 0 for none. */
interface Block {
  ends: bigint | 'unreadable';
  changed: boolean;
}

/** State of many keys, and the decisions on them. */
export class Oracle {
  readonly stored = new Map<string, { value: string; expiresAt: bigint | undefined }>();
  /** How often a state of several lines was read. */
  longs = 0;
  readonly #expires: boolean;

  /**
   * @param expires whether a state is forgotten when its TTL has passed. A clock that steps back past an expiry
   *   tells the two apart, nothing else does.
   */
  constructor(expires: boolean) {
    this.#expires = expires;
  }

  /**
   * Decides the calls in order, all at the instant `now`; each changed key is written once, at the end. `charges` has
   * per call what a refund of each limit must know.
   */
  decide(
    calls: readonly OracleCall[],
    now: bigint,
  ): {
    answers: OracleAnswer[];
    charges: (readonly unknown[])[];
    writes: Map<string, OracleWrite>;
  } {
    const homes = new Map<string, Home>();
    const blocks = new Map<string, Block>();
    const homeOf = (key: string): Home => {
      const home = homes.get(key) ?? readHome(this.#read(key, now), now);
      homes.set(key, home);
      return home;
    };
    const blockOf = (home: string): Block => {
      const key = blockKey(home);
      const block = blocks.get(key) ?? readBlock(this.#read(key, now));
      blocks.set(key, block);
      return block;
    };
    const charges: (readonly unknown[])[] = [];
    const answers = calls.map((call) => {
      const charged: unknown[] = [];
      charges.push(charged);
      return this.#answer(call, homeOf, blockOf, charged, now);
    });
    const writes = new Map<string, OracleWrite>();
    for (const [key, home] of homes) {
      if (home.changed) {
        writes.set(key, write(home, now));
      }
    }
    for (const [key, { ends, changed }] of blocks) {
      if (changed) {
        const lasts = ends !== 'unreadable' && ends > 0n;
        writes.set(key, lasts ? { value: String(ends), ttlMs: ttlOf(ends, now) } : undefined);
      }
    }
    for (const [key, saved] of writes) {
      if (saved === undefined) {
        this.stored.delete(key);
      } else {
        this.stored.set(key, { value: saved.value, expiresAt: now + saved.ttlMs * 1_000n });
      }
    }
    return { answers, charges, writes };
  }

  #read(key: string, now: bigint): string | undefined {
    const kept = this.stored.get(key);
    const gone = this.#expires && kept?.expiresAt !== undefined && kept.expiresAt <= now;
    return kept === undefined || gone ? undefined : kept.value;
  }

  #answer(
    { verb, rules, blocks = [], durationUs = 0n }: OracleCall,
    homeOf: (key: string) => Home,
    blockOf: (home: string) => Block,
    charged: unknown[],
    now: bigint,
  ): OracleAnswer {
    if (verb === 'block' || verb === 'unblock') {
      for (const home of blocks) {
        const block = blockOf(home);
        if (verb === 'block' && block.ends === 'unreadable') {
          return 'unreadable';
        }
        Object.assign(block, { ends: verb === 'block' ? now + durationUs : 0n, changed: true });
      }
      return 'done';
    }
    if (verb === 'reset') {
      for (const rule of rules) {
        resetIn(homeOf(rule.home), rule, rules, now);
      }
      return 'done';
    }
    const held = rules.map(({ home, id }) => {
      const part = homeOf(home).parts.get(id) ?? fresh();
      load(part, id, now);
      return part;
    });
    const heeded = blocks.map(blockOf);
    if (
      rules.some(({ home }) => homeOf(home).unreadable) ||
      held.some(({ state }) => state === 'unreadable') ||
      heeded.some(({ ends }) => ends === 'unreadable')
    ) {
      return 'unreadable';
    }
    const look = (): Counter[] =>
      rules.map((rule, i) => {
        const part = held[i]!;
        const change = (): void => note(homeOf(rule.home), idsIn(rule.home, rules), rule.id, part);
        if (part.moved) {
          change();
          part.moved = false;
        }
        this.longs += 'long' in (part.state as object) && isLong(part.state) ? 1 : 0;
        return rule.limit.kind === 'bucket'
          ? new BucketCounter(part.state as BucketState, rule.limit, now, change)
          : new WindowCounter(part.state as WindowState, rule.limit, now, change);
      });
    let counters = look();
    if (verb === 'refund') {
      for (const [i, { charged: mark, cost }] of rules.entries()) {
        if (mark !== undefined && cost > 0n) {
          counters[i]!.restore(mark, cost);
        }
      }
      counters = look();
      return counters.map((counter) => counter.verdict(1n, !counter.passes(1n)));
    }
    const fits = counters.map((counter, i) => counter.passes(rules[i]!.cost));
    const isFree = heeded.every(({ ends }) => (ends as bigint) <= now);
    const passes = isFree && fits.every((each, i) => each || rules[i]!.limit.shadow === true);
    if (verb === 'allow') {
      for (const [i, counter] of counters.entries()) {
        const { cost } = rules[i]!;
        const takes = passes && fits[i]! && cost > 0n;
        charged.push(takes ? counter.charge(cost) : undefined);
      }
      for (const [i, counter] of counters.entries()) {
        if (!fits[i]!) {
          counter.refuse();
        }
      }
    }
    return [
      ...counters.map((counter, i) => counter.verdict(rules[i]!.cost, !fits[i]!)),
      ...heeded.map(({ ends }) => verdictOfBlock(ends as bigint, now)),
    ];
  }
}

function isLong(state: Part['state']): boolean {
  return (state as BucketState).long !== undefined;
}

/** The ids of the limits of a call whose states are in this home, in order. */
function idsIn(home: string, rules: readonly OracleRule[]): readonly string[] {
  return rules.filter((rule) => rule.home === home).map(({ id }) => id);
}

function resetIn(home: Home, rule: OracleRule, rules: readonly OracleRule[], now: bigint): void {
  const { id, limit } = rule;
  home.unreadable = false;
  home.changed = true;
  const part = home.parts.get(id);
  if (id !== '=t') {
    dropRested(home);
  }
  if (part === undefined) {
    return;
  }
  load(part, id, now);
  const isKept =
    home.parts.size <= 16 &&
    part.state !== 'unreadable' &&
    limit.kind === 'bucket' &&
    resetBucket(part.state as BucketState, limit, now);
  if (isKept) {
    note(home, idsIn(rule.home, rules), id, part);
  } else {
    home.parts.delete(id);
  }
}

function verdictOfBlock(ends: bigint, now: bigint): OracleVerdict {
  const left = most(0n, ends - now);
  const refused = left > 0n;
  const remaining = refused ? 0n : LIMIT_OF_NUMBERS;
  return { refused, remaining, over: 0n, retryUs: left, resetUs: left };
}

/** The key of a home's block: in the home's slot, whose key may have a hash tag. */
function blockKey(home: string): string {
  return home.startsWith('{') ? `${home}#block` : `{${home}}#block`;
}

function readBlock(value: string | undefined): Block {
  const ends = value !== undefined && isWhole(value) ? BigInt(value) : 0n;
  const isBad = value !== undefined && (ends === 0n || ends >= LIMIT_OF_NUMBERS);
  return { ends: isBad ? 'unreadable' : ends, changed: false };
}

function fresh(): Part {
  return { text: undefined, state: undefined, changed: false, moved: false };
}

function load(part: Part, id: string, now: bigint): void {
  if (part.state !== undefined) {
    return;
  }
  if (id.endsWith('=f')) {
    part.state = loadWindow(part.text) ?? 'unreadable';
    return;
  }
  const loaded = loadBucket(part.text, now);
  part.state = loaded?.state ?? 'unreadable';
  part.moved = loaded?.moved === true;
}

function dropRested(home: Home): void {
  const part = home.parts.get('=t');
  if (home.rested && part?.changed === false && typeof part.state !== 'object') {
    home.parts.delete('=t');
  }
}

/** Notes a change by a call that names these ids: they are written first. */
function note(home: Home, ids: readonly string[], id: string, part: Part): void {
  if (home.parts.get('=t') !== part) {
    dropRested(home);
  }
  part.changed = true;
  home.changed = true;
  const named = ids.flatMap((each) => {
    const known = home.parts.get(each) ?? (each === id ? part : undefined);
    return known === undefined ? [] : [[each, known] as const];
  });
  home.parts = new Map([...named, ...[...home.parts].filter(([each]) => !ids.includes(each))]);
}

/** A home is one state, or `;id` and a state for each limit, which begins with the instant at which it rests. */
function readHome(value: string | undefined, now: bigint): Home {
  const home: Home = { parts: new Map(), unreadable: false, changed: false, rested: false };
  const add = (id: string, text: string): void => {
    home.parts.set(id, { text, state: undefined, changed: false, moved: false });
  };
  if (value === undefined) {
    return home;
  }
  const plain = /^([0-9]+)[^;]*$/.exec(value)?.[1];
  if (plain !== undefined && BigInt(plain) < LIMIT_OF_NUMBERS) {
    add('=t', value);
    home.rested = BigInt(plain) < now;
    return home;
  }
  const [before, ...parts] = value.split(';');
  home.unreadable = before !== '' || parts.length === 0;
  for (const part of parts) {
    const [, id = '', text = '', digits = ''] =
      /^([A-Za-z0-9._-]*=[a-z])(([0-9]+).*)$/.exec(part) ?? [];
    if (id === '' || BigInt(digits) >= LIMIT_OF_NUMBERS || home.parts.has(id)) {
      home.unreadable = true;
    } else if (BigInt(digits) >= now) {
      add(id, text);
    }
  }
  if (home.unreadable) {
    home.parts.clear();
  }
  return home;
}

function write({ parts }: Home, now: bigint): OracleWrite {
  const written = [...parts].map(([id, { text, state, changed }]) => {
    const saved =
      changed && typeof state === 'object'
        ? 'length' in state
          ? saveWindow(state)
          : saveBucket(state)
        : { value: text ?? '', rests: BigInt(/^[0-9]*/.exec(text ?? '')?.[0] ?? 0) };
    return { id, ...saved };
  });
  const counting = written.filter(({ rests }) => rests >= now);
  if (counting.length === 0) {
    return undefined;
  }
  const latest = counting.map(({ rests }) => rests).reduce(most, now);
  const { id, value } = counting[0]!;
  return {
    value:
      counting.length === 1 && id === '=t'
        ? value
        : counting.map((part) => `;${part.id}${part.value}`).join(''),
    ttlMs: ttlOf(latest, now),
  };
}

function ttlOf(rests: bigint, now: bigint): bigint {
  return divideUp(rests - now, 1_000n) + 1n;
}
