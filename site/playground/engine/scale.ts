/** A time axis in slots of one length. */
export interface Scale {
  readonly fromMicros: number;
  readonly stepMicros: number;
  readonly slots: number;
}

const MOST_SLOTS = 240;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Lengths that people read easily, in milliseconds. */
const LENGTHS: readonly number[] = [
  1,
  2,
  5,
  10,
  20,
  50,
  100,
  200,
  500,
  ...[1, 2, 5, 10, 15, 30].map((each) => each * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((each) => each * MINUTE),
  ...[1, 2, 3, 6, 12].map((each) => each * HOUR),
  ...[1, 2, 7, 14, 28, 91, 364].map((each) => each * DAY),
];

/** Slots of a readable length that cover the time, at most 240 of them. */
export function makeScale(fromMicros: number, toMicros: number): Scale {
  const fits = (ms: number): boolean => slotsOf(fromMicros, toMicros, ms * 1_000) <= MOST_SLOTS;
  const stepMicros = (LENGTHS.find(fits) ?? 364 * DAY) * 1_000;
  return {
    fromMicros: Math.floor(fromMicros / stepMicros) * stepMicros,
    stepMicros,
    slots: slotsOf(fromMicros, toMicros, stepMicros),
  };
}

function slotsOf(from: number, to: number, step: number): number {
  return Math.max(1, Math.ceil(to / step) - Math.floor(from / step));
}

/** Slots at which an axis has a mark: at most `most`, at instants that people read easily. */
export function marksOf({ fromMicros, stepMicros, slots }: Scale, most: number): readonly number[] {
  const spanMs = (slots * stepMicros) / 1_000;
  const gapMs = LENGTHS.find((ms) => ms * 1_000 >= stepMicros && spanMs / ms <= most) ?? spanMs;
  const gap = gapMs * 1_000;
  const marks: number[] = [];
  for (let at = Math.ceil(fromMicros / gap) * gap; ; at += gap) {
    const slot = Math.round((at - fromMicros) / stepMicros);
    if (slot >= slots) {
      return marks;
    }
    marks.push(slot);
  }
}
