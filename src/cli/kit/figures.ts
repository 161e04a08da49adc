/** Whole numbers with commas, which every reader of English can read. */
const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export function count(number: number): string {
  return WHOLE.format(number);
}

/** A number and its noun: `1 caller`, `2 callers`. */
export function counted(number: number, noun: string, plural = `${noun}s`): string {
  return `${count(number)} ${number === 1 ? noun : plural}`;
}

/** A part of a whole in percent, with as many digits as tell it from nothing and from everything. */
export function percent(part: number, whole: number): string {
  if (part === 0 || whole === 0) {
    return '0 %';
  }
  if (part === whole) {
    return '100 %';
  }
  const share = (100 * part) / whole;
  for (const digits of [0, 1, 2, 3, 4]) {
    const least = digits === 0 ? 10 : digits === 1 ? 1 : 10 ** -(digits - 1);
    if (share >= least || digits === 4) {
      const text = share.toFixed(digits);
      return Number(text) === 100 ? '99.99 %' : Number(text) === 0 ? '< 0.0001 %' : `${text} %`;
    }
  }
  return '';
}

/** A ratio with two or three digits. */
export function ratio(number: number): string {
  return number === 0 || number >= 1 ? number.toFixed(2) : number.toPrecision(2);
}

/** Reads a share such as `0.1%`; undefined for any other text. */
export function readShare(text: string): number | undefined {
  const match = /^(\d{1,3}(?:\.\d{1,9})?) ?%$/.exec(text);
  const share = match === null ? NaN : Number(match[1]) / 100;
  return share <= 1 ? share : undefined;
}

/** An instant in UTC, to the second. */
function instant(micros: number): string {
  return new Date(Math.floor(micros / 1_000)).toISOString().slice(0, 19).replace('T', ' ');
}

/** From when to when, and how long that is; both in microseconds. */
export function span(first: number, last: number): string {
  const [from, to] = [instant(first), instant(last)];
  if (from === to) {
    return `all at ${from} UTC`;
  }
  const isOneDay = from.slice(0, 10) === to.slice(0, 10);
  return `${from} to ${isOneDay ? to.slice(11) : to} UTC (${lengthOf((last - first) / 1_000)})`;
}

/** A length of time, in its two greatest units. */
export function lengthOf(ms: number): string {
  if (ms < 1_000) {
    return `${Math.round(ms)} ms`;
  }
  const seconds = Math.round(ms / 1_000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([number]) => number > 0);
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(' ');
}
