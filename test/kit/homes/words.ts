import { createHash } from 'node:crypto';
import type { OracleLimit, OracleRule } from '../twins/oracle.ts';

/**
 * Limits, identities and calls in the words of a test, and what the documents say of them: which limits a call consults,
 * how many units it asks of each, and under which keys their states are. It shares no code with the library.
 */

export type Parts = Readonly<Record<string, string | null>>;
export type Units = Readonly<Record<string, number>>;

/** One limit. */
export interface Numbers {
  /** Undefined for the limit without a name. */
  readonly name: string | undefined;
  readonly kind: 'bucket' | 'window';
  readonly by: readonly string[];
  readonly unit: string | undefined;
  readonly rate: number;
  readonly periodS: number;
  /** Of a bucket. */
  readonly burst: number;
  readonly maxDebt: number;
  readonly shadow: boolean;
}

/** A limiter: its own limits. */
export interface Spoken {
  readonly namespace: string;
  readonly own: readonly Numbers[];
  readonly blocks: boolean;
}

/** A call: a number of units where no limit has a unit; else units by name. */
export interface Said {
  readonly parts: Parts;
  readonly cost: number | Units;
  /** Limits passed with the call. */
  readonly plan: readonly Numbers[] | undefined;
}

export function unitOf({ unit }: Numbers): string {
  return unit ?? 'calls';
}

function capacityOf({ kind, rate, burst }: Numbers): number {
  return kind === 'bucket' ? burst : rate;
}

function isGiven(by: readonly string[], parts: Parts): boolean {
  return by.every((part) => parts[part] !== null);
}

function nameOf(by: readonly string[]): string {
  return by.toSorted().join(' ');
}

/** The parts that all of a limiter's own limits count by. */
function tagOf(own: readonly Numbers[]): readonly string[] {
  return own[0]!.by.filter((part) => own.every(({ by }) => by.includes(part)));
}

/** A digest of names and values, each with its length, behind a byte that no text contains. */
function digestOf(by: readonly string[], parts: Parts): string {
  const hash = createHash('sha256').update(Buffer.of(0xfe));
  for (const text of by.toSorted().flatMap((part) => [part, parts[part]!])) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(text));
    hash.update(length).update(text);
  }
  return hash.digest('hex');
}

export function keyOf({ namespace, own }: Spoken, by: readonly string[], parts: Parts): string {
  const tag = tagOf(own);
  return tag.length === 0
    ? `${namespace}:limits:${digestOf(by, parts)}`
    : `{${namespace}:limits:${digestOf(tag, parts)}}:${digestOf(by, parts)}`;
}

/** The homes of the limiter's own limits, each once, of which the identity has all parts. */
export function blockable({ own }: Spoken, parts: Parts): readonly (readonly string[])[] {
  const first = own.filter(
    (limit, i) => own.findIndex((each) => nameOf(each.by) === nameOf(limit.by)) === i,
  );
  return first.map(({ by }) => by).filter((by) => isGiven(by, parts));
}

export function isOfHome({ by }: Numbers, parts: Parts): boolean {
  return nameOf(by) === nameOf(Object.keys(parts));
}

/** The limits that a call consults: those of whose parts none is null. */
export function consulted({ own }: Spoken, { parts, plan }: Said): readonly Numbers[] {
  return (plan ?? own).filter(({ by }) => isGiven(by, parts));
}

/** Units that the call asks of a limit; undefined if it does not ask it. A call is one unless it says otherwise. */
export function asked(limit: Numbers, cost: number | Units): number | undefined {
  if (typeof cost === 'number') {
    return cost;
  }
  const unit = unitOf(limit);
  return cost[unit] ?? (unit === 'calls' ? 1 : undefined);
}

/** Whether the call is refused as one that asks no limit, or none that is enforced. */
export function asksNothing(spoken: Spoken, said: Said): boolean {
  const asks = (limits: readonly Numbers[]): boolean => {
    const enforced = limits.filter(({ shadow }) => !shadow);
    return (enforced.length > 0 ? enforced : limits).some(
      (limit) => asked(limit, said.cost) !== undefined,
    );
  };
  const limits = said.plan ?? spoken.own;
  if (limits.length === 0) {
    return blockable(spoken, said.parts).length === 0;
  }
  return !asks(limits) || !asks(consulted(spoken, said));
}

/** Whether some enforced limit never lets the call pass. */
export function isImpossible(spoken: Spoken, said: Said): boolean {
  return consulted(spoken, said).some(
    (limit) => !limit.shadow && (asked(limit, said.cost) ?? 0) > capacityOf(limit),
  );
}

function bucketOf({ rate, periodS, burst, maxDebt }: Numbers): OracleLimit & { kind: 'bucket' } {
  return {
    kind: 'bucket',
    rate: BigInt(rate),
    periodUs: BigInt(periodS) * 1_000_000n,
    burst: BigInt(burst),
    maxDebt: BigInt(maxDebt),
  };
}

/** The limit as the oracle takes it. A plan's bucket counts beside the limiter's own limit of its name and parts. */
function limitOf(limit: Numbers, own: readonly Numbers[] | undefined): OracleLimit {
  const { shadow } = limit;
  if (limit.kind === 'window') {
    const periodUs = BigInt(limit.periodS) * 1_000_000n;
    return { kind: 'window', rate: BigInt(limit.rate), periodUs, shadow };
  }
  const mine = bucketOf(limit);
  if (own === undefined) {
    return { ...mine, shadow };
  }
  const like = own.find(
    ({ name, kind, by }) =>
      name === limit.name && kind === 'bucket' && nameOf(by) === nameOf(limit.by),
  );
  const beside = like === undefined ? null : bucketOf(like);
  const isOwn =
    beside !== null &&
    beside.rate * mine.periodUs === mine.rate * beside.periodUs &&
    beside.burst === mine.burst &&
    beside.maxDebt === mine.maxDebt;
  return isOwn ? { ...mine, shadow } : { ...mine, shadow, beside };
}

/** A limit's part in a call. */
export function ruleOf(
  spoken: Spoken,
  limit: Numbers,
  parts: Parts,
  plan: boolean,
  cost: number,
): OracleRule {
  return {
    limit: limitOf(limit, plan ? spoken.own : undefined),
    home: keyOf(spoken, limit.by, parts),
    id: `${limit.name ?? ''}=${limit.kind === 'bucket' ? 't' : 'f'}`,
    cost: BigInt(cost),
  };
}
