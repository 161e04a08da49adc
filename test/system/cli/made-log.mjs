/**
 * Makes a log in the combined format on the fly, so that no test keeps gigabytes on a disk: 1,000 requests a second,
 * in the order of their ends. A few callers make most requests, as in every log.
 */
import process from 'node:process';
import { pathToFileURL } from 'node:url';

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
const PER_SECOND = 1_000;
const PER_CHUNK = 2_000;
const START_MS = Date.UTC(2026, 9, 10, 12);

/**
 * The same lines at each run.
 *
 * @param {number} lines
 * @param {number} callers
 * @returns {Generator<string>}
 */
export function* madeLog(lines, callers) {
  let state = 0x2545f491;
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  let [second, stamp] = [-1, ''];
  for (let from = 0; from < lines; from += PER_CHUNK) {
    let text = '';
    for (let i = from; i < Math.min(lines, from + PER_CHUNK); i++) {
      const at = Math.floor(i / PER_SECOND);
      if (at !== second) {
        second = at;
        stamp = stampOf(START_MS + at * 1_000);
      }
      // A cube gives the first tenth of the callers almost half of the requests.
      const caller = Math.floor(random() ** 3 * callers);
      const address = `${10 + (caller >> 16)}.${(caller >> 8) & 255}.${caller & 255}.7`;
      text += `${address} - - [${stamp}] "GET /items/${i % 977}?page=2 HTTP/1.1" 200 ${500 + (i % 4_096)} "https://example.org/" "Mozilla/5.0 (X11; Linux x86_64)"\n`;
    }
    yield text;
  }
}

/** @param {number} ms */
function stampOf(ms) {
  const date = new Date(ms);
  const [day, time] = [
    String(date.getUTCDate()).padStart(2, '0'),
    date.toISOString().slice(11, 19),
  ];
  return `${day}/${MONTHS[date.getUTCMonth()]}/${date.getUTCFullYear()}:${time} +0000`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const text of madeLog(Number(process.argv[2]), Number(process.argv[3]))) {
    if (!process.stdout.write(text)) {
      await new Promise((resolve) => process.stdout.once('drain', () => resolve(undefined)));
    }
  }
}
