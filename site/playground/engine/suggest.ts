import { msToDuration } from '../../../src/base/duration.ts';
import { ArrivalCurve } from '../../../src/cli/suggest/arrival-curve.ts';
import { choose, RATES, rowsOf, SHARES } from '../../../src/cli/suggest/rows.ts';
import type { Cell, Row } from '../../../src/cli/suggest/rows.ts';
import type { Requests } from './requests.ts';

/** Rates and the bursts that callers would not have noticed, as `suggest` of the command line finds them. */
export interface Suggestions {
  readonly period: string;
  readonly callers: number;
  readonly shares: readonly number[];
  readonly rows: readonly Row[];
  /** Disturbs no more than one caller in a thousand; undefined if no rate does. */
  readonly chosen: (Cell & { readonly rate: number }) | undefined;
}

const SHARE = 0.001;
const MOST_CALLERS = 1_000_000;
const BATCH = 10_000;

export function suggest(requests: Requests, periodMs: number): Suggestions {
  const curve = new ArrivalCurve(RATES, periodMs, MOST_CALLERS);
  for (let from = 0; from < requests.count; from += BATCH) {
    const until = Math.min(from + BATCH, requests.count);
    const batch = Array.from({ length: until - from }, (_, i) => ({
      at: requests.at[from + i]!,
      caller: requests.names[requests.caller[from + i]!]!,
      order: 0,
      cost: 1,
    }));
    curve.take(batch);
  }
  const rows = rowsOf(curve, SHARES, periodMs);
  return {
    period: msToDuration(periodMs),
    callers: curve.callers,
    shares: SHARES,
    rows,
    chosen: choose(rows, SHARES.indexOf(SHARE)),
  };
}
