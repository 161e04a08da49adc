import { FIRST_INEXACT } from '../algorithms/limit.ts';
import type { Encoded, State } from '../algorithms/limit.ts';

/** One charge of a reservation under one limit: the estimate, or what `add` charged. */
export interface Piece {
  readonly units: number;
  /** UNCHARGED for no units; LOST if they can no longer be given back. */
  readonly receipt: string;
  /** Scratch of the driver: the parsed receipt, for units that can be given back. */
  readonly parsed?: unknown;
}

/**
 * The record of one reservation: what it was charged, until it is settled or expires; then, for a while, how it was
 * settled. Kept as `held;ends;units;receipt;…` with a receipt per limit, or as `settled;ends;charged;uncharged`. Numbers
 * that differ between limits are separated by commas, the charges of one limit by `|`. After `add`, `ends+number` tells
 * which was the last, and `ends+number+handle:number` the last of each handle that was resumed. What the last verb told
 * of the limits follows behind a line feed.
 */
export interface RecordState extends State {
  /** The instant from which on the record no longer counts, in microseconds since the Unix epoch; 0 for no record. */
  ends: number;
  settled: boolean;
  /** The last `add` of each handle, as the details of `add` say it. */
  adds: readonly string[];
  /** The charges of each limit, oldest first; for a limit that was not charged one with the receipt NOT_CHARGED. */
  pieces: readonly (readonly Piece[])[];
  /** One number, or one per limit. */
  charged: readonly number[];
  uncharged: readonly number[];
  /** What `reserve` or `settle` told of the limits; only processes that resume the reservation read it. */
  told: string;
}

/** The receipt of a limit that let an estimate of 0 pass. */
export const UNCHARGED = '0';
/** The receipt of a limit that refused the estimate. */
export const NOT_CHARGED = '-';
/** The receipt of units that can no longer be given back. */
const LOST = 'x';
/** Most charges of one limit that a record tells apart; the oldest ones beyond cannot be given back. */
const MAX_PIECES = 32;
/** Most handles whose last `add` a record knows; of those that were resumed, the one that added least recently is forgotten. */
const MAX_HANDLES = 8;

const HELD = /^held;(\d+)((?:\+(?:[0-9a-f]{8}:)?\d+)*);(\d+(?:[,|]\d+)*);([^\n]+)(?:\n([^]*))?$/;
const SETTLED = /^settled;(\d+);(\d+(?:,\d+)*);(\d+(?:,\d+)*)(?:\n([^]*))?$/;

export const recordTwin: {
  load(value: unknown): RecordState | undefined;
  encode(state: RecordState): Encoded;
} = {
  load(value) {
    const state: RecordState = {
      ends: 0,
      settled: false,
      adds: [],
      pieces: [],
      charged: [],
      uncharged: [],
      told: '',
      changed: false,
    };
    if (value === undefined) {
      return state;
    }
    if (typeof value !== 'string') {
      return undefined;
    }
    const held = HELD.exec(value);
    const settled = SETTLED.exec(value);
    if (held !== null) {
      const pieces = readPieces(held[3]!, held[4]!);
      if (pieces === undefined) {
        return undefined;
      }
      state.pieces = pieces;
      state.adds = held[2]!.split('+').slice(1);
      state.ends = Number(held[1]);
      state.told = held[5] ?? '';
    } else if (settled !== null) {
      state.settled = true;
      state.charged = settled[2]!.split(',').map(Number);
      state.uncharged = settled[3]!.split(',').map(Number);
      state.ends = Number(settled[1]);
      state.told = settled[4] ?? '';
    } else {
      return undefined;
    }
    const { ends, adds, charged, uncharged } = state;
    return charged.length !== uncharged.length ||
      Math.max(ends, ...adds.map(numberOf), ...charged, ...uncharged) >= FIRST_INEXACT
      ? undefined
      : state;
  },

  encode({ settled, ends, adds, pieces, charged, uncharged, told }) {
    const until = [ends, ...adds].join('+');
    const text = settled
      ? `settled;${ends};${charged.join(',')};${uncharged.join(',')}`
      : `held;${until};${writeUnits(pieces)};${pieces.map((each) => each.map(({ receipt }) => receipt).join('|')).join(';')}`;
    return { value: told === '' ? text : `${text}\n${told}`, rests: ends };
  },
};

/** What a process that resumes the reservation is told; undefined if there is no record. */
export function tellOf(
  { ends, settled, charged, uncharged, told }: RecordState,
  now: number,
): string | undefined {
  if (ends <= now) {
    return undefined;
  }
  return settled ? `2:${charged.join(',')};${uncharged.join(',')}\n${told}` : `1:${told}`;
}

function numberOf(add: string): number {
  return Number(add.slice(add.indexOf(':') + 1));
}

/** `3` and `4` are of one handle, and so are `0a1b2c3d:3` and `0a1b2c3d:4`. */
function handleOf(add: string): string {
  return add.slice(0, add.indexOf(':') + 1);
}

/** Whether the record has this `add` already. */
export function isAdded(adds: readonly string[], add: string): boolean {
  const last = adds.find((each) => handleOf(each) === handleOf(add));
  return last !== undefined && numberOf(last) >= numberOf(add);
}

/** The last `add` of each handle after this one. */
export function withAdd(adds: readonly string[], add: string): readonly string[] {
  const others = adds.filter((each) => handleOf(each) !== handleOf(add));
  if (others.length >= MAX_HANDLES) {
    const oldest = others.findIndex((each) => handleOf(each) !== '');
    others.splice(Math.max(oldest, 0), 1);
  }
  return [...others, add];
}

function writeUnits(pieces: readonly (readonly Piece[])[]): string {
  const texts = pieces.map((each) => each.map(({ units }) => units).join('|'));
  return texts.every((text) => text === texts[0]) ? texts[0]! : texts.join(',');
}

/** Undefined if the numbers of units and of receipts differ, or units are too many. */
function readPieces(units: string, receipts: string): Piece[][] | undefined {
  const ofLimits = receipts.split(';');
  const given = units.split(',');
  if (given.length !== 1 && given.length !== ofLimits.length) {
    return undefined;
  }
  const pieces = ofLimits.map((texts, i) => {
    const numbers = given[given.length === 1 ? 0 : i]!.split('|');
    const each = texts.split('|');
    return each.length === numbers.length
      ? each.map((receipt, p): Piece => ({ units: Number(numbers[p]), receipt }))
      : [];
  });
  const isExact = ({ units: count }: Piece): boolean => count < FIRST_INEXACT;
  return pieces.every((each) => each.length > 0 && each.every(isExact)) ? pieces : undefined;
}

/** Whether the limit was charged for the reservation: an enforced one always was. */
export function isCharged(pieces: readonly Piece[]): boolean {
  return pieces[0]!.receipt !== NOT_CHARGED;
}

/** All units that the reservation charged a limit. */
export function unitsOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { units }) => sum + units, 0);
}

/** The charges of a limit and one more. */
export function withPiece(pieces: readonly Piece[], piece: Piece): readonly Piece[] {
  const last = pieces.at(-1)!;
  if (last.units === 0) {
    return [piece];
  }
  if (last.receipt === piece.receipt) {
    return [...pieces.slice(0, -1), { units: last.units + piece.units, receipt: piece.receipt }];
  }
  if (pieces.length < MAX_PIECES) {
    return [...pieces, piece];
  }
  const [first, second, ...rest] = pieces as [Piece, Piece, ...Piece[]];
  return [{ units: first.units + second.units, receipt: LOST }, ...rest, piece];
}

/**
 * The charges with their receipts read; undefined if one is unreadable. `parse` is that of the limit's algorithm.
 */
export function parsePieces(
  pieces: readonly Piece[] | undefined,
  parse: (receipt: string) => unknown,
): readonly Piece[] | undefined {
  if (pieces === undefined) {
    return undefined;
  }
  const parsed = pieces.map((piece) =>
    piece.units === 0 || piece.receipt === NOT_CHARGED || piece.receipt === LOST
      ? piece
      : { ...piece, parsed: parse(piece.receipt) },
  );
  return parsed.some((piece) => 'parsed' in piece && piece.parsed === undefined)
    ? undefined
    : parsed;
}
