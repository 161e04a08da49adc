import { RateLimiter, StoreError } from 'distributed-rate-limiter';
import { digestIdentity } from '../../src/identity.ts';
import { ReplyError } from '../support/fake-client.ts';
import { FakeRedis, silence } from '../support/fake-redis.ts';
import type { Send } from '../support/fake-client.ts';
import type { Random } from '../support/random.ts';
import { Finding, ownError } from './area.ts';
import type { Area } from './area.ts';
import { anyText, anyValue } from './values.ts';

const RATE = 5;
const TIMEOUT_MS = 25;

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
function anyReply(random: Random, right: readonly (number | string)[]): unknown {
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

function isWhole(element: unknown): boolean {
  if (typeof element === 'number') return Number.isSafeInteger(element);
  return (
    typeof element === 'string' && /^-?\d+$/.test(element) && Number.isSafeInteger(Number(element))
  );
}

/** A reply to several keys, of which one is at this place. */
interface Came {
  readonly reply: unknown;
  readonly place: number;
  readonly keys: number;
}

/** Whether a call may be taken for decided: the reply has its length, a time, and the call's own whole number. */
function isWellFormed({ reply, place, keys }: Came): boolean {
  return (
    Array.isArray(reply) && reply.length === keys + 1 && isWhole(reply[0]) && isWhole(reply[place])
  );
}

/** Whatever comes back, or never does: a decision is real only if its own numbers came, else it says why not. */
export const replies: Area = {
  name: 'replies',
  percent: 10,

  open: () => ({
    async run(random) {
      const redis = new FakeRedis();
      const strategy = random.pick(['open', 'closed', 'throw'] as const);
      let errors = 0;
      const limiter = new RateLimiter({
        redis,
        rate: RATE,
        period: '1h',
        namespace: 'fuzz',
        failStrategy: strategy,
        timeoutMs: TIMEOUT_MS,
        onError: () => (errors += 1),
      });
      const shown: unknown[] = [];
      /** The last reply to a send of each key, as it came. */
      const came = new Map<string, Came>();
      // It answers slowly, and a wait costs: so seldom.
      const silent = random.chance(1);
      const refusals = random.int(0, 3);
      const answer = (send: Send): unknown => {
        for (const key of send.keys) came.delete(key);
        if (silent) return silence();
        if (redis.sends.length <= refusals && random.chance(60)) {
          const text = `${random.pick(KINDS)} ${anyText(random, 8)}`;
          const error = random.pick([new ReplyError(text), new Error(text), text, undefined, null]);
          shown.push(error);
          // Clients have rejected with less than errors.
          // oxlint-disable-next-line only-throw-error
          throw error;
        }
        const reply = anyReply(random, redis.run(send));
        // As it came: the library makes numbers of it.
        const copy: unknown = Array.isArray(reply) ? [...reply] : reply;
        send.keys.forEach((key, i) =>
          came.set(key, { reply: copy, place: i + 1, keys: send.keys.length }),
        );
        shown.push(reply);
        return reply;
      };
      redis.respond = answer;
      if (random.chance(5)) {
        redis.send = () => {
          // oxlint-disable-next-line only-throw-error
          throw random.pick([new Error('thrown'), undefined, 'thrown']);
        };
      }
      const calls = random.int(1, 4);
      const began = performance.now();
      const outcomes = await Promise.allSettled(
        Array.from({ length: calls }, (_, i) => limiter.allow(`user:${i}`)),
      );
      const tookMs = performance.now() - began;
      const input = { strategy, calls, shown };
      // Half a second for a busy machine.
      if (tookMs > TIMEOUT_MS + 500) throw new Finding(`it took ${tookMs} ms`, input);
      // After NOSCRIPT, TRYAGAIN and CROSSSLOT, and then one for each slot.
      if (redis.sends.length > 3 + calls) {
        throw new Finding(`${redis.sends.length} sends for ${calls} calls`, input);
      }
      outcomes.forEach((outcome, i) => {
        const its = came.get(`fuzz:token_bucket:${digestIdentity(`user:${i}`, undefined)}`);
        const wellFormed = its !== undefined && isWellFormed(its);
        if (outcome.status === 'rejected') {
          const error = ownError(outcome.reason, input);
          if (strategy !== 'throw' || !(error instanceof StoreError) || wellFormed) {
            throw new Finding(`call ${i} rejects: ${error.code}`, input, error);
          }
          return;
        }
        const decision = outcome.value;
        if (decision.degraded) {
          if (wellFormed || decision.allowed !== (strategy === 'open')) {
            throw new Finding(`call ${i} is degraded: ${decision.error.message}`, input);
          }
          return;
        }
        if (!wellFormed) throw new Finding(`call ${i} is real, and its answer is not`, input);
        if (decision.reason === 'impossible') throw new Finding(`call ${i}: impossible`, input);
        // Whole numbers may be as wrong as they like; what is made of them stays whole, and within the limit.
        const { remaining, resetAfterMs, resetAtMs, retryAfterMs = 1 } = decision;
        const sane =
          [remaining, resetAfterMs, resetAtMs, retryAfterMs].every(Number.isInteger) &&
          remaining >= 0 &&
          remaining <= RATE;
        if (!sane) throw new Finding(`call ${i}: numbers that are none`, { ...input, decision });
      });
      const failed = outcomes.some((it) => it.status === 'rejected' || it.value.degraded);
      if (failed !== errors > 0) throw new Finding(`onError was told ${errors} times`, input);
      await limiter.close();
    },
  }),
};
