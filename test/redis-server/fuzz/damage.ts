import { ReplyError } from '../../kit/fakes/fake-client.ts';
import type { Random } from '../../kit/random.mjs';
import { anyText, anyValue } from './values.ts';

/** First words of error replies, known and unknown. */
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

/** Values that a server may send in place of a whole number, as clients deliver them. */
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

/** Damages the server's reply, or replaces it with another value. */
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

/**
 * Reasons with which a client may reject: the server's error reply, or anything else, even values that are not errors.
 */
export function anyRejection(random: Random): unknown {
  const text = `${random.pick(KINDS)} ${anyText(random, 8)}`;
  return random.pick([new ReplyError(text), new Error(text), text, undefined, null]);
}

/** A number as the script replies it: a number, or its text. */
export function isWhole(element: unknown): boolean {
  if (typeof element === 'number') return Number.isSafeInteger(element);
  return (
    typeof element === 'string' && /^-?\d+$/.test(element) && Number.isSafeInteger(Number(element))
  );
}
