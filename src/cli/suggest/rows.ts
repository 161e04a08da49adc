import { tokenBucket } from '../../algorithms/token-bucket.ts';
import { msToDuration } from '../../base/duration.ts';
import { RateLimiterError } from '../../base/errors.ts';
import { burstFor, disturbedBy } from './arrival-curve.ts';
import type { ArrivalCurve } from './arrival-curve.ts';

/** Rates to try, if none are named. */
export const RATES: readonly number[] = [
  1, 2, 5, 10, 20, 30, 60, 100, 200, 300, 600, 1_000, 2_000, 6_000,
];
/** Shares of callers that a burst may disturb. */
export const SHARES: readonly number[] = [0.05, 0.01, 0.001, 0];

/** One rate of the table. */
export interface Row {
  readonly rate: number;
  /** For each share, the burst, and how many callers it disturbs; undefined if no limit takes it. */
  readonly cells: readonly (Cell | undefined)[];
}

/** A burst at that rate, and how many callers it disturbs. */
export interface Cell {
  readonly burst: number;
  readonly disturbed: number;
}

/** The table of an arrival curve: for each rate and share the least burst that disturbs no more than it. */
export function rowsOf(
  curve: ArrivalCurve,
  shares: readonly number[],
  periodMs: number,
): readonly Row[] {
  return curve.bursts().map((bursts, i) => {
    const rate = curve.rates[i]!;
    return {
      rate,
      cells: shares.map((share) => {
        // 0.1 % of 1,000 callers is one, whatever the doubles say.
        const burst = burstFor(bursts, Math.floor(share * bursts.length + 1e-9));
        return isTaken(rate, periodMs, burst)
          ? { burst, disturbed: disturbedBy(bursts, burst) }
          : undefined;
      }),
    };
  });
}

function isTaken(rate: number, periodMs: number, burst: number): boolean {
  try {
    tokenBucket({ rate, period: msToDuration(periodMs) as `${number}ms`, burst });
    return true;
  } catch (error) {
    if (error instanceof RateLimiterError) {
      return false;
    }
    throw error;
  }
}

/** The lowest rate whose burst comes back within a period; else the one with the least burst. */
export function choose(
  rows: readonly Row[],
  at: number,
): (Cell & { readonly rate: number }) | undefined {
  const found = rows.flatMap(({ rate, cells }) => {
    const cell = cells[at];
    return cell === undefined ? [] : [{ rate, ...cell }];
  });
  return (
    found.toSorted((a, b) => a.rate - b.rate).find(({ rate, burst }) => burst <= rate) ??
    found.toSorted((a, b) => a.burst - b.burst)[0]
  );
}
