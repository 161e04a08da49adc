/** Figures of a golden file that no two runs share, by what they are. */
const PATTERNS: Readonly<Record<string, readonly [pattern: RegExp, as: string]>> = {
  /** Which server is installed, and whether its version has known holes. */
  version: [/^(?:ok {5}|note {3}) version: .*(?:\n {8}.*)?/gm, '<finding> version: <version>'],
  latency: [/p50 [\d.,]+ ms, p99 [\d.,]+ ms/g, 'p50 <ms>, p99 <ms>'],
  memory: [/[\d,]+ MiB( of [\d,]+ MiB)? used( \([\d.]+ %\))?/g, '<MiB>$1 used$2'],
  share: [/used \([\d.<]+ %\)/g, 'used (<share> %)'],
  clock: [/^(ok {6}clock: ).*/gm, '$1<offset>'],
  port: [/127\.0\.0\.1:\d+/g, '127.0.0.1:<port>'],
  slowest: [
    /[\d,]+ calls? of our script, the slowest .*/g,
    '<some> calls of our script, the slowest <time>',
  ],
  silence: [/silent for \d+ s/g, 'silent for <time>'],
  slot: [/slot \d+/g, 'slot <slot>'],
  /** A column of times is as wide as its widest. */
  fullIn: [/ +(full in|\d+ (?:ms|[smhd])(?: \d+ (?:ms|[smhd]))?)$/gm, '  $1'],
  wait: [/(?<=for |  )\d+ (?:ms|[smhd])(?: \d+ (?:ms|[smhd]))?(?=:|$)/gm, '<time>'],
  waitMs: [/("(?:retryAfterMs|resetAfterMs|resetAtMs)": )\d+/g, '$1<ms>'],
};

export type Varying = keyof typeof PATTERNS;

/** Puts names in the place of figures that vary, in the order of `names`. */
export function withoutVarying(text: string, names: readonly Varying[]): string {
  return names.reduce((so, name) => so.replaceAll(...PATTERNS[name]!), text);
}
