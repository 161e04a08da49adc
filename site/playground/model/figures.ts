import { lengthOf } from '../../../src/cli/kit/figures.ts';
import type { Scale } from '../engine/scale.ts';

export { count, counted, percent } from '../../../src/cli/kit/figures.ts';

/** A wait, in words. */
export function waitOf(ms: number): string {
  return Number.isFinite(ms) ? shortOf(ms) : 'for ever';
}

/** A length of time: `0.6 s`, `1 m 5 s`. */
export function shortOf(ms: number): string {
  if (ms < 1_000) {
    return `${Math.round(ms)} ms`;
  }
  return ms < 10_000 && ms % 1_000 !== 0
    ? `${(Math.ceil(ms / 100) / 10).toFixed(1)} s`
    : lengthOf(ms);
}

/** What the clock shows when a slot begins: since the start for made-up traffic, in UTC for a log. */
export function labelOf({ fromMicros, stepMicros }: Scale, slot: number, isLog: boolean): string {
  const ms = (slot * stepMicros) / 1_000;
  if (!isLog) {
    return ms === 0 ? '0 s' : shortOf(ms);
  }
  const text = new Date(fromMicros / 1_000 + ms).toISOString();
  const day = text.slice(5, 10);
  if (stepMicros >= 86_400_000_000) {
    return text.slice(0, 10);
  }
  const end = stepMicros >= 60_000_000 ? 16 : stepMicros >= 1_000_000 ? 19 : 23;
  return `${day} ${text.slice(11, end)}`;
}
