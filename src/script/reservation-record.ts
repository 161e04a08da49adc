import { FIRST_INEXACT } from '../algorithms/limit.ts';
import type { Encoded, State } from '../algorithms/limit.ts';

/**
 * The record of one reservation: what it was charged, until it is settled or expires; then, for a while, how it was
 * settled. Kept as `held;ends;cost;receipt;…` with a receipt per limit, or as `settled;ends;charged;uncharged`.
 */
export interface RecordState extends State {
  /** The instant from which on the record no longer counts, in microseconds since the Unix epoch; 0 for no record. */
  ends: number;
  settled: boolean;
  /** The estimate, in units. */
  cost: number;
  /** The receipt of each limit's charge, '-' for a limit that was not charged. */
  receipts: readonly string[];
  /** Scratch of the driver: the parsed receipts; null for a limit that was not charged. */
  parsed: readonly unknown[];
  charged: number;
  uncharged: number;
}

const HELD = /^held;(\d+);(\d+);([^]+)$/;
const SETTLED = /^settled;(\d+);(\d+);(\d+)$/;

export const recordTwin: {
  load(value: unknown): RecordState | undefined;
  encode(state: RecordState): Encoded;
} = {
  load(value) {
    const state: RecordState = {
      ends: 0,
      settled: false,
      cost: 0,
      receipts: [],
      parsed: [],
      charged: 0,
      uncharged: 0,
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
      state.receipts = held[3]!.split(';');
      state.cost = Number(held[2]);
      state.ends = Number(held[1]);
    } else if (settled !== null) {
      state.settled = true;
      state.charged = Number(settled[2]);
      state.uncharged = Number(settled[3]);
      state.ends = Number(settled[1]);
    } else {
      return undefined;
    }
    const { ends, cost, charged, uncharged } = state;
    return Math.max(ends, cost, charged, uncharged) >= FIRST_INEXACT ? undefined : state;
  },

  encode(state) {
    const { settled, ends, cost, receipts, charged, uncharged } = state;
    return {
      value: settled
        ? `settled;${ends};${charged};${uncharged}`
        : `held;${ends};${cost};${receipts.join(';')}`,
      rests: ends,
    };
  },
};
