import { ReplyError } from '../../kit/fakes/fake-client.ts';
import type { Random } from '../../kit/random.mjs';
import { anyText, anyValue } from './values.ts';

/** The first words of errors, known and unknown. */
const KINDS = [
  'ERR',
  'NOSCRIPT',
  'CROSSSLOT',
  'MOVED 1 h:1',
  'ASK 1 h:1',
  'BUSY',
  'LOADING',
  'READONLY',
  'NOPERM',
  'NOAUTH',
  'OOM',
  'WRONGTYPE',
  'UNREADABLE',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MASTERDOWN',
  '',
  ' ',
  '-',
  '\0',
  'err',
  'é',
];

/** What a server may send in place of a whole number, as clients hand it out. */
function anyElement(random: Random): unknown {
  switch (random.int(0, 6)) {
    case 0:
      return random.pick([null, undefined, true, 1.5, -0, Number.NaN, Infinity, 2 ** 53, -1, 0, 1]);
    case 1:
      return random.pick([
        '',
        '1',
        '-1',
        '1.5',
        ' 1',
        '1\n',
        'OK',
        '9'.repeat(17),
        '0x1',
        '1e3',
        '-',
      ]);
    case 2:
      return `${random.pick(KINDS)} ${anyText(random, 8)}`;
    case 3:
      return [random.int(0, 9)];
    case 4:
      return new ReplyError(random.pick(KINDS));
    case 5:
      return Buffer.from('12');
    default:
      return anyValue(random, 1);
  }
}

/** The reply that the server would have given, damaged; or another value altogether. */
export function anyReply(random: Random, right: readonly (number | string)[]): unknown {
  const reply: unknown[] = [...right];
  const at = random.int(0, reply.length - 1);
  switch (random.int(0, 7)) {
    case 0:
      return reply;
    case 1:
      return reply.map(String);
    case 2:
      reply.length = random.int(0, reply.length - 1);
      return reply;
    case 3:
      reply.splice(at, 0, anyElement(random));
      return reply;
    case 4:
      return random.chance(50) ? anyElement(random) : anyValue(random);
    case 5:
      return random.pick([[reply], Object.assign({}, reply), new Map([[0, reply]])]);
    default:
      for (let left = random.int(1, 2); left > 0; left--) {
        reply[random.int(0, reply.length - 1)] = anyElement(random);
      }
      return reply;
  }
}

/** What a client may reject with: the server's own words, or something else. Some have rejected with less than errors. */
export function anyRejection(random: Random): unknown {
  const text = `${random.pick(KINDS)} ${anyText(random, 8)}`;
  return random.pick([new ReplyError(text), new Error(text), text, undefined, null]);
}

/** As the script answers: a number, or the text of one. */
export function isWhole(element: unknown): boolean {
  if (typeof element === 'number') return Number.isSafeInteger(element);
  return (
    typeof element === 'string' && /^-?\d+$/.test(element) && Number.isSafeInteger(Number(element))
  );
}
